/**
 * Lab 3: an iterative TCP server, and the client that belongs to it.
 *
 * Iterative means that the server takes one client after the other. For each client it does this:
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
 * The lab comes first: listen and accept, then what ends a visit and how the server waits, then the
 * visit of one client, from accept to close. Behind it is what the lab uses: the options, the
 * framing, the check of a request, the client, what is printed, the command line.
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import { BaseHandler, type LevelName } from "@std/log/base-handler";
import { Logger, type LogRecord } from "@std/log/logger";
import { decode, encode } from "@std/msgpack";
import project from "./deno.json" with { type: "json" };

export type { LevelName, Logger }; // for programs that use this module

// ---------------------------------------------------------------------- listen and accept --

/**
 * Starts the iterative server: one client at a time, in the order in which they came.
 *
 * ```ts
 * const server = serve({ port: 0, onRequests: (students) => console.log(students) });
 * console.log(server.addr.port);
 * await server.finished;
 * ```
 *
 * @throws {Deno.errors.AddrInUse} When the port is taken; and all else that `Deno.listen` throws.
 */
export function serve(options: ServeOptions = {}): LabServer {
  const context = createContext(options); // the options, and what all visits share
  const { hostname, port, backlog, onListen } = context;
  // The backlog is how many clients can wait in the kernel's queue.
  const listener = Deno.listen({ hostname, port, tcpBacklog: backlog });
  const { addr } = listener;
  try {
    onListen(addr);
  } catch (error) {
    listener.close(); // Otherwise nobody could use the port any more.
    throw error;
  }
  // There is no `await`: acceptClients goes on while the program does other things. Who awaits
  // `finished` waits until the server has stopped.
  return { addr, finished: acceptClients(listener, context) };
}

/** The first pause after a failed accept, in ms. Each further one is twice as long. */
const FIRST_PAUSE_MS = 5;
/** The longest pause after a failed accept, in ms. */
const LONGEST_PAUSE_MS = 1000;

// Serves one client after the other, until the server is told to stop. Meanwhile the other clients
// wait in the kernel's queue. `for await` over a listener accepts a client, runs its body, accepts
// the next client, and so on. That loop can end in three ways:
//
// - stop() has closed the listener. Then the loop ends without an error.
// - An accept has failed. Then the loop throws that error, but the listener is still open: we begin
//   the loop again.
// - The body has thrown. Then JavaScript closes the listener before the `catch` below comes, and
//   nobody could connect any more. So Session.run must never throw.
async function acceptClients(listener: Deno.TcpListener, context: Context): Promise<Served> {
  const { signal, waiting } = context;
  const served: Served = { clients: 0, requests: 0 };
  let session: Session | undefined; // the visit of the current client
  let pauseMs = FIRST_PAUSE_MS;
  const stop = () => {
    listener.close();
    session?.stop(); // `?.`: only if there is a session
  };
  signal.addEventListener("abort", stop); // "abort" means: the server is told to stop, by ^C say.
  if (signal.aborted) stop(); // That was before we listened to the signal.
  using _clock = waiting.startClock(); // `using` stops the clock when this function ends.
  while (!signal.aborted) {
    try {
      for await (const conn of listener) {
        pauseMs = FIRST_PAUSE_MS;
        session = new Session(conn, context);
        const requests = await session.run();
        session = undefined;
        if (requests > 0) served.clients++;
        served.requests += requests;
      }
    } catch (error) {
      pauseMs = await recover(error as Error, pauseMs, context);
    }
  }
  return served;
}

/** The system's codes for a client that was gone before its turn. EINVAL is the one of macOS. */
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

// --------------------------------------------------------- how a visit can end, and how to wait --

/** Why a visit has ended. `submit` and the command line throw it, too. */
export class Fault extends Error {
  /** `event` names the kind, for programs; `message` tells people. */
  constructor(readonly event: string, message: string) {
    super(message.slice(0, MAX_FAULT_LENGTH));
  }
}

/** A message may quote what a client has sent. It is cut, so that one recv can bring all of it. */
const MAX_FAULT_LENGTH = 400;

/**
 * The ends of a visit at which the client gets no `{"error": ...}`. On the left is the event of the
 * Fault, on the right the level at which it is logged. At every other end the client gets the
 * error, and a warning is logged, or an error if the server itself has failed.
 */
const SILENT_ENDS: Record<string, Level> = {
  closed: "debug", // the server stops, and this client has its answer already
  left: "info", // the connection has ended, closed or broken, before the client sent anything
  idle: "info", // the client had its answer and was silent: many clients never close
  reset: "warn", // the connection is broken
  stalled: "warn", // the client does not read its answers
};

/** A limit on the time that the server waits for a client. */
interface Limit {
  /** How long it is, in ms; 0 is no limit. */
  readonly ms: number;
  /** The event of the Fault that is thrown when it is over. */
  readonly event: string;
  /** The message of that Fault. */
  readonly text: string;
}

/** How long the current client may go on when the server is told to stop, in ms. */
const STOPPING_MS = 5000;
/** How long the server waits for the client to close, after it has sent an error, in ms. */
const LINGER_MS = 1000;

type Limits = ReturnType<typeof createLimits>;

// deno-fmt-ignore
function createLimits({ requestTimeout, keepAliveTimeout, turnTimeout }: Settings) {
  const seconds = (ms: number) => `${ms / 1000} s`;
  return {
    // For a whole request: from the accept on; for a later one, from its first byte on.
    timeout: { ms: requestTimeout, event: "timeout", text: `no whole request within ${seconds(requestTimeout)}` },
    // For a write. It has to wait if the client does not read, and all buffers on the way are full.
    stalled: { ms: requestTimeout, event: "stalled", text: `its answers were left unread for ${seconds(requestTimeout)}` },
    // For silence after an answer.
    idle: { ms: keepAliveTimeout, event: "idle", text: `silent for ${seconds(keepAliveTimeout)} after its answer: the next client's turn` },
    // For the whole visit, which is the turn of this client.
    turn: { ms: turnTimeout, event: "turn", text: `its turn of ${seconds(turnTimeout)} is over` },
    // For the rest of the visit, when the server is told to stop.
    stopping: { ms: STOPPING_MS, event: "stopping", text: "the server stops" },
    // In the place of `idle`, when the server is told to stop. (1 ms, since 0 is no limit.)
    stopNow: { ms: 1, event: "closed", text: "the server stops" },
    // For the client to close, after it was sent an error. #end catches this Fault and drops it.
    linger: { ms: LINGER_MS, event: "lingered", text: "the client does not close" },
  };
}

/** A limit is for the whole visit, or for what is waited for now. */
type Scope = "visit" | "now";

/** How often the clock ticks, in ms. */
const TICK_MS = 50;
/**
 * So many ticks are added to each limit. A limit begins between two ticks, so its first tick comes
 * too early: one more tick makes up for that. In the other one, a read can still bring what has
 * come in time.
 */
const SPARE_TICKS = 2;

/**
 * Waits for what the other side does, with limits. `begin` says which limit is in force from now
 * on. `until` waits for an operation, such as a read, and gives its result; but if a limit is over
 * before, it throws the Fault of that limit.
 *
 * Time is counted in ticks of a timer. While the whole program is paused (by ^Z, or in a laptop
 * that sleeps) the timer does not tick, and it does not make up for it later. So the client is not
 * to blame for such a time.
 */
class Waiting {
  #ticks = 0;
  #tickedAt = performance.now(); // when the last tick was, in ms
  #deadlines = new Map<Scope, { limit: Limit; endTick: number }>(); // the limits in force
  #interrupt: (fault: Fault) => void = () => {}; // the `reject` of the current wait, see until

  /** Starts the clock. Who writes `using` in front of what it returns stops it at the end. */
  startClock(): Disposable {
    const timer = setInterval(() => this.#tick(), TICK_MS);
    return { [Symbol.dispose]: () => clearInterval(timer) };
  }

  /** From now on this limit is in force for this scope, and no other one. */
  begin(scope: Scope, limit: Limit): void {
    const ticks = limit.ms === 0 ? Infinity : Math.ceil(limit.ms / TICK_MS) + SPARE_TICKS;
    this.#deadlines.set(scope, { limit, endTick: this.#ticks + ticks });
  }

  /** Whether this limit is in force for what is waited for now. */
  isNow(limit: Limit): boolean {
    return this.#deadlines.get("now")?.limit === limit;
  }

  /**
   * Gives the result of the operation, or throws the Fault of a limit that is over before. It is
   * like recv after settimeout in Python: you get what came, or an exception.
   *
   * A promise is settled once: by `resolve`, which gives a result, or by `reject`, which throws.
   * All later calls do nothing. Here the operation calls one of the two when it is done. The clock
   * has `reject` under the name #interrupt, and calls it when a limit is over. So whichever comes
   * first ends the wait, and there can only be one wait at a time. The operation itself is not
   * stopped, but nobody waits for it any more.
   */
  async until<T>(operation: Promise<T>): Promise<T> {
    const result = await new Promise<T>((resolve, reject) => {
      this.#interrupt = reject;
      operation.then(resolve, reject);
      this.#checkDeadlines(); // A limit can also have passed while nobody waited.
    });
    // JavaScript does one thing at a time. At an `await` it goes on with what is ready, and it comes
    // to timers and to ^C only when nothing is. If a client sends all the time, its bytes are always
    // ready, and the clock would stand still. So if a tick is overdue, we let it come first.
    if (performance.now() - this.#tickedAt > TICK_MS) await delay(0);
    return result;
  }

  #tick(): void {
    this.#ticks++;
    this.#tickedAt = performance.now();
    this.#checkDeadlines();
  }

  #checkDeadlines(): void {
    for (const { limit, endTick } of this.#deadlines.values()) {
      if (this.#ticks >= endTick) this.#interrupt(new Fault(limit.event, limit.text));
    }
  }
}

// ------------------------------------------------------------------ the visit of one client --

/** The lab's answer to a request. */
const ACKNOWLEDGEMENT = 1;
/** How long the first answer waits for a client that has sent too early, in ms: see #greetAndRead. */
const EARLY_MS = 20;

/** What one read brings. `null` is the end of the stream, as b"" is in Python. */
type Bytes = Uint8Array | null;

/** The visit of one client, from accept to close. */
class Session {
  #requests = 0; // how many were printed
  #reads = 0; // how many reads have brought bytes
  #writing = Promise.resolve(); // the last write. It may be under way when a limit is over.
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
      // The log shows this at level DEBUG alone; at other levels the function is not called.
      this.#log.trace(() => ({ step: "accepted", text: "accepted" }));
      waiting.begin("visit", limits.turn);
      waiting.begin("now", limits.timeout);
      if (signal.aborted) this.stop(); // The server was told to stop after the accept.
      let bytes = await this.#greetAndRead();
      while (bytes !== null) {
        await this.#answer(bytes);
        bytes = await this.#receive();
      }
      this.#checkEnd();
    } catch (error) {
      await this.#end(this.#faultOf(error)); // It never throws.
    } finally {
      this.conn.close();
      this.#log.trace(() => ({ step: "closed", text: "closed by the server", by: "server" }));
    }
    return this.#requests;
  }

  /**
   * The server is told to stop. A client that is silent after its answer is not waited for. In any
   * other case, such as half a request, it has up to 5 s for the rest of its visit.
   */
  stop(): void {
    const { waiting, limits } = this.context;
    waiting.begin("visit", limits.stopping);
    if (waiting.isNow(limits.idle)) {
      waiting.begin("now", limits.stopNow);
    } else if (!waiting.isNow(limits.linger)) { // Then the visit is at its end.
      const seconds = STOPPING_MS / 1000;
      this.#log.report("info", "stopping", `the server stops, up to ${seconds} s to finish`);
    }
  }

  // Step 1, and the first read of step 2. Most clients of the lab call recv once for each message.
  // Some of them send their request before they read the greeting. If the answer came at once, such
  // a client would get greeting and answer in one recv, and fail. So its answer is sent EARLY_MS
  // later. To find out whether the request is there already, we begin to read before we greet, and
  // look whether the read is done before the greeting is sent.
  async #greetAndRead(): Promise<Bytes> {
    this.conn.setNoDelay(); // Otherwise TCP may hold back a small answer (Nagle's algorithm).
    let isGreeted = false;
    let isEarly = false;
    // Both begin here, and then both are awaited together.
    const reading = this.#framer.read(this.conn).finally(() => isEarly = !isGreeted);
    const greeting = this.#write({ clientid: this.conn.remoteAddr.port })
      .finally(() => isGreeted = true);
    const [bytes] = await this.context.waiting.until(Promise.all([reading, greeting]));
    if (isEarly && bytes !== null) await delay(EARLY_MS);
    return this.#noteRead(bytes);
  }

  // Step 2 again: the rest of a request, or a further request.
  async #receive(): Promise<Bytes> {
    const { waiting, limits, signal } = this.context;
    const isNewRequest = this.#framer.pending().length === 0;
    // Until its first byte comes, the client is silent.
    if (isNewRequest) waiting.begin("now", signal.aborted ? limits.stopNow : limits.idle);
    const bytes = await waiting.until(this.#framer.read(this.conn));
    if (isNewRequest) waiting.begin("now", limits.timeout);
    return this.#noteRead(bytes);
  }

  #noteRead(bytes: Bytes): Bytes {
    if (bytes !== null) this.#reads++;
    this.#log.trace(() => describeRead(bytes));
    return bytes;
  }

  // Step 3. The framer keeps what the reads bring, which can be many requests. All good ones are
  // printed, then acknowledged. Only then comes the error about a wrong one behind them. If the
  // wrong one is in the first read of the visit, it may come from another program, such as a
  // browser. Then the error says so.
  async #answer(lastRead: Uint8Array): Promise<void> {
    const { students, fault } = this.#takeRequests();
    if (students.length > 0) {
      this.#print(students);
      await this.#acknowledge(students.length);
    }
    if (fault === undefined) return;
    const stranger = this.#reads === 1 ? recognize(lastRead) : undefined;
    throw stranger === undefined ? fault : new Fault("stranger", stranger);
  }

  // Takes all whole requests out of what has come, up to the first fault.
  #takeRequests(): { students: Student[]; fault?: unknown } {
    const students: Student[] = [];
    try {
      let message = this.#framer.next();
      while (message !== undefined) {
        students.push(this.#parse(message));
        message = this.#framer.next();
      }
      return { students };
    } catch (fault) {
      return { students, fault };
    }
  }

  #parse(message: Uint8Array<ArrayBuffer>): Student {
    const value = decodeMessage(message);
    this.#log.trace(() => describeValue("received", message, value));
    return parseRequest(message, value);
  }

  // If the lines cannot be printed, the client must not be acknowledged.
  #print(students: Student[]): void {
    try {
      this.context.onRequests(students, this.#log.client);
    } catch (error) {
      throw bugOf(error);
    }
    this.#requests += students.length;
  }

  // Requests that came together are acknowledged together, in one write.
  async #acknowledge(count: number): Promise<void> {
    const { waiting, limits } = this.context;
    waiting.begin("now", limits.stalled);
    await waiting.until(this.#write(ACKNOWLEDGEMENT, count));
    // The next request may have begun in the same read. If so, its time runs from here; if not,
    // #receive begins `idle`.
    waiting.begin("now", limits.timeout);
  }

  // Sends a value, as often as `times` says.
  #write(value: Value, times = 1): Promise<void> {
    const bytes = repeat(encode(value), times);
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
    return new Fault("reset", `${BROKEN_TEXT} (${error})`);
  }

  // Logs the fault, and tells the client if it is to be told.
  async #end(fault: Fault): Promise<void> {
    const { event, message } = fault;
    const level = event === "bug" ? "error" : "warn";
    this.#log.report(SILENT_ENDS[event] ?? level, event, message);
    if (event in SILENT_ENDS) return;
    const { waiting, limits } = this.context;
    // From now on only `linger` counts. A limit that is over would throw at the next wait, too.
    waiting.begin("visit", limits.linger);
    waiting.begin("now", limits.linger);
    try {
      await this.#tell(fault);
    } catch {
      // The client is gone, or it has not closed in time.
    }
  }

  // Sends the error, and ends the server's direction of the connection: the client finds the end of
  // the stream behind the error. It can still send in its own direction. We do not close yet: if
  // bytes of the client are unread at a close, the kernel sends a reset. At a reset the client's
  // system may throw away what has come, with the error in it. So we read and drop what still
  // comes, until the client closes. This is called a lingering close.
  //
  // The read or write that a limit has interrupted is still under way. The write is waited for; the
  // read takes the next bytes, which would be dropped anyway.
  async #tell({ event, message }: Fault): Promise<void> {
    const { buffer, waiting } = this.context;
    await waiting.until(this.#writing);
    await waiting.until(this.#write({ error: event === "bug" ? BUG_TEXT : message }));
    await this.conn.closeWrite();
    let count: number | null = event === "truncated" ? null : 0; // A truncated stream has ended.
    while (count !== null) {
      count = await waiting.until(this.conn.read(buffer));
      this.#log.trace(() => describeRead(count === null ? null : buffer.subarray(0, count)));
    }
  }
}

const LEFT_TEXT = "left without sending. If its terminal shows `unpickling stack underflow`, " +
  "it uses Python's pickle: put the lab's pickle.py beside it";
const BROKEN_TEXT = "the client broke the connection: it crashed, or closed with something unread";
const BUG_TEXT = "the server has failed, not you";

// The kernel may take a part of the bytes at a time.
async function writeAll(conn: Deno.TcpConn, bytes: Uint8Array): Promise<void> {
  let sent = 0;
  while (sent < bytes.length) sent += await conn.write(bytes.subarray(sent));
}

function bugOf(error: unknown): Fault {
  const shown = Deno.inspect(error).replace(/\n\s*/g, " "); // with its place in the program
  return new Fault("bug", `a fault of the server: ${shown}`);
}

function repeat(bytes: Uint8Array, times: number): Uint8Array {
  const all = new Uint8Array(bytes.length * times);
  for (let i = 0; i < times; i++) all.set(bytes, i * bytes.length);
  return all;
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

/** How many clients and requests a server has served. */
export interface Served {
  /** Clients of whom at least one request was printed. */
  clients: number;
  /** Requests that were printed. */
  requests: number;
}

/** A running server. */
export interface LabServer {
  /** The address that it listens at. */
  readonly addr: Deno.NetAddr;
  /** Settles when the server has stopped. */
  readonly finished: Promise<Served>;
}

/** The options of a server, each with a value. */
type Settings = Required<ServeOptions>;

/** What the visits of a server share. */
interface Context extends Settings {
  readonly limits: Limits;
  /** Waits for the client that is being served. */
  readonly waiting: Waiting;
  /** Where received bytes are kept. There is one client at a time, so one buffer serves all. */
  readonly buffer: Uint8Array<ArrayBuffer>;
}

function createContext(options: ServeOptions): Context {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  const settings: Settings = {
    ...DEFAULTS,
    signal: new AbortController().signal, // It never aborts.
    ...createPrinter("text"),
    logger: createLogger(),
    ...Object.fromEntries(given), // What is given takes the place of what stands above.
  };
  return {
    ...settings,
    limits: createLimits(settings),
    waiting: new Waiting(),
    buffer: createBuffer(settings.maxMessageBytes),
  };
}

// ----------------------------------------------------------------------------- the framing --

/**
 * Finds the messages in a stream of MessagePack values. TCP keeps no boundaries: one read may bring
 * a part of a message, one message, or many. The header of a value says where it ends.
 *
 * ```ts
 * const framer = new Framer();
 * while (await framer.read(conn) !== null) {
 *   let message = framer.next();
 *   while (message !== undefined) {
 *     console.log(decode(message));
 *     message = framer.next();
 *   }
 * }
 * ```
 */
export class Framer {
  readonly #buffer: Uint8Array<ArrayBuffer>;
  #start = 0; // where the next message begins
  #end = 0; // after the last byte that has arrived

  /**
   * A framer that takes no message of more than `maxMessageBytes`. Its buffer has room for such a
   * message and for one read; framers that are not used at the same time can share one.
   */
  constructor(
    readonly maxMessageBytes: number = DEFAULTS.maxMessageBytes,
    buffer: Uint8Array<ArrayBuffer> = createBuffer(maxMessageBytes),
  ) {
    this.#buffer = buffer;
  }

  /** Reads once; returns the bytes that came, or `null` at the end of the stream. */
  async read(conn: Pick<Deno.TcpConn, "read">): Promise<Uint8Array | null> {
    this.#buffer.copyWithin(0, this.#start, this.#end); // What is left moves to the front.
    this.#end -= this.#start;
    this.#start = 0;
    // `subarray` makes no copy, unlike a slice of bytes in Python: the bytes arrive in #buffer.
    const count = await conn.read(this.#buffer.subarray(this.#end, this.#end + READ_BYTES));
    if (count === null) return null;
    this.#end += count;
    return this.#buffer.subarray(this.#end - count, this.#end);
  }

  /** What has arrived after the last message. It is valid until the next read. */
  pending(): Uint8Array<ArrayBuffer> {
    return this.#buffer.subarray(this.#start, this.#end);
  }

  /**
   * The next message, valid until the next read; or `undefined` when more has to be read first.
   *
   * @throws {Fault} When it is longer than `maxMessageBytes`, as soon as its headers say so.
   */
  next(): Uint8Array<ArrayBuffer> | undefined {
    const end = findEnd(this.#buffer, this.#start, this.#end);
    if (end - this.#start > this.maxMessageBytes) {
      const limit = plural(this.maxMessageBytes, "byte");
      throw new Fault("too-long", `over the limit of ${limit} (or no msgpack)`);
    }
    if (end > this.#end) return undefined;
    const message = this.#buffer.subarray(this.#start, end);
    this.#start = end;
    return message;
  }
}

/** The most bytes that one read brings. */
const READ_BYTES = 65536;

function createBuffer(maxMessageBytes: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(maxMessageBytes + READ_BYTES);
}

// Returns the index after the value that begins at `start`. The bytes up to `arrivedEnd` have come.
// If the value is not whole yet, this is the smallest index where it can end, which is over
// `arrivedEnd`. Nothing is kept between two calls: each one goes over the value from its start.
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
    const isHeaderWhole = headerEnd(bytes, at) <= arrivedEnd;
    if (!isHeaderWhole) return headerEnd(bytes, at) + missing;
    missing += countValues(bytes, at);
    at = dataEnd(bytes, at);
  }
  return at + missing;
}

/**
 * A format of the MessagePack specification. A value begins with a header: one byte, which says the
 * format, and for some formats a length field. What the length counts comes behind the header.
 */
interface Format {
  /** The first byte; the row is for all bytes from here up to the next row. */
  readonly first: number;
  /** What the length counts. A pair is two values: the key and the value of a dict. */
  readonly counts?: "text bytes" | "bytes" | "values" | "pairs";
  /** The width of the length field in bytes. Without one, the length is in the first byte. */
  readonly lengthBytes?: number;
  /** How many bytes follow in any case, such as those of a number. */
  readonly dataBytes?: number;
}

const FORMATS: Format[] = [
  { first: 0x00 }, // positive fixint: the value is the byte itself
  { first: 0x80, counts: "pairs" }, // fixmap: 0x83 is a dict of 3 pairs
  { first: 0x90, counts: "values" }, // fixarray: 0x92 is a list of 2 values
  { first: 0xa0, counts: "text bytes" }, // fixstr: 0xa5 is a string of 5 bytes
  { first: 0xc0 }, // nil; c1, which is never used; false and true
  { first: 0xc4, counts: "bytes", lengthBytes: 1 }, // bin 8
  { first: 0xc5, counts: "bytes", lengthBytes: 2 }, // bin 16
  { first: 0xc6, counts: "bytes", lengthBytes: 4 }, // bin 32
  { first: 0xc7, counts: "bytes", lengthBytes: 1, dataBytes: 1 }, // ext 8: with a type
  { first: 0xc8, counts: "bytes", lengthBytes: 2, dataBytes: 1 }, // ext 16
  { first: 0xc9, counts: "bytes", lengthBytes: 4, dataBytes: 1 }, // ext 32
  { first: 0xca, dataBytes: 4 }, // float 32
  { first: 0xcb, dataBytes: 8 }, // float 64
  { first: 0xcc, dataBytes: 1 }, // uint 8
  { first: 0xcd, dataBytes: 2 }, // uint 16
  { first: 0xce, dataBytes: 4 }, // uint 32
  { first: 0xcf, dataBytes: 8 }, // uint 64
  { first: 0xd0, dataBytes: 1 }, // int 8
  { first: 0xd1, dataBytes: 2 }, // int 16
  { first: 0xd2, dataBytes: 4 }, // int 32
  { first: 0xd3, dataBytes: 8 }, // int 64
  { first: 0xd4, dataBytes: 2 }, // fixext 1: a type and 1 byte
  { first: 0xd5, dataBytes: 3 }, // fixext 2
  { first: 0xd6, dataBytes: 5 }, // fixext 4
  { first: 0xd7, dataBytes: 9 }, // fixext 8
  { first: 0xd8, dataBytes: 17 }, // fixext 16
  { first: 0xd9, counts: "text bytes", lengthBytes: 1 }, // str 8
  { first: 0xda, counts: "text bytes", lengthBytes: 2 }, // str 16
  { first: 0xdb, counts: "text bytes", lengthBytes: 4 }, // str 32
  { first: 0xdc, counts: "values", lengthBytes: 2 }, // array 16
  { first: 0xdd, counts: "values", lengthBytes: 4 }, // array 32
  { first: 0xde, counts: "pairs", lengthBytes: 2 }, // map 16
  { first: 0xdf, counts: "pairs", lengthBytes: 4 }, // map 32
  { first: 0xe0 }, // negative fixint: the value is in the byte itself
];

/** The format of a value, by its first byte: FORMATS with a row for each of the 256 bytes. */
const FORMAT_OF: { counts: string; first: number; lengthBytes: number; dataBytes: number }[] = [];
for (let byte = 0; byte < 256; byte++) {
  const format = FORMATS.findLast(({ first }) => first <= byte) ?? FORMATS[0];
  FORMAT_OF.push({ counts: "", lengthBytes: 0, dataBytes: 0, ...format });
}

// The index after the header of the value that begins at `at`.
function headerEnd(bytes: Uint8Array, at: number): number {
  return at + 1 + FORMAT_OF[bytes[at]].lengthBytes;
}

// The length in the header of the value that begins at `at`.
function readLength(bytes: Uint8Array, at: number): number {
  const { first, lengthBytes } = FORMAT_OF[bytes[at]];
  if (lengthBytes === 0) return bytes[at] - first;
  let length = 0;
  for (let i = 1; i <= lengthBytes; i++) length = length * 256 + bytes[at + i];
  return length;
}

// The index after the header and the bytes that belong to it. Those of a list or dict are the
// values in it, which have headers of their own.
function dataEnd(bytes: Uint8Array, at: number): number {
  const { counts, dataBytes } = FORMAT_OF[bytes[at]];
  const isCounted = counts === "text bytes" || counts === "bytes";
  return headerEnd(bytes, at) + dataBytes + (isCounted ? readLength(bytes, at) : 0);
}

// How many values are in the list or dict that begins at `at`.
function countValues(bytes: Uint8Array, at: number): number {
  const { counts } = FORMAT_OF[bytes[at]];
  if (counts === "values") return readLength(bytes, at);
  if (counts === "pairs") return readLength(bytes, at) * 2;
  return 0;
}

// ---------------------------------------------------------------------------- one request --

/** A MessagePack value that `encode` takes. */
type Value = Parameters<typeof encode>[0];

// Names of kinds, in Python's words, since most clients are in Python.
const INTEGER = "an integer";
const STRING = "a string";
const BYTES = "bytes";
const DICT = "a dict";

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

const strictDecoder = new TextDecoder("utf-8", { fatal: true });

// Refuses a text that is not UTF-8. An old msgpack packs bytes as a string, such as those of
// .encode("latin-1"). `decode` would put other characters in their place, and nobody would see it.
function checkTexts(message: Uint8Array): void {
  let at = 0;
  while (at < message.length) {
    const end = dataEnd(message, at);
    if (FORMAT_OF[message[at]].counts === "text bytes") {
      checkUtf8(message.subarray(headerEnd(message, at), end));
    }
    at = end;
  }
}

function checkUtf8(text: Uint8Array): void {
  try {
    strictDecoder.decode(text);
  } catch {
    throw new Fault("refused", `a text is not UTF-8, ${NO_ENCODE}: ${dump(text)}`);
  }
}

// Takes the value of a message for a request, or throws a Fault that says what is wrong with it.
function parseRequest(message: Uint8Array, value: unknown): Student {
  if (kindOf(value) !== DICT) throw notADict(message, value);
  const fields = value as Record<string, unknown>;
  const student = {
    student_name: readText(fields, "student_name"),
    github_username: readText(fields, "github_username"),
    sid: readId(fields, "sid"),
  };
  if (textEncoder.encode(lineOf(student)).length > MAX_LINE_BYTES) {
    throw new Fault("too-long", `the line would be over the limit of ${MAX_LINE_BYTES} bytes`);
  }
  return student;
}

function notADict(message: Uint8Array, value: unknown): Fault {
  const kind = kindOf(value);
  // In MessagePack the first byte of plain text is a number: "A" is 65. So is the first byte of a
  // length that is sent in front of the request.
  const what = kind === INTEGER ? "a number, a length or plain text" : kind;
  let advice = `${HOW_TO_PACK}, packed once and alone`;
  if (isAcknowledgement(value)) {
    advice = "this is the server's acknowledgement, which must not be sent back";
  } else if (kind === STRING || kind === BYTES) { // such as packb(json.dumps(d))
    advice = recognize(message.subarray(headerEnd(message, 0))) ?? advice;
  }
  return new Fault("not-a-map", `${EXPECTED}, but ${what} came: ${advice} (${dump(message)})`);
}

function isAcknowledgement(value: unknown): boolean {
  return kindOf(value) === INTEGER && Number(value) === ACKNOWLEDGEMENT;
}

function readField(fields: Record<string, unknown>, key: string): unknown {
  if (key in fields) return fields[key];
  const keys = Object.keys(fields).map(quote).join(", ") || "none";
  throw new Fault("refused", `${key} is missing, the dict has: ${keys}`);
}

/** A character that can be seen: no space, none of the kind C, none that a font leaves out. */
const VISIBLE = /[^\s\p{C}\p{Default_Ignorable_Code_Point}\u2800]/u;

function readText(fields: Record<string, unknown>, key: string, wanted = STRING): string {
  const value = readField(fields, key);
  if (typeof value !== "string") {
    const kind = kindOf(value);
    const advice = kind === BYTES ? `: ${NO_ENCODE} and b''` : "";
    throw new Fault("refused", `${key} must be ${wanted}, but it is ${kind}${advice}`);
  }
  if (!VISIBLE.test(value)) {
    throw new Fault("refused", `${key} is empty: nothing can be seen in ${quote(value)}`);
  }
  return value;
}

function readId(fields: Record<string, unknown>, key: string): number | bigint | string {
  const value = readField(fields, key);
  if (kindOf(value) === INTEGER) return simplify(value as number | bigint);
  return readText(fields, key, `${INTEGER} or ${STRING}`);
}

// `decode` makes a bigint of an integer of 64 bits, however small it is. A number is exact as far
// as Number.MAX_SAFE_INTEGER.
function simplify(integer: number | bigint): number | bigint {
  const number = Number(integer);
  return Number.isSafeInteger(number) ? number : integer;
}

// The kind of a value that `decode` has made. JavaScript packs an integer of more than 32 bits as a
// float, so a whole float is an integer, too.
function kindOf(value: unknown): string {
  if (value === null) return "None";
  if (typeof value === "boolean") return "a bool";
  if (typeof value === "string") return STRING;
  if (typeof value === "bigint" || Number.isSafeInteger(value)) return INTEGER;
  if (typeof value === "number") return "a float";
  if (value instanceof Uint8Array) return BYTES;
  return Array.isArray(value) ? "a list" : DICT;
}

/** Data of another program that clients send by mistake. */
interface Stranger {
  /** How it begins; each character is one byte. `\cB` is the byte 02, `\cE` is 05, and so on. */
  readonly begins: RegExp;
  /** Its name, and what to do instead. */
  readonly text: string;
}

// deno-fmt-ignore
const STRANGERS: Stranger[] = [
  { begins: /^\x80[\cB-\cE]/, text: "a Python pickle: use msgpack, or put the lab's pickle.py beside the program" },
  { begins: /^\s*[[{(]\s*'/, text: `the text of a Python dict: ${HOW_TO_PACK}, not str() or repr()` },
  { begins: /^\s*[[{"][\s\w"{[\]}-]/, text: `JSON text: ${HOW_TO_PACK}, not json.dumps()` },
  { begins: /^[A-Z]{3,7} [/*]|^CONNECT |^HTTP\//, text: "HTTP: use a socket and msgpack.packb(d)" },
];

// Says what these bytes look like, and what to do instead, if they are not of the lab.
function recognize(bytes: Uint8Array): string | undefined {
  const start = String.fromCharCode(...bytes.subarray(0, 64));
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

/** How long our client waits before it says what it waits for, in ms. */
const HINT_MS = 1000;
/** How long our client waits for an answer, in ms. */
const ANSWER_MS = 10_000;

const NOT_CONNECTED =
  "Not connected yet: nobody answers at that address, or the server's queue is full";
const NOT_GREETED = "Connected, no greeting yet: is another client served?";
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
 * @throws {Fault} When the server refuses, closes, is not the lab's, or does not acknowledge in 10
 * s.
 * @throws {Error} What Deno throws when there is no connection, or when it breaks; and what `encode`
 * throws for a `sid` that is no integer of 64 bits.
 */
export async function submit(student: Student, options: SubmitOptions = {}): Promise<void> {
  const { hostname = DEFAULTS.hostname, port = DEFAULTS.port, onGreeting, onWaiting } = options;
  // `encode` makes a float of a number that needs more than 32 bits, and an integer of a bigint.
  const sid = typeof student.sid === "number" ? BigInt(student.sid) : student.sid;
  const request = encode({ ...student, sid });
  let hint = NOT_CONNECTED;
  const hintTimer = setTimeout(() => onWaiting?.(hint), HINT_MS);
  try {
    using conn = await Deno.connect({ hostname, port }); // `using`: closed at the end of the block.
    hint = NOT_GREETED;
    const server = new ServerConnection(conn);
    const clientid = await server.receiveGreeting();
    clearTimeout(hintTimer);
    onGreeting?.(clientid);
    await server.send(request);
  } finally {
    clearTimeout(hintTimer);
  }
}

/** The client's end of a connection to the server. */
class ServerConnection {
  readonly #framer = new Framer();
  readonly #waiting = new Waiting();

  constructor(readonly conn: Deno.TcpConn) {}

  // There is no limit: the client waits until it is its turn.
  async receiveGreeting(): Promise<number> {
    const greeting = await this.#receive("greeting");
    const clientid = readClientId(greeting.value);
    if (clientid === undefined) throw unexpectedAnswer(greeting);
    return clientid;
  }

  // Sends the request, and receives the acknowledgement.
  async send(request: Uint8Array): Promise<void> {
    const text = `the server has sent no whole answer in ${ANSWER_MS / 1000} s`;
    this.#waiting.begin("now", { ms: ANSWER_MS, event: "answer", text });
    using _clock = this.#waiting.startClock();
    // While this client was paused (by ^Z, or in a laptop that sleeps) the server may have lost
    // patience. Then its error has come with the greeting.
    if (this.#framer.pending().length > 0) {
      throw unexpectedAnswer(await this.#receive("answer before the request"));
    }
    await this.#waiting.until(writeAll(this.conn, request));
    const answer = await this.#receive("acknowledgement");
    if (!isAcknowledgement(answer.value)) throw unexpectedAnswer(answer);
  }

  // The next value. `what` is its name in an error.
  async #receive(what: string): Promise<Answer> {
    let arrived = this.#framer.pending();
    let message = this.#framer.next();
    while (message === undefined) {
      const bytes = await this.#waiting.until(this.#framer.read(this.conn));
      if (bytes === null) {
        const text = `the server has closed without a whole ${what}: ${WHY_CLOSED}`;
        throw new Fault("answer", text);
      }
      arrived = this.#framer.pending();
      message = this.#framer.next();
    }
    return { what, value: decodeMessage(message), arrived };
  }
}

/** A value of the server, its name in an error, and all bytes that had arrived with it. */
interface Answer {
  readonly what: string;
  readonly value: unknown;
  readonly arrived: Uint8Array;
}

// The id in a greeting; nothing if it is no greeting of the lab.
function readClientId(value: unknown): number | undefined {
  const { clientid } = Object(value); // Object() makes it safe to look into null and numbers, too.
  return kindOf(clientid) === INTEGER && clientid >= 0 ? Number(clientid) : undefined;
}

// What is wrong with an answer, in words.
function unexpectedAnswer({ what, value, arrived }: Answer): Fault {
  const { error } = Object(value);
  if (typeof error === "string") return new Fault("answer", `the server refused: ${error}`);
  const stranger = recognize(arrived);
  const text = stranger
    ? `the server's ${what}: ${stranger}`
    : `not the lab's server: its ${what} is ${toJson(value)} (${dump(arrived)})`;
  return new Fault("answer", text);
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

/** The names of the methods of a logger. */
type Level = "debug" | "info" | "warn" | "error";

// Writes a record: a text for people, and fields for programs, of which one is the event.
function writeRecord(logger: Logger, level: Level, text: string, fields: object): void {
  try {
    logger[level](escape(text, UNSAFE), fields);
  } catch (error) {
    console.error(error); // A log that fails must not end the server.
  }
}

/** Writes the records about one client. */
class ClientLog {
  /** The client's address. */
  readonly client: string;

  constructor(conn: Deno.TcpConn, readonly logger: Logger) {
    const { hostname, port } = conn.remoteAddr;
    this.client = hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
  }

  report(level: Level, event: string, text: string): void {
    const { client } = this;
    writeRecord(this.logger, level, `${client}: ${text}`, { event, client });
  }

  /** A record of the wire, to look at. `describe` is only called if the log shows it. */
  trace(describe: () => WireRecord): void {
    if (this.logger.levelName !== "DEBUG") return;
    const { client } = this;
    const { text, ...fields } = describe();
    const all = { event: "wire", client, ...fields };
    writeRecord(this.logger, "debug", `${client}: ${text}`, all);
  }
}

/** A record of the wire: a text for people, and fields for programs. */
interface WireRecord {
  readonly text: string;
  readonly [field: string]: unknown;
}

function describeRead(bytes: Bytes): WireRecord {
  if (bytes === null) {
    return { text: "recv brought the end: the client sends no more", step: "closed", by: "client" };
  }
  const text = `recv brought ${plural(bytes.length, "byte")}`;
  return { text, step: "recv", bytes: bytes.length, hex: hexOf(bytes) };
}

function describeValue(step: string, bytes: Uint8Array, value: unknown, times = 1): WireRecord {
  const shown = toJson(value) + (times > 1 ? `, ${times} times` : "");
  const text = `${step} ${plural(bytes.length, "byte")}: ${dump(bytes)}, which is ${shown}`;
  return { text, step, bytes: bytes.length, hex: hexOf(bytes), value: shown };
}

// A value as JSON. Bytes are no JSON, and most programs would round a larger integer than a number
// can hold: they become text.
function toJson(value: unknown): string {
  return JSON.stringify(value, (_key, part) => {
    if (part instanceof Uint8Array) return plural(part.length, "byte");
    const simple = typeof part === "bigint" ? simplify(part) : part;
    return typeof simple === "bigint" ? String(simple) : simple;
  });
}

// Characters that could forge a line or move the cursor: controls (Cc), separators of lines and
// paragraphs (Zl, Zp), and those that turn the direction of writing.
const UNSAFE = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;
// Characters that cannot be seen: also unassigned ones and the like (C), those that a font leaves
// out, such as a zero-width space, and all spaces (Zs) but the ordinary one.
const INVISIBLE = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]|(?! )\p{Zs}/gu;

// Puts \uXXXX in the place of these characters. Letters of all scripts stay as they are.
function escape(text: string, which: RegExp): string {
  return text.replace(which, (found) => {
    const units = Array.from({ length: found.length }, (_, i) => found.charCodeAt(i));
    return units.map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`).join("");
  });
}

// Text in quotes, in Python's style. Everything in it can be seen.
function quote(text: string): string {
  const mark = text.includes("'") ? '"' : "'";
  return mark + escape(text, INVISIBLE) + mark;
}

const textEncoder = new TextEncoder();
const LINE_END = "\n".charCodeAt(0);
/** The longest line of a request, in bytes: so much a pipe of Linux takes whole or not at all. */
const MAX_LINE_BYTES = 4096;

/**
 * Writes whole lines to standard output or standard error. The whole program waits until that is
 * done, and hears no signal: no request may be acknowledged whose line is not printed.
 */
class LineWriter {
  #isTorn = false; // The last write has failed, maybe in the middle of a line.

  constructor(readonly output: { writeSync(bytes: Uint8Array): number }) {}

  /** Writes lines. A torn line before them is ended, or the next one would be lost with it. */
  write(lines: string): void {
    const bytes = textEncoder.encode(`${this.#isTorn ? "\n" : ""}${lines}\n`);
    this.#isTorn = true;
    let start = 0;
    while (start < bytes.length) {
      // A piece is as many whole lines as fit into MAX_LINE_BYTES, but one line at the least.
      const end = bytes.lastIndexOf(LINE_END, start + MAX_LINE_BYTES - 1);
      const pieceEnd = end < start ? bytes.indexOf(LINE_END, start) : end;
      try {
        start += this.output.writeSync(bytes.subarray(start, pieceEnd + 1));
      } catch (error) {
        // A pipe is full. As a rule a write waits; but some programs leave a pipe in a mode where it
        // fails, and takes nothing of such a piece.
        if (!(error instanceof Deno.errors.WouldBlock)) throw error;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1); // Sleeps for 1 ms.
      }
    }
    this.#isTorn = false;
  }
}

const standardOutput = new LineWriter(Deno.stdout);
const standardError = new LineWriter(Deno.stderr);

// The line of a request, as the lab has it.
function lineOf({ student_name, github_username, sid }: Student): string {
  const texts = `Student: ${student_name}, Github Username: ${github_username}, sid: ${sid}`;
  return escape(`Connected: ${texts}`, UNSAFE);
}

// What prints the lab's lines on standard output: two options of `serve`.
function createPrinter(format: LogFormat) {
  const isText = format === "text";
  return {
    onListen: ({ hostname: address, port }: Deno.NetAddr) => {
      const fields = { event: "listening", address, port, version: project.version };
      standardOutput.write(
        isText ? `Listening at ${address}/${port}` : toJsonLine("INFO", fields),
      );
    },
    onRequests: (students: Student[], client: string) => {
      const toLine = (student: Student) =>
        isText ? lineOf(student) : toJsonLine("INFO", { event: "request", client, ...student });
      standardOutput.write(students.map(toLine).join("\n"));
    },
  };
}

function toJsonLine(level: string, fields: object): string {
  return escape(toJson({ time: new Date(), level, ...fields }), UNSAFE);
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

/**
 * A logger that writes to standard error what is of this level or above, a line for each record.
 *
 * ```ts
 * serve({ logger: createLogger("DEBUG", "json") });
 * ```
 */
export function createLogger(level: LevelName = "INFO", format: LogFormat = "text"): Logger {
  const formatter = ({ levelName, msg, args }: LogRecord) =>
    format === "text"
      ? `${levelName} ${msg}`
      : toJsonLine(levelName, { ...Object(args[0]), message: msg });
  return new Logger("lab", level, { handlers: [new StderrHandler(level, { formatter })] });
}

// ------------------------------------------------------------------------ the command line --

/** An option of the command line. */
interface Option {
  readonly name: string;
  /** What counts if the option is not given. Without it, the option has to be given. */
  readonly preset?: string | number;
  /** What it takes, in words. */
  readonly takes: string;
  /** Whether what was typed is that. */
  readonly isRight: (typed: string) => boolean;
  readonly help: string;
}

// What several options take.

const TEXT = { takes: "text", isRight: () => true };

// An IPv6 address has two colons or more. One colon is in front of a port.
const HOST = {
  takes: "an address alone, such as 127.0.0.1 or ::1 (the port goes to --port)",
  isRight: (typed: string) => !/^[^:]*:[^:]*$|[\s/[\]]/.test(typed) && typed.search(INVISIBLE) < 0,
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

/** What was typed for each option, or its preset: text, by the name of the option. */
type Typed = Record<string, string>;

/** What the command line can run. */
interface Program {
  readonly usage: string;
  readonly options: Option[];
  readonly run: (typed: Typed) => Promise<void>;
  /** What an error of the system means to the person at the terminal, by the error's code. */
  readonly errors: Record<string, (where: string, port: number) => string>;
}

// deno-fmt-ignore
const SERVER: Program = {
  usage: `Lab 3: an iterative TCP server, one client after the other; and its client.
Usage: main.ts [options]
       main.ts client --student-name "Alice Brown" --github-username abrown --sid 123456789
       main.ts client --help

Options of the server and their defaults (timeouts in seconds, 0: no limit):`,
  options: [
    { name: "host", preset: DEFAULTS.hostname, ...HOST, help: "address; with 0.0.0.0 other machines can connect, too" },
    { name: "port", preset: DEFAULTS.port, ...integer(0, 65535), help: "TCP port, 0 for any free one" },
    { name: "backlog", preset: DEFAULTS.backlog, ...integer(1, 65535), help: "clients that wait in the kernel's queue" },
    { name: "request-timeout", preset: DEFAULTS.requestTimeout / 1000, ...SECONDS, help: "for a whole request" },
    { name: "keep-alive-timeout", preset: DEFAULTS.keepAliveTimeout / 1000, ...SECONDS, help: "for silence after an answer" },
    { name: "turn-timeout", preset: DEFAULTS.turnTimeout / 1000, ...SECONDS, help: "for the visit of one client" },
    { name: "max-message-bytes", preset: DEFAULTS.maxMessageBytes, ...integer(64, 2 ** 20), help: "the longest request" },
    { name: "log-level", preset: "INFO", ...oneOf("DEBUG", "INFO", "WARN", "ERROR"), help: "DEBUG shows the wire" },
    { name: "log-format", preset: "text", ...oneOf("text", "json"), help: "text, or json: one object per line" },
  ],
  run: runServer,
  errors: {
    EADDRINUSE: (where) => `The port of ${where} is in use: end the other server, or choose with --port`,
    EADDRNOTAVAIL: (where) => `${where} is not this machine's address: --host 127.0.0.1, or 0.0.0.0 for all it has`,
    EACCES: (where, port) => port < 1024
      ? `The port of ${where} needs an administrator: choose one over 1023 with --port`
      : `The system keeps the port of ${where} for itself: choose another with --port`,
  },
};

const serverHasClosed = (where: string) => `The server at ${where} has closed: ${WHY_CLOSED}`;

// deno-fmt-ignore
const CLIENT: Program = {
  usage: `The client of lab 3: sends a student to the server, and waits for its answer.
Usage: main.ts client --student-name "Alice Brown" --github-username abrown --sid 123456789

Options of the client and their defaults:`,
  options: [
    { name: "student-name", ...TEXT, help: "needed, in quotes if it has spaces" },
    { name: "github-username", ...TEXT, help: "needed" },
    { name: "sid", ...TEXT, help: "needed, the student id" },
    { name: "host", preset: DEFAULTS.hostname, ...HOST, help: "the server's address" },
    { name: "port", preset: DEFAULTS.port, ...integer(1, 65535), help: "the server's TCP port" },
  ],
  run: runClient,
  errors: {
    ECONNREFUSED: (where) => `No server at ${where}: start it first, or say with --host and --port where it is`,
    ECONNRESET: serverHasClosed,
    ECONNABORTED: serverHasClosed, // as Windows says it
    EPIPE: serverHasClosed,
  },
};

function helpOf({ usage, options }: Program): string {
  const lines = options.map(({ name, preset, help }) =>
    `  ${`--${name} ${preset ?? "TEXT"}`.padEnd(26)} ${help}`
  );
  return `${usage}\n${lines.join("\n")}\n  --help, --version`;
}

function usageFault(text: string): Fault {
  return new Fault("usage", text);
}

function parseOptions(options: Option[], args: string[]): Typed {
  const names = options.map(({ name }) => name);
  const given = parseArgs(args, {
    string: names,
    unknown: (arg) => {
      if (arg === "") return; // As in `--port ""`: checkOption sees that the value is missing.
      throw usageFault(describeUnknown(arg, args[args.indexOf(arg) - 1] ?? "", names));
    },
  });
  const typed: Typed = {};
  for (const option of options) {
    typed[option.name] = String(given[option.name] ?? option.preset ?? "");
    checkOption(option, typed[option.name]);
  }
  // A system may take localhost for ::1, which the lab's clients do not try.
  if (typed.host === "localhost") typed.host = "127.0.0.1";
  return typed;
}

function checkOption({ name, takes, isRight }: Option, typed: string): void {
  if (typed.trim() === "") throw usageFault(`--${name} needs a value, as --help shows`);
  if (!isRight(typed)) throw usageFault(`--${name} takes ${takes}, not ${quote(typed)}`);
}

/** Dashes and quotes of printed texts, which text programs put in the place of - and " and '. */
const TYPOGRAPHIC = /[\u2010-\u2015\u2212\u201c-\u201e\u00ab\u00bb]|^\u2018|\u2019$/;

function describeUnknown(arg: string, before: string, names: string[]): string {
  const shown = escape(arg, INVISIBLE);
  if (TYPOGRAPHIC.test(arg)) return `${shown} has a dash or quotes of a text program: type - and "`;
  if (!arg.startsWith("-")) return `Unexpected ${shown}: client comes first, spaces need quotes`;
  if (names.includes(before.slice("--".length))) {
    return `Write a value that begins with - as in ${before}=${shown}`;
  }
  return `Unknown option ${shown}: there are --${names.join(", --")}, --help, --version`;
}

/** The signals that stop the server. Windows has SIGBREAK (Ctrl-Break) in the place of SIGTERM. */
const TERMINATION: Deno.Signal = Deno.build.os === "windows" ? "SIGBREAK" : "SIGTERM";
const STOP_SIGNALS: Deno.Signal[] = ["SIGINT", TERMINATION, "SIGHUP"];
/** A terminal and a task runner both send a ^C on. Within this time it is the same one, in ms. */
const SAME_SIGNAL_MS = 100;

// The first signal stops the server. A further one ends the program at once.
function stopAtSignals(stop: AbortController): void {
  let firstAt: number | undefined;
  const onSignal = () => {
    firstAt ??= performance.now();
    if (performance.now() - firstAt >= SAME_SIGNAL_MS) Deno.exit(1);
    stop.abort();
  };
  for (const signal of STOP_SIGNALS) Deno.addSignalListener(signal, onSignal);
}

async function runServer(typed: Typed): Promise<void> {
  const format = typed["log-format"] as LogFormat;
  const printer = createPrinter(format);
  const stop = new AbortController();
  const server = serve({
    hostname: typed.host,
    port: Number(typed.port),
    backlog: Number(typed.backlog),
    requestTimeout: Number(typed["request-timeout"]) * 1000,
    keepAliveTimeout: Number(typed["keep-alive-timeout"]) * 1000,
    turnTimeout: Number(typed["turn-timeout"]) * 1000,
    maxMessageBytes: Number(typed["max-message-bytes"]),
    logger: createLogger(typed["log-level"] as LevelName, format),
    signal: stop.signal,
    onListen: (addr) => {
      stopAtSignals(stop); // Not before: Deno may ask whether we may listen, and ^C must end that.
      printer.onListen(addr);
    },
    onRequests: printer.onRequests,
  });
  const { clients, requests } = await server.finished;
  const text = `Served ${plural(clients, "client")} and ${plural(requests, "request")}`;
  createLogger("INFO", format).info(text, { event: "stopped" }); // whatever --log-level is
}

async function runClient(typed: Typed): Promise<void> {
  const hostname = typed.host;
  const port = Number(typed.port);
  const student = {
    student_name: typed["student-name"],
    github_username: typed["github-username"],
    sid: parseStudentId(typed.sid),
  };
  await submit(student, {
    hostname,
    port,
    onWaiting: (hint) => console.error(hint),
    onGreeting: (clientid) =>
      console.log(`{'clientid': ${clientid}} has successfully connected to ${hostname}/${port}`),
  });
  console.log("Data acknowledged by server and you passed the test");
}

// Digits are an integer, also behind a minus; but not with a zero in front, and not if they are so
// many that 64 bits may not do.
function parseStudentId(typed: string): bigint | string {
  return /^(0|-?[1-9]\d{0,17})$/.test(typed) ? BigInt(typed) : typed;
}

// How the system says that nobody has this name. Windows says it in the words of each language,
// with the same numbers.
const NO_SUCH_NAME = /^failed to lookup address|\(os error 1100[1-4]\)$/;

// Returns the exit status: 0, or 1 for a failure, or 2 for a wrong command line.
async function execute(program: Program, args: string[]): Promise<number> {
  let typed: Typed | undefined;
  try {
    typed = parseOptions(program.options, args);
    await program.run(typed);
    return 0;
  } catch (error) {
    console.error(escape(explain(error as Error, program, typed), UNSAFE));
    return error instanceof Fault && error.event === "usage" ? 2 : 1;
  }
}

// One line for the person at the terminal: what to do.
function explain(error: Error, { errors }: Program, typed?: Typed): string {
  if (error instanceof Fault || typed === undefined) return error.message;
  const where = `${typed.host}/${typed.port}`;
  if (NO_SUCH_NAME.test(error.message)) {
    return `There is no machine of the name in ${where}: see --host`;
  }
  const explanation = errors[codeOf(error)];
  return explanation ? explanation(where, Number(typed.port)) : `${where}: ${error.message}`;
}

async function main(typed: string[]): Promise<number> {
  const args = typed.filter((arg) => arg !== "--"); // `deno task` and npm may hand theirs on.
  const isClient = args[0] === "client";
  const program = isClient ? CLIENT : SERVER;
  if (args.includes("--version") || args.includes("--help")) {
    console.log(args.includes("--help") ? helpOf(program) : project.version);
    return 0;
  }
  return await execute(program, isClient ? args.slice(1) : args);
}

if (import.meta.main) Deno.exit(await main(Deno.args));
