/**
 * Lab 3: an iterative TCP server, and the client that belongs to it.
 *
 * Iterative means that the server takes one client after the other. For each client it does this,
 * which we call the visit of the client:
 *
 * 1. It greets the client with an id, which is the port number of the client.
 * 2. It receives a request: the student's name, GitHub user name and student id.
 * 3. It prints the request, and then it sends its answer, the number 1: the acknowledgement.
 * 4. The same client may send more requests. When it closes, the next client is served.
 *
 * Whatever a client does, the server goes on.
 *
 * The messages are in MessagePack, which says the same as JSON in fewer bytes
 * (https://github.com/msgpack/msgpack/blob/master/spec.md). TCP is a stream: two messages that are
 * sent one after the other can come in one recv, and one message can come in several. To find where
 * each message ends is called framing.
 *
 * The lab comes first: the loop that accepts clients, then the limits on a client and the clock,
 * then the visit (`Session`). Behind it is what the lab uses, to be looked up when it is needed:
 * the options, the framing, the checks of a request, the client, printing, and the command line.
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import { BaseHandler, type LevelName } from "@std/log/base-handler";
import { Logger, type LogRecord } from "@std/log/logger";
import { decode, encode } from "@std/msgpack";
import { Buffer, isUtf8 } from "node:buffer";
import project from "./deno.json" with { type: "json" };

export type { LevelName, Logger }; // for programs that use this module

// ---------------------------------------------------------------------- listen and accept --

/**
 * Starts the iterative server: one client at a time, in the order in which they came. Returns the
 * address that it listens at, and the promise `finished`. Who awaits it waits until the server has
 * stopped, and gets the numbers of clients (with a request at the least) and requests.
 *
 * ```ts
 * const signal = AbortSignal.timeout(60_000); // It tells the server to stop after a minute.
 * const server = serve({ signal, onRequests: (students) => console.log(students) });
 * const { clients } = await server.finished;
 * ```
 *
 * @throws {Deno.errors.AddrInUse} When the port is taken; and all else that `Deno.listen` throws.
 */
export function serve(
  options: ServeOptions = {},
): { addr: Deno.NetAddr; finished: Promise<{ clients: number; requests: number }> } {
  // The context is the options, each with a value, and what all visits share: the limits (how long
  // we wait for a client), `waiting` (the clock that measures it), and a buffer for what arrives.
  const context = createContext(options);
  const { hostname, port, backlog, onListen } = context;
  // Socket, bind and listen in one. The backlog is how many clients can wait in the kernel's queue.
  const listener = Deno.listen({ hostname, port, tcpBacklog: backlog });
  const { addr } = listener;
  try {
    onListen(addr);
  } catch (error) {
    listener.close(); // Otherwise nobody could use the port any more.
    throw error;
  }
  // An async function runs until it has to wait for something. Then its caller goes on, and has a
  // promise of the result. So `serve` returns now, before the first client is served.
  return { addr, finished: acceptClients(listener, context) };
}

// The pauses after failed accepts, in ms: each one is twice as long as the one before.
const FIRST_PAUSE_MS = 5;
const LONGEST_PAUSE_MS = 1000;

// Serves one client after the other. Meanwhile the other clients wait in the kernel's queue. The
// signal tells it to stop: ^C sets `signal.aborted` and calls stop(), see stopAtSignals.
//
// `for await` accepts the clients, as `while True: conn, address = listener.accept()` does in
// Python. It ends in one of these ways:
//
// - stop() has closed the listener: it ends without an error. Then `while` ends, too.
// - An accept has failed: `for await` throws its error, and `while` begins `for await` again.
//
// It must not end in a third way, by an error out of its body. Then JavaScript closes what the
// `for await` loops over, here the listener, and nobody could connect any more. (It does not do so
// when an accept fails.) So Session.run never throws.
async function acceptClients(listener: Deno.TcpListener, context: Context) {
  const { signal, waiting } = context;
  const served = { clients: 0, requests: 0 };
  let pauseMs = FIRST_PAUSE_MS;
  const stop = () => {
    listener.close(); // The kernel drops the clients in its queue: they get a reset.
    limitVisit(context); // The current client may finish, but not for ever.
  };
  signal.addEventListener("abort", stop);
  if (signal.aborted) stop(); // It was aborted before we listened to it.
  waiting.startClock(); // for the limits of a visit. Nothing limits the wait for the next client.
  while (!signal.aborted) {
    try {
      for await (const conn of listener) {
        pauseMs = FIRST_PAUSE_MS;
        const requests = await new Session(conn, context).run();
        if (requests > 0) served.clients++;
        served.requests += requests;
      }
    } catch (error) { // An accept has failed.
      pauseMs = await recover(error as Error, pauseMs, context);
    }
  }
  waiting.stopClock();
  return served;
}

// --------------------------------------------------------- how a visit can end, and how to wait --

// The ordinary end of a visit is that the client closes when it has its answer. All other ends are
// errors that are thrown, most of them of the class Fault. One of them is that the client takes too
// long. In Python:
//
//     s.settimeout(2)
//     data = s.recv(4096)  # gives what came, or throws when 2 s are over
//
// Here, where the limit `idle` is 2 s long:
//
//     waiting.begin("step", limits.idle); // for this step; another limit is for the whole "visit"
//     bytes = await waiting.until(read()); // gives what came, or throws when 2 s are over

/** Why a visit has ended. `submit` and the command line throw it, too. */
export class Fault extends Error {
  /** `event` names the kind, for programs; `message` tells people. */
  constructor(readonly event: string, message: string) {
    super(message.slice(0, 400)); // It may quote what a client has sent, however long that is.
  }
}

// How important a record of the log is; the names of the logger's methods.
type Level = "debug" | "info" | "warn" | "error";

// The ends of a visit at which the client gets no `{"error": ...}`: the event of the Fault, and the
// level at which it is logged. At every other Fault the client gets the message, and the level is
// "warn", or "error" for a mistake of this program.
const SILENT_ENDS: Record<string, Level> = {
  dismissed: "debug", // the server is told to stop, and the client has its answer already
  left: "info", // the client closed or broke the connection before we had read a byte of it
  idle: "info", // the client had its answer and was silent: many clients never close
  reset: "warn", // the client broke the connection later
  stalled: "warn", // the client does not read its answers
};

// A limit on the time that the server waits for a client: what is thrown after how many ms.
interface Limit {
  readonly ms: number; // 0 is no limit
  readonly event: string;
  readonly text: string;
}

// The limits follow each other in a visit: `request` until a whole request is here, `write` while
// the answer is sent, `idle` until the next request begins, `request` again, and so on.
// deno-fmt-ignore
function createLimits({ requestTimeout, keepAliveTimeout, turnTimeout }: Required<ServeOptions>) {
  return {
    // From the accept on. For a later request: from its first byte on. If that has come together
    // with the end of the request before it: from the answer to that request on.
    request: { ms: requestTimeout, event: "timeout", text: `no whole request within ${requestTimeout / 1000} s` },
    // A write has to wait if the client does not read, and all buffers on the way are full.
    write: { ms: requestTimeout, event: "stalled", text: `its answers were left unread for ${requestTimeout / 1000} s` },
    idle: { ms: keepAliveTimeout, event: "idle", text: `silent for ${keepAliveTimeout / 1000} s after its answer: the next client's turn` },
    // For the whole visit, which is the turn of this client.
    turn: { ms: turnTimeout, event: "turn", text: `its turn of ${turnTimeout / 1000} s is over` },
    // For the rest of the visit, when the server is told to stop.
    stopping: { ms: 5000, event: "stopping", text: "the server stops" },
    // In the place of `idle`, when the server is told to stop. With the spare ticks (see below) it
    // is about 0.1 s, in which a request that has come already is still read.
    stopNow: { ms: 1, event: "dismissed", text: "the server stops" },
    // For the client to close, after it was sent an error: see Session.#dropRest.
    linger: { ms: 1000, event: "lingered", text: "the client does not close" },
  };
}

// Limits are measured in ticks of a timer, one each 50 ms, and not by the time of day. While the
// whole program is paused (by ^Z, or in a laptop that sleeps) the timer does not tick, and it does
// not make up for it later. So such a time is not counted against the client.
const TICK_MS = 50;
// So many ticks are added to each limit: one because a limit begins between two ticks, and one
// because after a pause the timer may tick before the bytes are read that came in time.
const SPARE_TICKS = 2;

// Waits for what the other side does. `begin` says which limit is in force from now on, `until`
// waits for an operation, such as a read. Two limits can be in force at a time: one for the whole
// visit, and one for the step that the visit is in.
class Waiting {
  #timer?: ReturnType<typeof setInterval>;
  #ticks = 0;
  #tickedAt = performance.now(); // when the last tick was, in ms
  #deadlines = new Map<string, { limit: Limit; endTick: number }>(); // the limits in force
  #interrupt = (_fault: Fault) => {}; // ends the wait that `until` is in; at first there is none

  startClock(): void {
    this.#timer = setInterval(() => {
      this.#ticks++;
      this.#tickedAt = performance.now();
      this.#checkDeadlines();
    }, TICK_MS);
  }

  stopClock(): void {
    clearInterval(this.#timer);
  }

  // From now on this limit is in force. It takes the place of the one that had the same scope.
  begin(scope: "visit" | "step", limit: Limit): void {
    const ticks = limit.ms === 0 ? Infinity : Math.ceil(limit.ms / TICK_MS) + SPARE_TICKS;
    this.#deadlines.set(scope, { limit, endTick: this.#ticks + ticks });
  }

  clear(): void {
    this.#deadlines.clear();
  }

  // The limit for the step that the visit is in; `undefined` if there is no client.
  stepLimit(): Limit | undefined {
    return this.#deadlines.get("step")?.limit;
  }

  // Gives the result of the operation, or throws its error. It is a race with the clock: if a limit
  // is over first, it throws the Fault of that limit. Then the operation itself goes on, but nobody
  // waits for it any more. There can only be one wait at a time.
  async until<T>(operation: Promise<T>): Promise<T> {
    // Two can end this wait: the operation and the clock. `resolve(result)` makes `await winner`
    // give the result, `reject(error)` makes it throw the error. Only the first call has an effect.
    const { promise: winner, resolve, reject } = Promise.withResolvers<T>();
    operation.then(resolve, reject); // When it is done, it calls one of them.
    this.#interrupt = reject; // When a limit is over, the clock calls it with the limit's Fault.
    this.#checkDeadlines(); // A limit can be over already: no `until` waited when it passed.
    const result = await winner;
    // The clock must have its turn, too. But when a read can go on, the program does that first,
    // and timers come later. If a client sends all the time, a read can always go on, and the clock
    // would stand still. So if a tick is overdue, we wait for a timer of our own.
    if (performance.now() - this.#tickedAt > TICK_MS) await delay(0);
    return result;
  }

  #checkDeadlines(): void {
    for (const { limit, endTick } of this.#deadlines.values()) {
      if (this.#ticks >= endTick) this.#interrupt(new Fault(limit.event, limit.text));
    }
  }
}

// ------------------------------------------------------------------ the visit of one client --

// The lab's answer to a request.
const ACKNOWLEDGEMENT = 1;
// How long the first answer waits for a client that sends before it is greeted, in ms.
const EARLY_MS = 20;

// The visit of one client, from accept to close. The calls of `#log.trace` are for the log at level
// DEBUG, which shows what is on the wire.
class Session {
  #requests = 0; // how many were printed
  #reads = 0; // how many reads have brought bytes
  #reading: Promise<Uint8Array | null> = Promise.resolve(null); // the last read; see #dropRest
  #writing = Promise.resolve(); // the last write; see #end
  readonly #log: ClientLog;
  readonly #framer: Framer;

  constructor(readonly conn: Deno.TcpConn, readonly context: Context) {
    this.#log = new ClientLog(conn, context.logger);
    this.#framer = new Framer(context.maxMessageBytes, context.buffer);
  }

  // The steps of the lab. Returns how many requests were printed. Whatever goes wrong is thrown in
  // one of the steps, also a limit that is over, and it is caught here.
  async run(): Promise<number> {
    const { waiting, limits, signal } = this.context;
    try {
      this.#log.trace(() => ({ step: "accepted", text: "accepted" }));
      waiting.begin("visit", signal.aborted ? limits.stopping : limits.turn);
      waiting.begin("step", limits.request);
      let bytes = await this.#greetAndRead();
      while (bytes !== null) {
        await this.#answer(bytes);
        bytes = await this.#receive();
      }
      this.#checkEnd();
    } catch (error) {
      await this.#end(this.#faultOf(error)); // It throws nothing.
    } finally {
      waiting.clear();
      this.conn.close();
      this.#log.trace(() => ({ step: "closed", text: "closed by the server", by: "server" }));
    }
    return this.#requests;
  }

  // Step 1, and the first read of step 2, both at once. Some clients send their request before they
  // are greeted, and call recv later, once for each message. If the answer followed the greeting at
  // once, both could come in one recv, and such a client would fail. So its answer waits a little.
  async #greetAndRead(): Promise<Uint8Array | null> {
    const { waiting } = this.context;
    this.conn.setNoDelay(); // Otherwise TCP may hold back a small answer (Nagle's algorithm).
    const [bytes, isEarly] = await waiting.until(Promise.all([this.#read(), this.#greet()]));
    if (isEarly) await delay(EARLY_MS);
    return bytes;
  }

  // Step 1. Returns whether #read, which began before, has already put something into the framer.
  async #greet(): Promise<boolean> {
    await this.#write({ clientid: this.conn.remoteAddr.port });
    return this.#framer.pending().length > 0;
  }

  // Step 2 again. If a part of a request is here, its limit goes on. If not, `idle` is in force
  // until the first byte of a further request comes, and then that request has its limit.
  async #receive(): Promise<Uint8Array | null> {
    const { waiting, limits, signal } = this.context;
    const isNewRequest = this.#framer.pending().length === 0;
    if (isNewRequest) waiting.begin("step", signal.aborted ? limits.stopNow : limits.idle);
    const bytes = await waiting.until(this.#read());
    if (isNewRequest) waiting.begin("step", limits.request);
    return bytes;
  }

  // Reads once. What came is in the framer then, and it is returned, too. `null` is the end of the
  // stream, as b"" is in Python.
  #read(): Promise<Uint8Array | null> {
    this.#reading = this.#framer.read(this.conn).then((bytes) => {
      if (bytes !== null) this.#reads++;
      this.#log.trace(() => describeRead(bytes));
      return bytes;
    });
    return this.#reading;
  }

  // Takes all whole requests out of what has come. The good ones are acknowledged. Only then comes
  // the error about a wrong one behind them. If the wrong one is in the first read of the visit, it
  // may be of another program, such as a browser. `recognize` knows some, and says what to do.
  async #answer(lastRead: Uint8Array): Promise<void> {
    const students: Student[] = [];
    let fault: unknown;
    try {
      let message = this.#framer.next();
      while (message !== undefined) {
        students.push(this.#parse(message));
        message = this.#framer.next();
      }
    } catch (error) {
      const stranger = this.#reads === 1 ? recognize(lastRead) : undefined;
      fault = stranger === undefined ? error : new Fault("stranger", stranger);
    }
    if (students.length > 0) await this.#acknowledge(students);
    if (fault !== undefined) throw fault;
  }

  #parse(message: Uint8Array<ArrayBuffer>): Student {
    const value = decodeMessage(message);
    this.#log.trace(() => describeValue("received", message, value));
    return parseRequest(message, value);
  }

  // Step 3. As a rule `onRequests` prints. Requests that came together are acknowledged together.
  async #acknowledge(students: Student[]): Promise<void> {
    const { waiting, limits, onRequests } = this.context;
    waiting.begin("step", limits.write);
    try {
      onRequests(students, this.#log.client);
    } catch (error) {
      throw bugOf(error); // What is not printed must not be acknowledged.
    }
    this.#requests += students.length;
    // In MessagePack a small integer is one byte, which is the integer itself.
    const bytes = new Uint8Array(students.length).fill(ACKNOWLEDGEMENT);
    await waiting.until(this.#write(ACKNOWLEDGEMENT, bytes, students.length));
    waiting.begin("step", limits.request); // A part of the next one can be here already.
  }

  // Sends a value. `bytes` is what goes on the wire: the value, as often as `times` says.
  #write(
    value: number | Record<string, number | string>,
    bytes = encode(value),
    times = 1,
  ): Promise<void> {
    this.#log.trace(() => describeValue("send", bytes, value, times));
    this.#writing = writeAll(this.conn, bytes);
    return this.#writing;
  }

  // Step 4. No more bytes will come. The client may have stopped in the middle of a request.
  #checkEnd(): void {
    const rest = this.#framer.pending().length;
    if (rest > 0) {
      throw new Fault("truncated", `the client closed after ${plural(rest, "byte")} of a message`);
    }
    if (this.#reads === 0) throw new Fault("left", LEFT_TEXT);
    this.#log.report("debug", "closed", "closed by the client"); // the ordinary end, no Fault
  }

  // Makes a Fault of whatever was thrown. An error with a code of the system, such as ECONNRESET,
  // comes from the connection. Any other error is a mistake in this program.
  #faultOf(error: unknown): Fault {
    if (error instanceof Fault) {
      if (error.event !== "timeout") return error;
      const came = plural(this.#framer.pending().length, "byte");
      return new Fault("timeout", `${error.message}, ${came} came (server: --request-timeout)`);
    }
    if (codeOf(error) === "") return bugOf(error);
    if (this.#reads === 0) return new Fault("left", LEFT_TEXT);
    const text = "the client broke the connection: it crashed, or closed with something unread";
    return new Fault("reset", `${text} (${error})`);
  }

  // Logs the fault, and sends it to the client, if the client is to be told.
  async #end({ event, message }: Fault): Promise<void> {
    const { waiting, limits } = this.context;
    const isBug = event === "bug";
    this.#log.report(SILENT_ENDS[event] ?? (isBug ? "error" : "warn"), event, message);
    if (event in SILENT_ENDS) return;
    waiting.clear(); // Otherwise the limit that is over would throw at the next wait, too.
    waiting.begin("step", limits.linger);
    const error = isBug ? "the server has failed, not you" : message;
    try {
      // If `turn` or `stopping` was over while we wrote, that write goes on. The error follows it.
      await waiting.until(this.#writing);
      await waiting.until(this.#write({ error }));
      await this.conn.closeWrite(); // shutdown(SHUT_WR) in Python
      await this.#dropRest();
    } catch {
      // The client is gone, or it has not closed in time.
    }
  }

  // If bytes of the client are unread when we close, the kernel sends a reset, which means that the
  // connection is broken. At a reset the client's system may throw away the error before the client
  // has read it. So we read and drop what still comes, until the client closes or `linger` is over.
  // This is called a lingering close. Only one read may wait at a time. If a limit was over, the
  // last one still waits, so we begin with that. (If it is done, `await` gives its result again.)
  async #dropRest(): Promise<void> {
    let bytes = await this.context.waiting.until(this.#reading);
    while (bytes !== null) {
      this.#framer.drop();
      bytes = await this.context.waiting.until(this.#read());
    }
  }
}

// The lab's clients were first written for Python's pickle. Such a client cannot read our greeting.
const LEFT_TEXT = "left without sending. If its terminal shows `unpickling stack underflow`, " +
  "it uses Python's pickle: put the lab's pickle.py beside it";

// The kernel may take a part of the bytes at a time.
async function writeAll(conn: Deno.TcpConn, bytes: Uint8Array): Promise<void> {
  let sent = 0;
  while (sent < bytes.length) sent += await conn.write(bytes.subarray(sent));
}

// The server is told to stop. The limit that is in force tells what the current client does.
function limitVisit({ waiting, limits, logger }: Context): void {
  const stepLimit = waiting.stepLimit();
  waiting.begin("visit", limits.stopping);
  if (stepLimit === limits.idle) {
    // It has its answer, and is silent. We do not wait for a further request.
    waiting.begin("step", limits.stopNow);
  } else if (stepLimit === limits.request) {
    // Its request is to come. A person would wonder why the server still runs.
    const seconds = limits.stopping.ms / 1000;
    const text = `The server stops: the current client has up to ${seconds} s to finish`;
    writeRecord(logger, "info", text, { event: "stopping" });
  }
}

// The system's codes for a client that was gone before its turn. EINVAL is the one of macOS.
const GONE = ["ENOTCONN", "ECONNABORTED", "ECONNRESET", "EINVAL"];

// After a failed accept. Returns the pause for the next failure, in ms.
async function recover(error: Error, pauseMs: number, { logger }: Context): Promise<number> {
  if (GONE.includes(codeOf(error))) {
    const text = `A client was gone before its turn: ${error.message}`;
    writeRecord(logger, "debug", text, { event: "gone" });
    return pauseMs;
  }
  // The system lacks something, such as open files. It may have it again after a while.
  const text = `No accept, next try in ${pauseMs} ms: ${error.message}`;
  writeRecord(logger, "error", text, { event: "accept" });
  await delay(pauseMs);
  return Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
}

function bugOf(error: unknown): Fault {
  const shown = Deno.inspect(error).replace(/\n\s*/g, " "); // with its place in the program
  return new Fault("bug", `a fault of the server: ${shown}`);
}

// The system's code of an error, such as ECONNRESET. Errors of the program have none.
function codeOf(error: unknown): string {
  const { code } = Object(error); // Object() makes it safe to look into null and undefined, too.
  return typeof code === "string" ? code : "";
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

// -------------------------------------------------------- options, and what all visits share --

/** What a client sends in step 2 of the lab. */
export interface Student {
  /** The student's name. */
  student_name: string;
  /** The user name on GitHub. */
  github_username: string;
  /** The student id: text, or an integer of up to 64 bits. */
  sid: number | bigint | string;
}

/** What {@linkcode serve} takes. What is left out is taken from {@linkcode DEFAULTS}. */
export interface ServeOptions {
  /** The address to listen at. */
  hostname?: string;
  /** The TCP port; 0 is any free one. */
  port?: number;
  /** How many clients can wait in the kernel's queue until they are accepted. */
  backlog?: number;
  /** How long a whole request may take, and answers may be left unread, in ms; 0: for ever. */
  requestTimeout?: number;
  /** How long a client may be silent after an answer, in ms; 0: for ever. */
  keepAliveTimeout?: number;
  /** How long the whole visit of one client may take, in ms; 0: for ever. */
  turnTimeout?: number;
  /** The longest request, in bytes. */
  maxMessageBytes?: number;
  /** Stops the server when its `AbortController` aborts; the current client may finish. */
  signal?: AbortSignal;
  /** Called once the server listens. Prints the lab's line if it is left out. */
  onListen?: (address: Deno.NetAddr) => void;
  /**
   * Called with the requests that one read has completed, and with the client's address. They are
   * acknowledged when it returns, and not if it throws. It is not awaited, so it must not be async.
   * Prints the lab's lines if it is left out.
   */
  onRequests?: (students: Student[], client: string) => void;
  /** Where problems are reported. Standard error if it is left out. */
  logger?: Logger;
}

/** The options of {@linkcode serve} that count where nothing else is said. */
export const DEFAULTS = {
  hostname: "127.0.0.1",
  port: 12000,
  backlog: 128, // A class has thirty students. Who finds the queue full may wait for ever.
  requestTimeout: 10_000,
  keepAliveTimeout: 2_000, // It is short, since many clients never close: they wait for more.
  turnTimeout: 60_000,
  maxMessageBytes: 4096, // A request of the lab takes about 80 bytes.
};

type Context = ReturnType<typeof createContext>;

function createContext(options: ServeOptions) {
  // An `undefined` that is given must not take the place of a default.
  const given = Object.entries(options).filter(([_name, value]) => value !== undefined);
  const settings: Required<ServeOptions> = {
    // Of two values with the same name the later one counts.
    ...DEFAULTS,
    signal: new AbortController().signal, // It never aborts.
    ...createPrinter("text"), // onListen and onRequests
    logger: createLogger(),
    ...Object.fromEntries(given),
  };
  return {
    ...settings,
    limits: createLimits(settings),
    waiting: new Waiting(), // for the client that is being served
    // One buffer for all visits: to make one for each costs much of a short visit. A read that is
    // still waiting ends when its connection is closed, so it cannot write into the buffer later.
    buffer: createBuffer(settings.maxMessageBytes),
  };
}

// ----------------------------------------------------------------------------- the framing --

/**
 * Finds the messages in a stream of MessagePack values: the header of each says where it ends.
 *
 * What has arrived is in a buffer:
 *
 *     messages that were taken | the next messages | room for more
 *                         #start              #end
 */
export class Framer {
  #start = 0; // where the next message begins
  #end = 0; // after the last byte that has arrived

  /** The buffer has room for a message and a read. Framers can share it, one after the other. */
  constructor(
    readonly maxMessageBytes: number = DEFAULTS.maxMessageBytes,
    private readonly buffer: Uint8Array<ArrayBuffer> = createBuffer(maxMessageBytes),
  ) {}

  /**
   * Reads once. Call it only when `next` has nothing more to give: then the buffer has room.
   * Returns the bytes that came, or `null` at the end of the stream.
   */
  async read(conn: Pick<Deno.TcpConn, "read">): Promise<Uint8Array | null> {
    this.buffer.copyWithin(0, this.#start, this.#end); // What is left moves to the front.
    this.#end -= this.#start;
    this.#start = 0;
    // `subarray` makes no copy, unlike a slice of bytes in Python: the bytes arrive in `buffer`.
    const count = await conn.read(this.buffer.subarray(this.#end, this.#end + READ_BYTES));
    if (count === null) return null;
    this.#end += count;
    return this.buffer.subarray(this.#end - count, this.#end);
  }

  /** What has arrived after the last message. It is valid until the next read. */
  pending(): Uint8Array<ArrayBuffer> {
    return this.buffer.subarray(this.#start, this.#end);
  }

  /** Drops what has arrived. */
  drop(): void {
    this.#start = this.#end;
  }

  /**
   * The next message, valid until the next read; or `undefined` when more has to be read first.
   *
   * @throws {Fault} When it is longer than `maxMessageBytes`, as soon as its headers say so.
   */
  next(): Uint8Array<ArrayBuffer> | undefined {
    // If the message is not whole yet, this is the least end that it can have.
    const end = findEnd(this.buffer, this.#start, this.#end);
    if (end - this.#start > this.maxMessageBytes) {
      const limit = plural(this.maxMessageBytes, "byte");
      throw new Fault("too-long", `over the limit of ${limit} (or no msgpack)`);
    }
    if (end > this.#end) return undefined;
    const message = this.buffer.subarray(this.#start, end);
    this.#start = end;
    return message;
  }
}

// The most bytes that one read brings.
const READ_BYTES = 65536;

// A buffer with room for the longest message, and for one read behind what has come of it.
function createBuffer(maxMessageBytes: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(maxMessageBytes + READ_BYTES);
}

// Formats of the MessagePack specification that belong together. A value begins with a header: one
// byte, which says the format, and for some formats a length field. What the length counts comes
// behind the header. Two examples, with bytes in hexadecimal:
//
// - Strings of up to 31 bytes have no length field: a5 is a0 + 5, a string of 5 bytes.
// - Longer strings have the first byte d9, da or db: one family, with the row
//   `{ first: 0xd9, counts: "text bytes", lengthBytes: [1, 2, 4] }`. The length field has 1 byte
//   behind d9, 2 behind da, and 4 behind db. So da 01 00 is a string of 256 bytes.
interface Family {
  // The first byte of its first format. The other formats have the next bytes.
  readonly first: number;
  // What the length counts. A pair is two values: the key and the value of a dict.
  readonly counts?: "text bytes" | "bytes" | "values" | "pairs";
  // For each format, how many bytes its length field has. Without it, the length is in `first`.
  readonly lengthBytes?: number[];
  // For each format, how many bytes follow in any case: a number, or the type of an extension.
  readonly fixedBytes?: number[];
}

const FAMILIES: Family[] = [
  { first: 0x00 }, // positive fixint: the value is the byte itself
  { first: 0x80, counts: "pairs" }, // fixmap: 0x83 is a dict of 3 pairs
  { first: 0x90, counts: "values" }, // fixarray: 0x92 is a list of 2 values
  { first: 0xa0, counts: "text bytes" }, // fixstr: 0xa5 is a string of 5 bytes
  { first: 0xc0 }, // nil; c1, which is never used; false and true
  { first: 0xc4, counts: "bytes", lengthBytes: [1, 2, 4] }, // bin 8, bin 16, bin 32
  { first: 0xc7, counts: "bytes", lengthBytes: [1, 2, 4], fixedBytes: [1, 1, 1] }, // ext
  { first: 0xca, fixedBytes: [4, 8] }, // float 32, float 64
  { first: 0xcc, fixedBytes: [1, 2, 4, 8] }, // uint 8 to uint 64
  { first: 0xd0, fixedBytes: [1, 2, 4, 8] }, // int 8 to int 64
  { first: 0xd4, fixedBytes: [2, 3, 5, 9, 17] }, // fixext: a type, and 1, 2, 4, 8 or 16 bytes
  { first: 0xd9, counts: "text bytes", lengthBytes: [1, 2, 4] }, // str 8, str 16, str 32
  { first: 0xdc, counts: "values", lengthBytes: [2, 4] }, // array 16, array 32
  { first: 0xde, counts: "pairs", lengthBytes: [2, 4] }, // map 16, map 32
  { first: 0xe0 }, // negative fixint: the value is in the byte itself
];

// The family of a value, by its first byte.
const FAMILY_OF = new Array<Family>(256);
// Each `fill` goes to the end of the array, and then the next family takes its part of that.
for (const family of FAMILIES) FAMILY_OF.fill(family, family.first);

// Reads the header of the value that begins at `at`. `end` is the index after it, and `dataEnd` the
// index after the bytes that belong to it. `values` is how many values follow: those in a list or
// dict, which have headers of their own. For example, da 01 00 at index 0: da is d9 + 1, so
// `format` is 1; `end` is 3, `length` is 256, and `dataEnd` is 259.
function readHeader(bytes: Uint8Array, at: number) {
  const { first, counts, lengthBytes, fixedBytes } = FAMILY_OF[bytes[at]];
  const format = bytes[at] - first; // which one of the family
  const end = at + 1 + (lengthBytes?.[format] ?? 0); // `?.` and `?? 0`: 0 if there is none
  // Without a length field the first byte has the length: a5 is a0 + 5. (For a number it counts
  // nothing, and is not used.)
  let length = lengthBytes === undefined ? format : 0;
  for (let i = at + 1; i < end; i++) length = length * 256 + bytes[i];
  const isText = counts === "text bytes";
  const header = { isText, end, dataEnd: end + (fixedBytes?.[format] ?? 0), values: 0 };
  if (isText || counts === "bytes") header.dataEnd += length;
  if (counts === "values") header.values = length;
  if (counts === "pairs") header.values = length * 2;
  return header;
}

// Returns where the value that begins at `start` ends: the index behind it. The bytes up to
// `arrivedEnd` have come. If the result is over that, the value is not whole yet, and the result is
// the least where it can end. Nothing is kept between two calls: each one begins at `start`.
//
// For example, the bytes 92 01 a1 78 are the list [1, "x"]. The header 92 says that two values
// follow, so two are missing. After 01 one is missing. The header a1 says that one byte follows,
// which is 78, and after that none is missing. If only 92 01 has come, the list takes one byte more
// at the least. A header may be cut, too: da says that two bytes with the length of a string
// follow. If only da 01 has come, nobody knows yet how long the string is, and it ends after the
// header at the least.
function findEnd(bytes: Uint8Array, start: number, arrivedEnd: number): number {
  let at = start;
  let missing = 1; // Values that have not begun. Each takes one byte at the least.
  while (missing > 0 && at < arrivedEnd) {
    missing--;
    const header = readHeader(bytes, at);
    if (header.end > arrivedEnd) return header.end + missing;
    missing += header.values;
    at = header.dataEnd;
  }
  return at + missing;
}

// ---------------------------------------------------------------------------- one request --

const EXPECTED = "expected a dict with the keys student_name, github_username and sid";
const HOW_TO_PACK = "send msgpack.packb(d), where d is a dict with the three keys";
const NO_ENCODE = "leave out .encode()";

// Reads a whole message. Throws a Fault if it is no MessagePack.
function decodeMessage(message: Uint8Array<ArrayBuffer>): unknown {
  checkTexts(message);
  try {
    return decode(message);
  } catch (error) {
    const { message: reason } = error as Error;
    throw new Fault("malformed", `this is no MessagePack of the lab: ${reason} (${dump(message)})`);
  }
}

// Refuses a text that is not UTF-8. An old msgpack packs bytes as a string, such as those of
// .encode("latin-1"). `decode` would put other characters in their place, and nobody would see it.
function checkTexts(message: Uint8Array): void {
  let at = 0;
  while (at < message.length) {
    const { end, dataEnd, isText } = readHeader(message, at);
    if (isText && !isAscii(message, end, dataEnd)) {
      const text = message.subarray(end, dataEnd);
      if (!isUtf8(text)) {
        throw new Fault("refused", `a text is not UTF-8, ${NO_ENCODE}: ${dump(text)}`);
      }
    }
    at = dataEnd;
  }
}

// Nearly all texts are ASCII, which is UTF-8, too. This costs far less than a call of isUtf8.
function isAscii(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) {
    if (bytes[i] >= 0x80) return false;
  }
  return true;
}

// The longest line of a request, with its end, in bytes. So many bytes a pipe of Linux takes whole
// or not at all: no line is cut in two, see LineWriter.
const MAX_LINE_BYTES = 4096;
// The line of a message of up to so many bytes is always shorter than that: a byte of a message is
// at most 6 bytes of the line, as in the escape \u001b. Such a line is not measured: it saves time.
const SHORT_MESSAGE_BYTES = 600;

// Takes the value of a message for a request, or throws a Fault that says what is wrong with it.
function parseRequest(message: Uint8Array, value: unknown): Student {
  if (kindOf(value) !== "a dict") throw notADict(message, value);
  const fields = value as Record<string, unknown>;
  const student = {
    student_name: readText(fields, "student_name"),
    github_username: readText(fields, "github_username"),
    sid: readId(fields, "sid"),
  };
  const isShort = message.length <= SHORT_MESSAGE_BYTES;
  if (!isShort && Buffer.byteLength(`${lineOf(student)}\n`) > MAX_LINE_BYTES) {
    throw new Fault("too-long", `the line would be over the limit of ${MAX_LINE_BYTES} bytes`);
  }
  return student;
}

function notADict(message: Uint8Array, value: unknown): Fault {
  const kind = kindOf(value);
  // In MessagePack the first byte of plain text is a number: "A" is 65. So is the first byte of a
  // length that is sent in front of the request.
  const what = kind === "an integer" ? "a number, a length or plain text" : kind;
  const advice = isAcknowledgement(value)
    ? "this is the server's acknowledgement, which must not be sent back"
    : `${HOW_TO_PACK}, packed once and alone`;
  return new Fault("not-a-map", `${EXPECTED}, but ${what} came: ${advice} (${dump(message)})`);
}

function isAcknowledgement(value: unknown): boolean {
  return kindOf(value) === "an integer" && Number(value) === ACKNOWLEDGEMENT;
}

function readField(fields: Record<string, unknown>, key: string): unknown {
  if (Object.hasOwn(fields, key)) return fields[key];
  const keys = Object.keys(fields).map(quote).join(", ") || "none";
  throw new Fault("refused", `${key} is missing, the dict has: ${keys}`);
}

function readText(fields: Record<string, unknown>, key: string, wanted = "a string"): string {
  const value = readField(fields, key);
  if (typeof value !== "string") {
    const kind = kindOf(value);
    const advice = kind === "bytes" ? `: ${NO_ENCODE} and b''` : "";
    throw new Fault("refused", `${key} must be ${wanted}, but it is ${kind}${advice}`);
  }
  if (!VISIBLE.test(value)) {
    throw new Fault("refused", `${key} is empty: nothing can be seen in ${quote(value)}`);
  }
  return value;
}

function readId(fields: Record<string, unknown>, key: string): number | bigint | string {
  const value = readField(fields, key);
  if (kindOf(value) === "an integer") return simplify(value as number | bigint);
  return readText(fields, key, "an integer or a string");
}

// `decode` makes a bigint of an integer of 64 bits, however small it is. A number is exact as far
// as Number.MAX_SAFE_INTEGER.
function simplify(integer: number | bigint): number | bigint {
  const number = Number(integer);
  return Number.isSafeInteger(number) ? number : integer;
}

// The kind of a value that `decode` has made, in Python's words. Clients in JavaScript may pack an
// integer of more than 32 bits as a float, so a whole float is an integer, too.
function kindOf(value: unknown) {
  if (value === null) return "None";
  if (typeof value === "boolean") return "a bool";
  if (typeof value === "string") return "a string";
  if (typeof value === "bigint" || Number.isSafeInteger(value)) return "an integer";
  if (typeof value === "number") return "a float";
  if (ArrayBuffer.isView(value)) return "bytes";
  return Array.isArray(value) ? "a list" : "a dict";
}

// Data of other programs that clients send by mistake: how it begins, its name, and what to do
// instead. Each character is one byte. Examples, in the order of the rows:
//
// - `80 04 95`, from pickle.dumps(d): 80 and the version of pickle
// - `{'student_name': 'Alice Brown'}`, from str(d)
// - `{"student_name": "Alice Brown"}`, from json.dumps(d). Behind the `{` comes a printable
//   character (from ! to ~) or a space. Otherwise the byte `{` can be a length before a message.
// - `GET / HTTP/1.1`, from a browser; `HTTP/1.1 400 Bad Request`, from a web server
// deno-fmt-ignore
const STRANGERS = [
  // deno-lint-ignore no-control-regex
  { begins: /^\x80[\x02-\x05]/, text: "a Python pickle: use msgpack, or put the lab's pickle.py beside the program" },
  { begins: /^\s*[{[(]\s*'/, text: `the text of a Python dict: ${HOW_TO_PACK}, not str() or repr()` },
  { begins: /^\s*[{["][\s!-~]/, text: `JSON text: ${HOW_TO_PACK}, not json.dumps()` },
  { begins: /^(\w+ \S+ )?HTTP\//, text: "HTTP: use a socket and msgpack.packb(d)" },
];

// Says what these bytes look like, and what to do instead, if they are not of the lab.
function recognize(bytes: Uint8Array): string | undefined {
  const start = String.fromCharCode(...bytes.subarray(0, 1000));
  const stranger = STRANGERS.find(({ begins }) => begins.test(start));
  return stranger && `this looks like ${stranger.text}`;
}

// ----------------------------------------------------------------------- the client's side --

/** What {@linkcode submit} takes beside the student. */
export interface SubmitOptions {
  /** The server's address; the default is in {@linkcode DEFAULTS}. */
  hostname?: string;
  /** The server's TCP port; the default is in {@linkcode DEFAULTS}. */
  port?: number;
  /** Called with the client's id when the server has greeted. */
  onGreeting?: (clientid: number) => void;
  /** Called once if there is no greeting within a second, with a sentence on what is missing. */
  onWaiting?: (hint: string) => void;
}

// A container, such as one of Docker, accepts a client before it looks for the server in it. It
// cannot reach a server that listens at 127.0.0.1, and then it closes the connection.
const WHY_CLOSED =
  "its own window says why. If it says nothing, something in between has answered " +
  "(a container, a forwarded port): start the server with --host 0.0.0.0";

/**
 * The lab's client: waits until it is its turn and the server greets, sends the student, and
 * settles when the server has acknowledged.
 *
 * ```ts
 * await submit({ student_name: "Alice Brown", github_username: "abrown", sid: 123456789 });
 * ```
 *
 * @throws {Fault} When the server refuses, closes, is not the lab's, or has sent no whole answer
 * 10 s after its greeting.
 * @throws {Error} When the connection fails or breaks, or `sid` is no integer of 64 bits.
 */
export async function submit(student: Student, options: SubmitOptions = {}): Promise<void> {
  const { hostname = DEFAULTS.hostname, port = DEFAULTS.port, onGreeting, onWaiting } = options;
  // `encode` makes a float of a number that needs more than 32 bits, and an integer of a bigint.
  const sid = typeof student.sid === "number" ? BigInt(student.sid) : student.sid;
  const request = encode({ ...student, sid });
  let hint = "Not connected yet: nobody answers at that address, or the server's queue is full";
  const hintTimer = setTimeout(() => onWaiting?.(hint), 1000);
  const waiting = new Waiting();
  try {
    using conn = await Deno.connect({ hostname, port }); // `using`: closed at the end of the block.
    hint = "Connected, no greeting yet: is another client served?";
    const framer = new Framer();
    const greeting = await receive(conn, framer, "greeting", isGreeting);
    clearTimeout(hintTimer);
    onGreeting?.(Number(Object(greeting).clientid));
    waiting.startClock();
    const text = "the server has sent no whole answer in 10 s";
    waiting.begin("step", { ms: 10_000, event: "answer", text });
    if (framer.pending().length > 0) {
      // Whatever comes before the request is wrong. It can be the error of a timeout.
      await waiting.until(receive(conn, framer, "answer before the request", () => false));
    }
    await waiting.until(writeAll(conn, request));
    await waiting.until(receive(conn, framer, "acknowledgement", isAcknowledgement));
  } finally {
    clearTimeout(hintTimer);
    waiting.stopClock();
  }
}

function isGreeting(value: unknown): boolean {
  const { clientid } = Object(value); // Object() makes it safe to look into null and numbers, too.
  return kindOf(clientid) === "an integer" && clientid >= 0;
}

// Returns the next value of the server. `what` is its name in an error.
async function receive(
  conn: Deno.TcpConn,
  framer: Framer,
  what: string,
  isExpected: (value: unknown) => boolean,
): Promise<unknown> {
  let message = framer.next();
  while (message === undefined) {
    if (await framer.read(conn) === null) {
      throw new Fault("answer", `the server has closed without a whole ${what}: ${WHY_CLOSED}`);
    }
    message = framer.next();
  }
  const value = decodeMessage(message);
  if (isExpected(value)) return value;
  const arrived = new Uint8Array([...message, ...framer.pending()]);
  throw new Fault("answer", describeUnexpected(what, value, arrived));
}

// `arrived` may say more than the value: a pickle begins with the byte 80, which is an empty dict.
function describeUnexpected(what: string, value: unknown, arrived: Uint8Array): string {
  const { error } = Object(value);
  if (typeof error === "string") return `the server refused: ${error}`;
  const stranger = recognize(arrived);
  if (stranger !== undefined) return `the server's ${what}: ${stranger}`;
  return `not the lab's server: its ${what} is ${toJson(value)} (${dump(arrived)})`;
}

// ------------------------------------------------------------------------ what is printed --

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

// The first 16 bytes in hex.
function hexOf(bytes: Uint8Array): string {
  const first = Array.from(bytes.subarray(0, 16));
  return first.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

// The first 16 bytes in hex and as text.
function dump(bytes: Uint8Array): string {
  const text = String.fromCharCode(...bytes.subarray(0, 16)).replace(/[^ -~]/g, ".");
  return `${hexOf(bytes)}${bytes.length > 16 ? " ..." : ""} "${text}"`;
}

// Writes a record: a text for people, and fields for programs, of which one is the event.
function writeRecord(logger: Logger, level: Level, text: string, fields: object): void {
  try {
    logger[level](escape(text, UNSAFE), fields);
  } catch (error) {
    // A log that fails must not end the server. This one never throws.
    createLogger().error(bugOf(error).message);
  }
}

// Writes the records about one client.
class ClientLog {
  readonly client: string; // its address

  constructor(conn: Deno.TcpConn, readonly logger: Logger) {
    const { hostname, port } = conn.remoteAddr;
    this.client = hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
  }

  report(level: Level, event: string, text: string, fields = {}): void {
    const { client } = this;
    writeRecord(this.logger, level, `${client}: ${text}`, { event, client, ...fields });
  }

  // A record of the wire, to look at. `describe` is only called if the log shows it.
  trace(describe: () => { text: string }): void {
    if (this.logger.levelName !== "DEBUG") return;
    const { text, ...fields } = describe();
    this.report("debug", "wire", text, fields);
  }
}

function describeRead(bytes: Uint8Array | null) {
  if (bytes === null) {
    return { text: "recv brought the end: the client sends no more", step: "closed", by: "client" };
  }
  const text = `recv brought ${plural(bytes.length, "byte")}`;
  return { text, step: "recv", bytes: bytes.length, hex: hexOf(bytes) };
}

function describeValue(step: string, bytes: Uint8Array, value: unknown, times = 1) {
  const shown = toJson(value) + (times > 1 ? `, ${times} times` : "");
  const text = `${step} ${plural(bytes.length, "byte")}: ${dump(bytes)}, which is ${shown}`;
  return { text, step, bytes: bytes.length, hex: hexOf(bytes), value: shown };
}

// A value as JSON. What JSON does not have becomes text: bytes, and an integer that a JavaScript
// number cannot hold.
function toJson(value: unknown): string {
  const replace = (_key: string, part: unknown) => {
    if (ArrayBuffer.isView(part)) return plural(part.byteLength, "byte");
    const simple = typeof part === "bigint" ? simplify(part) : part;
    return typeof simple === "bigint" ? String(simple) : simple;
  };
  try {
    return escape(JSON.stringify(value, replace), UNSAFE);
  } catch {
    return "(nested too deeply to be shown)"; // Thousands of lists in each other fit in a message.
  }
}

// Characters that could forge a line or move the cursor. `\p{Cc}` is each character that Unicode
// has in its category Cc, which are the controls. Zl and Zp are the separators of lines and
// paragraphs. The last ones turn the direction of writing.
const UNSAFE = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;
// A character that can be seen: no white space (\s), no control, unassigned one or the like (C),
// none that a font leaves out, such as a zero-width space, and not the empty Braille sign (2800).
const VISIBLE = /[^\s\p{C}\p{Default_Ignorable_Code_Point}\u2800]/u;
// A character that cannot be seen, but for the ordinary space. In some languages a name needs such
// characters, so they are only escaped where a text is shown in quotes.
const INVISIBLE = /(?! )[\s\p{C}\p{Default_Ignorable_Code_Point}\u2800]/gu;

// Puts \uXXXX in the place of these characters. To look first is faster: hardly a text has one.
function escape(text: string, which: RegExp): string {
  if (text.search(which) < 0) return text;
  const toCode = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return text.replace(which, (found) => found.split("").map(toCode).join(""));
}

// Text in quotes, in Python's style. Everything in it can be seen.
function quote(text: string): string {
  const mark = text.includes("'") ? '"' : "'";
  return mark + escape(text, INVISIBLE) + mark;
}

// The line of a request, as the lab has it.
function lineOf({ student_name: name, github_username: user, sid }: Student): string {
  return escape(`Connected: Student: ${name}, Github Username: ${user}, sid: ${sid}`, UNSAFE);
}

// Writes whole lines to standard output or standard error. The whole program waits for it and hears
// no signal: no request may be acknowledged before its line is printed. A pipe, as in
// `main.ts | less`, is full while its reader does not read. Then a write waits. But if another
// program has set the pipe to "non-blocking", the write fails instead, and has taken nothing of a
// piece of up to MAX_LINE_BYTES. So we write in such pieces, and try again after a failure.
class LineWriter {
  #isTorn = false; // The last write has failed (a full disk), maybe in the middle of a line.

  constructor(readonly output: { writeSync(bytes: Uint8Array): number }) {}

  // Writes lines. A torn line before them is ended, or the next one would be lost with it.
  write(lines: string): void {
    let rest = Buffer.from(`${this.#isTorn ? "\n" : ""}${lines}\n`);
    this.#isTorn = true;
    while (rest.length > 0) {
      // As many whole lines as fit into a piece, but one line at the least.
      const lastEnd = rest.lastIndexOf("\n", MAX_LINE_BYTES - 1);
      const end = lastEnd >= 0 ? lastEnd : rest.indexOf("\n");
      const count = this.#tryToWrite(rest.subarray(0, end + 1));
      rest = rest.subarray(count);
    }
    this.#isTorn = false;
  }

  // Returns how many bytes were written.
  #tryToWrite(piece: Uint8Array): number {
    try {
      return this.output.writeSync(piece);
    } catch (error) {
      if (!(error instanceof Deno.errors.WouldBlock)) throw error;
      // To sleep for 1 ms, while the whole program waits, we wait for a change that nobody makes.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
      return 0;
    }
  }
}

const standardOutput = new LineWriter(Deno.stdout);
const standardError = new LineWriter(Deno.stderr);

// What prints the lab's lines on standard output: two options of `serve`.
function createPrinter(format: LogFormat) {
  return {
    onListen: ({ hostname: address, port }: Deno.NetAddr) => {
      const fields = { event: "listening", address, port, version: project.version };
      const text = `Listening at ${address}/${port}`;
      standardOutput.write(format === "text" ? text : toJsonLine("INFO", fields));
    },
    onRequests: (students: Student[], client: string) => {
      const toLine = (student: Student) =>
        format === "text"
          ? lineOf(student)
          : toJsonLine("INFO", { event: "request", client, ...student });
      standardOutput.write(students.map(toLine).join("\n"));
    },
  };
}

function toJsonLine(level: string, fields: object): string {
  return toJson({ time: new Date(), level, ...fields });
}

// @std's own handler for the console writes to standard output, which is for the lab's lines.
class StderrHandler extends BaseHandler {
  override log(line: string): void {
    try {
      standardError.write(line);
    } catch {
      // Nobody reads the log any more. The server goes on.
    }
  }
}

/** How the log and the lines on standard output are written. */
export type LogFormat = "text" | "json";

/** A logger that writes records of this level or above to standard error, a line for each one. */
export function createLogger(level: LevelName = "INFO", format: LogFormat = "text"): Logger {
  const formatter = ({ levelName, msg: message, args }: LogRecord) =>
    format === "text"
      ? `${levelName} ${message}`
      : toJsonLine(levelName, { ...Object(args[0]), message });
  return new Logger("lab", level, { handlers: [new StderrHandler(level, { formatter })] });
}

// ------------------------------------------------------------------------ the command line --

interface Option {
  readonly name: string;
  readonly preset?: string | number; // counts if it is not given; without one, it must be given
  readonly takes: string; // what it takes, in words
  readonly isRight: (typed: string) => boolean; // whether what was typed is that
  readonly help: string;
}

const TEXT = { takes: "text", isRight: () => true };

const HOST = {
  takes: "an address alone, such as 127.0.0.1 or ::1 (the port goes to --port)",
  isRight: (typed: string) => {
    const colons = typed.split(":").length - 1; // An IPv6 address has two at the least.
    return colons !== 1 && !/[\s/[\]]/.test(typed) && typed.search(INVISIBLE) < 0;
  },
};

const SECONDS = {
  takes: "seconds from 0 to 1000000",
  isRight: (typed: string) => /^[\d.]+$/.test(typed) && Number(typed) <= 1_000_000,
};

function integer(min: number, max: number) {
  return {
    takes: `an integer from ${min} to ${max}`,
    isRight: (typed: string) => /^\d+$/.test(typed) && Number(typed) >= min && Number(typed) <= max,
  };
}

function oneOf(...words: string[]) {
  return { takes: words.join(" or "), isRight: (typed: string) => words.includes(typed) };
}

// deno-fmt-ignore
const SERVER_OPTIONS: Option[] = [
  { name: "host", preset: DEFAULTS.hostname, ...HOST, help: "address; with 0.0.0.0 other machines can connect, too" },
  { name: "port", preset: DEFAULTS.port, ...integer(0, 65535), help: "TCP port, 0 for any free one" },
  { name: "backlog", preset: DEFAULTS.backlog, ...integer(1, 65535), help: "clients that wait in the kernel's queue" },
  { name: "request-timeout", preset: DEFAULTS.requestTimeout / 1000, ...SECONDS, help: "for a whole request" },
  { name: "keep-alive-timeout", preset: DEFAULTS.keepAliveTimeout / 1000, ...SECONDS, help: "for silence after an answer" },
  { name: "turn-timeout", preset: DEFAULTS.turnTimeout / 1000, ...SECONDS, help: "for the visit of one client" },
  { name: "max-message-bytes", preset: DEFAULTS.maxMessageBytes, ...integer(64, 2 ** 20), help: "the longest request" },
  { name: "log-level", preset: "INFO", ...oneOf("DEBUG", "INFO", "WARN", "ERROR"), help: "DEBUG shows the wire" },
  { name: "log-format", preset: "text", ...oneOf("text", "json"), help: "text, or json: one object per line" },
];

// deno-fmt-ignore
const CLIENT_OPTIONS: Option[] = [
  { name: "student-name", ...TEXT, help: "needed, in quotes if it has spaces" },
  { name: "github-username", ...TEXT, help: "needed" },
  { name: "sid", ...TEXT, help: "needed, the student id" },
  { name: "host", preset: DEFAULTS.hostname, ...HOST, help: "the server's address" },
  { name: "port", preset: DEFAULTS.port, ...integer(1, 65535), help: "the server's TCP port" },
];

const SERVER_USAGE = `Lab 3: an iterative TCP server, one client after the other; and its client.
Usage: main.ts [options]
       main.ts client --student-name "Alice Brown" --github-username abrown --sid 123456789
       main.ts client --help

Options of the server and their defaults (timeouts in seconds, 0: no limit):`;

const CLIENT_USAGE = `The client of lab 3: sends a student to the server, and waits for its answer.
Usage: main.ts client --student-name "Alice Brown" --github-username abrown --sid 123456789

Options of the client and their defaults:`;

function helpOf(usage: string, options: Option[]): string {
  const lines = options.map(({ name, preset, help }) =>
    `  ${`--${name} ${preset ?? "TEXT"}`.padEnd(26)} ${help}`
  );
  return `${usage}\n${lines.join("\n")}\n  --help, --version`;
}

// What was typed for each option, or its preset: text, by the name of the option.
type Typed = Record<string, string>;

function parseOptions(options: Option[], args: string[]): Typed {
  const names = options.map(({ name }) => name);
  const given = parseArgs(args, {
    string: names,
    unknown: (arg) => {
      if (arg === "") return; // As in `--port ""`: below we see that the value is missing.
      throw new Fault("usage", describeUnknown(arg, names));
    },
  });
  const typed: Typed = {};
  for (const { name, preset, takes, isRight } of options) {
    const value = String(given[name] ?? preset ?? "");
    if (value.trim() === "") throw new Fault("usage", `--${name} needs a value, as --help shows`);
    if (!isRight(value)) throw new Fault("usage", `--${name} takes ${takes}, not ${quote(value)}`);
    typed[name] = value;
  }
  // A system may take localhost for ::1, which the lab's clients do not try.
  if (typed.host === "localhost") typed.host = "127.0.0.1";
  return typed;
}

// Dashes and quotes of printed texts, which text programs put in the place of - and " and '.
const TYPOGRAPHIC = /[\u2010-\u2015\u2212\u201c-\u201e\u00ab\u00bb]|^\u2018|\u2019$/;

function describeUnknown(arg: string, names: string[]): string {
  const shown = escape(arg, INVISIBLE);
  if (TYPOGRAPHIC.test(arg)) return `${shown} has a dash or quotes of a text program: type - and "`;
  const known = `--${names.join(", --")}, --help, --version`;
  return `Unknown option ${shown}: there are ${known}. A value with spaces needs quotes, and one ` +
    "that begins with - is written as in --sid=-5";
}

// The signals that stop the server. Windows has SIGBREAK (Ctrl-Break) in the place of SIGTERM.
const TERMINATION: Deno.Signal = Deno.build.os === "windows" ? "SIGBREAK" : "SIGTERM";
const STOP_SIGNALS: Deno.Signal[] = ["SIGINT", TERMINATION, "SIGHUP"];
// A terminal and a task runner both send a ^C on. Within this time it is the same one, in ms.
const SAME_SIGNAL_MS = 100;

// The first signal stops the server. One that comes after SAME_SIGNAL_MS ends the program at once.
function stopAtSignals(controller: AbortController): void {
  let firstAt: number | undefined;
  const onSignal = () => {
    firstAt ??= performance.now(); // `??=` sets it only if it is undefined: at the first signal.
    if (performance.now() - firstAt >= SAME_SIGNAL_MS) Deno.exit(1);
    controller.abort(); // A second call does nothing.
  };
  for (const signal of STOP_SIGNALS) Deno.addSignalListener(signal, onSignal);
}

async function runServer(typed: Typed): Promise<void> {
  const format = typed["log-format"] as LogFormat;
  const printer = createPrinter(format);
  const controller = new AbortController();
  const server = serve({
    hostname: typed.host,
    port: Number(typed.port),
    backlog: Number(typed.backlog),
    requestTimeout: Number(typed["request-timeout"]) * 1000,
    keepAliveTimeout: Number(typed["keep-alive-timeout"]) * 1000,
    turnTimeout: Number(typed["turn-timeout"]) * 1000,
    maxMessageBytes: Number(typed["max-message-bytes"]),
    logger: createLogger(typed["log-level"] as LevelName, format),
    signal: controller.signal,
    onListen: (addr) => {
      stopAtSignals(controller); // Not before: ^C must work when Deno asks whether we may listen.
      printer.onListen(addr);
    },
    onRequests: printer.onRequests,
  });
  const { clients, requests } = await server.finished;
  const text = `Served ${plural(clients, "client")} and ${plural(requests, "request")}`;
  createLogger("INFO", format).info(text, { event: "stopped" }); // whatever --log-level is
}

async function runClient(typed: Typed): Promise<void> {
  const port = Number(typed.port);
  // Digits are an integer, also behind a minus; but not with a zero in front, and not if they are
  // so many that 64 bits may not do.
  const isInteger = /^(0|-?[1-9]\d{0,17})$/.test(typed.sid);
  const student = {
    student_name: typed["student-name"],
    github_username: typed["github-username"],
    sid: isInteger ? BigInt(typed.sid) : typed.sid,
  };
  await submit(student, {
    hostname: typed.host,
    port,
    onWaiting: (hint) => console.error(hint),
    onGreeting: (clientid) =>
      console.log(`{'clientid': ${clientid}} has successfully connected to ${typed.host}/${port}`),
  });
  console.log("Data acknowledged by server and you passed the test");
}

// What to do about an error of the system, by its code.
const SERVER_ADVICE: Record<string, string> = {
  EADDRINUSE: "the port is in use: end the other server, or choose another port with --port",
  EADDRNOTAVAIL: "this machine has no such address: --host 127.0.0.1, or 0.0.0.0 for all it has",
  EACCES: "the system keeps this port for itself or an administrator: choose another with --port",
};
const CLOSED = `the server has closed: ${WHY_CLOSED}`;
const CLIENT_ADVICE: Record<string, string> = {
  ECONNREFUSED: "there is no server: start it first, or say with --host and --port where it is",
  ECONNRESET: CLOSED,
  ECONNABORTED: CLOSED, // as Windows says it
  EPIPE: CLOSED,
};

// How the system says that nobody has this name. Windows says it in the words of each language,
// with the same numbers.
const NO_SUCH_NAME = /^failed to lookup address|\(os error 1100[1-4]\)$/;

// What is wrong, in one line for the person at the terminal.
function explain(error: Error, { host, port }: Typed, advice: Record<string, string>): string {
  if (error instanceof Fault) return error.message;
  const text = NO_SUCH_NAME.test(error.message)
    ? "there is no machine of this name: see --host"
    : advice[codeOf(error)] ?? error.message;
  return `${host}/${port}: ${text}`;
}

// Returns the exit status: 0, or 1 for a failure, or 2 for a wrong command line.
async function main(argv: string[]): Promise<number> {
  const args = argv.filter((arg) => arg !== "--"); // `deno task` and npm may hand theirs on.
  const isClient = args[0] === "client";
  const options = isClient ? CLIENT_OPTIONS : SERVER_OPTIONS;
  let values: Typed = {};
  try {
    if (args.includes("--help")) {
      console.log(helpOf(isClient ? CLIENT_USAGE : SERVER_USAGE, options));
    } else if (args.includes("--version")) {
      console.log(project.version);
    } else {
      values = parseOptions(options, isClient ? args.slice(1) : args);
      await (isClient ? runClient(values) : runServer(values));
    }
    return 0;
  } catch (error) {
    const advice = isClient ? CLIENT_ADVICE : SERVER_ADVICE;
    console.error(escape(explain(error as Error, values, advice), UNSAFE));
    return error instanceof Fault && error.event === "usage" ? 2 : 1;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
