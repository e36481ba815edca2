/**
 * Lab 3: an iterative TCP server, and the client that belongs to it.
 *
 * The server takes one client after the other. For each one it does four steps:
 *
 * 1. It greets the client with an id.
 * 2. It receives a request: the student's name, GitHub user name and student id.
 * 3. It prints them, and acknowledges them to the client.
 * 4. The same client may send more requests. When it closes, the next client is served.
 *
 * Whatever a client does, the server goes on. Each message is a MessagePack value
 * (https://github.com/msgpack/msgpack/blob/master/spec.md). The README shows how to run it.
 *
 * What stands where, in this order:
 *
 * - The lab: `serve` listens, `AcceptLoop` accepts one client after the other, and `Session` is the
 *   visit of one client, from accept to close. That is all that the lab asks for.
 * - How a visit can end: the limits on a client, and what each end means.
 * - The framing: `Framer` finds the messages in a stream of bytes.
 * - One request: how a message is read, and what is said about a wrong one.
 * - The client: `submit`.
 * - What is printed. How a full output is written to is the hardest part of this file, and it has
 *   nothing to do with the lab.
 * - The command line.
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import { BaseHandler, type LevelName } from "@std/log/base-handler";
import { Logger, type LogRecord } from "@std/log/logger";
import { decode, encode } from "@std/msgpack";
import project from "./deno.json" with { type: "json" };

export type { LevelName, Logger };

/** The settings of a server. The timeouts are in ms, and 0 is no limit. */
export interface Settings {
  /** The address to listen at. */
  hostname: string;
  /** The TCP port; 0 is any free one. */
  port: number;
  /** How many clients can wait in the kernel's queue until they are accepted. */
  backlog: number;
  /** How long a whole request may take, in ms; and how long a client may leave answers unread. */
  requestTimeout: number;
  /**
   * How long a client may be silent after an answer, in ms. It is short, since many clients never
   * close: they wait for more data.
   */
  keepAliveTimeout: number;
  /** How long the whole visit of one client may take, in ms. */
  turnTimeout: number;
  /** The longest request, in bytes. */
  maxMessageBytes: number;
}

/** The settings that count where nothing else is said. */
export const DEFAULTS: Settings = {
  hostname: "127.0.0.1",
  port: 12000,
  backlog: 128, // A class has thirty students. Who finds the queue full may wait for ever.
  requestTimeout: 10_000,
  keepAliveTimeout: 2_000,
  turnTimeout: 60_000,
  maxMessageBytes: 4096, // A request of the lab takes about 80 bytes.
};

/** The lab's answer to a request. */
const ACKNOWLEDGEMENT = 1;
/** The most bytes that one read brings. */
const READ_BYTES = 65536;
/** How often the clock ticks, in ms. All limits of time are counted in ticks. */
const TICK_MS = 50;
/** How long the first answer waits if the client has sent before it was greeted, in ms. */
const EARLY_MS = 20;
/** How long the server waits for the client to close, after it has sent an error, in ms. */
const LINGER_MS = 1000;
/** How long the current client may go on when the server is told to stop, in ms. */
const GRACE_MS = 5000;
/** The first pause after a failed accept, in ms. Each further one is twice as long. */
const FIRST_PAUSE_MS = 5;
/** The longest pause after a failed accept, in ms. */
const LONGEST_PAUSE_MS = 1000;

// ---------------------------------------------------------------------- listen and accept --

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
export interface ServeOptions extends Partial<Settings> {
  /** Stops the server when its `AbortController` aborts; the current client may finish. */
  signal?: AbortSignal;
  /** Called once the server listens. Prints the lab's line if it is left out. */
  onListen?: (address: Deno.NetAddr) => void;
  /**
   * Called with the requests that one read has brought, and with the client's address. They are
   * acknowledged when it returns, and not if it throws. It is not awaited, so it must not be async.
   * Prints the lab's lines if it is left out.
   */
  onRequests?: (students: Student[], client: string) => void;
  /** Where problems are reported. Standard error if it is left out. */
  logger?: Logger;
}

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
  const { signal, logger = createLogger() } = options;
  const settings = { ...DEFAULTS, ...textPrinters(), ...withoutUndefined(options) };
  const { hostname, port, backlog: tcpBacklog } = settings;
  const listener = Deno.listen({ hostname, port, tcpBacklog });
  const addr = listener.addr as Deno.NetAddr;
  settings.onListen(addr);
  const loop = new AcceptLoop(listener, {
    settings,
    log: (level, text, fields) => logSafely(logger, level, text, fields),
    isTraced: logger.levelName === "DEBUG",
    buffer: createBuffer(settings.maxMessageBytes),
  });
  const finished = loop.run();
  if (signal?.aborted) loop.stop();
  signal?.addEventListener("abort", () => loop.stop());
  return { addr, finished };
}

// An option that is `undefined` counts as left out: it must not take the place of a default.
function withoutUndefined(options: ServeOptions): object {
  return Object.fromEntries(Object.entries(options).filter(([_, value]) => value !== undefined));
}

/** What all clients of a server share. */
interface Context {
  readonly settings: Settings & Printers;
  /** Writes a record. Characters that could do harm are escaped, and it never throws. */
  readonly log: (level: Level, text: string, fields: LogFields) => void;
  /** Whether the log shows every message and every read: at level DEBUG. */
  readonly isTraced: boolean;
  /** Where received bytes are kept. There is one client at a time, so one buffer serves all. */
  readonly buffer: Uint8Array<ArrayBuffer>;
}

/** The names of the methods of a logger. */
type Level = "debug" | "info" | "warn" | "error";

/** What a record has beside its level and its text. */
interface LogFields {
  readonly event: string;
  readonly [field: string]: unknown;
}

// A log that fails must not end the server. DEBUG records cost nothing where they are not shown.
function logSafely(logger: Logger, level: Level, text: string, fields: LogFields): void {
  if (level === "debug" && logger.levelName !== "DEBUG") return;
  try {
    logger[level](escapeUnsafe(text), fields);
  } catch (error) {
    console.error(error);
  }
}

/** Accepts one client after the other, until it is told to stop. */
class AcceptLoop {
  readonly #served: Served = { clients: 0, requests: 0 };
  #session: Session | undefined; // of the client that is being served
  #pauseMs = FIRST_PAUSE_MS;
  #isStopping = false;

  // `readonly` before a parameter makes it a field of the object.
  constructor(readonly listener: Deno.TcpListener, readonly context: Context) {}

  // Each turn of `for await` over a listener is one accept. That loop can end in three ways:
  // - stop() closes the listener. The loop ends without an error.
  // - An accept fails. The loop throws, but the listener is still open: we begin the loop again.
  // - Its body throws. Then JavaScript closes the listener. So the body must never throw.
  async run(): Promise<Served> {
    const clock = setInterval(() => this.#session?.tick(), TICK_MS);
    while (!this.#isStopping) {
      try {
        for await (const conn of this.listener) await this.#serveClient(conn);
      } catch (error) {
        await this.#recover(error as Error);
      }
    }
    clearInterval(clock);
    return this.#served;
  }

  /** Ends the loop: no more accepts. The client that is being served gets some time to finish. */
  stop(): void {
    this.#isStopping = true;
    this.listener.close();
    this.#session?.stop();
  }

  // Serves one client from accept to close. Only then the next one is accepted: until its turn it
  // waits in the kernel's queue.
  async #serveClient(conn: Deno.TcpConn): Promise<void> {
    this.#pauseMs = FIRST_PAUSE_MS;
    this.#session = new Session(conn, this.context);
    if (this.#isStopping) this.#session.stop(); // stop() came after the accept, and before us.
    await this.#session.run();
    if (this.#session.requests > 0) this.#served.clients++;
    this.#served.requests += this.#session.requests;
    this.#session = undefined;
  }

  async #recover(error: Error): Promise<void> {
    const { log } = this.context;
    if (isAboutOneClient(error)) {
      log("debug", `A client was gone before its turn: ${error.message}`, { event: "gone" });
      return;
    }
    // The system lacks something, such as open files. It may have it again after a while.
    const text = `No accept, next try in ${this.#pauseMs} ms: ${error.message}`;
    log("error", text, { event: "accept" });
    await delay(this.#pauseMs);
    this.#pauseMs = Math.min(this.#pauseMs * 2, LONGEST_PAUSE_MS);
  }
}

// Whether an accept has failed because this client is gone, while the listener is all right. EINVAL
// is what macOS says then.
function isAboutOneClient(error: Error): boolean {
  return ["ENOTCONN", "ECONNABORTED", "ECONNRESET", "EINVAL"].includes(codeOf(error));
}

// The system's code of an error, such as ECONNRESET. Errors of the program have none.
function codeOf(error: Error): string {
  const { code = "" } = error as { code?: string };
  return code;
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

// ------------------------------------------------------------------ the visit of one client --

/**
 * The visit of one client, from accept to close. `run` makes the steps of the lab. While it waits
 * for a read or a write, `tick` looks after the limits, and can end the visit by `#hangUp`:
 *
 * - A client that is told nothing: the connection is closed, so the read or write of `run` fails.
 * - A client that is told an error: the two directions of a connection end independently. The
 *   server sends the error and ends its own direction, so that the client finds the end behind the
 *   error. The client may still send. So `run` reads on, and lingers: it drops what the client
 *   sends, until the client closes, or until `tick` closes after LINGER_MS. `#hangUp` says why.
 *
 * The types `Wait` and `Limit`, the limits, and the table `ENDINGS` stand below the class.
 */
class Session {
  /** Requests that were printed. */
  requests = 0;
  readonly #address: string; // of the client, for the log
  readonly #framer: Framer;
  #clientHasSent = false; // anything at all
  #ticks = 0; // of the clock, since the accept
  readonly #turn: Wait = { limit: TURN_LIMIT, since: 0 };
  #wait: Wait = { limit: REQUEST_LIMIT, since: 0 }; // what the server waits for now
  #stoppedAt: number | undefined; // the tick at which the server was told to stop
  #hungUpAt: number | undefined; // the tick at which the server ended the visit
  #isLingering = false; // The visit is over, but the connection stays open for a while.

  constructor(readonly conn: Deno.TcpConn, readonly context: Context) {
    const { hostname, port } = conn.remoteAddr;
    this.#address = hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
    this.#framer = new Framer(context.settings.maxMessageBytes, context.buffer);
  }

  async run(): Promise<void> {
    try {
      this.#trace("accepted", () => ({ text: "accepted" })); // The log shows it at level DEBUG.
      const firstRead = this.#framer.read(this.conn); // It begins before the greeting: see #greet.
      await this.#greet(firstRead);
      await this.#receive(firstRead);
      if (this.#isLingering) await this.#linger();
    } catch (error) {
      // A read or a write has failed. Either the client is gone; or `tick` has ended the visit and
      // closed the connection, and then this call does nothing: only the first reason counts.
      await this.#endBroken(error);
    } finally {
      this.#close();
      // The client's end has a record of its own: #traceEnd.
      this.#trace("closed", () => ({ text: "closed by the server", by: "server" }));
    }
  }

  // Step 1. Most clients expect one message from each recv. A client that sends its request before
  // it reads the greeting could get the greeting and the answer in one recv, and fail. To find out
  // whether it has done so, `run` has begun a read and does not wait for it. If the read has
  // brought something by the time the greeting is sent, we wait for EARLY_MS before we answer.
  async #greet(firstRead: Promise<Uint8Array | null>): Promise<void> {
    let isEarly = false;
    const note = (bytes: Uint8Array | null) => {
      isEarly = bytes !== null;
    };
    firstRead.then(note, () => {}); // If this read fails, #receive meets the error.
    this.conn.setNoDelay(); // Nagle's algorithm off: each answer leaves at once.
    await this.#send({ clientid: this.conn.remoteAddr.port });
    if (isEarly) await delay(EARLY_MS);
  }

  // Step 2, and again for each further request of this client.
  async #receive(firstRead: Promise<Uint8Array | null>): Promise<void> {
    let bytes = await firstRead;
    while (bytes !== null && await this.#answer(bytes)) {
      bytes = await this.#framer.read(this.conn);
    }
    if (bytes === null) await this.#endOfStream();
  }

  // Step 3. The framer keeps what each read brings. `bytes` is what the last read has brought. In
  // the first read of a client they may show that it is no client of the lab. All good requests
  // that have come are printed, then acknowledged; only then comes the error about a wrong one
  // behind them. Returns whether the client may go on.
  async #answer(bytes: Uint8Array): Promise<boolean> {
    this.#traceRead(bytes);
    if (this.#hungUpAt !== undefined) return false; // `tick` has ended the visit.
    if (this.#wait.limit === IDLE_LIMIT) this.#waitFor(REQUEST_LIMIT); // A new request has begun.
    const isFirstRead = !this.#clientHasSent;
    this.#clientHasSent = true;
    const { printed, fault } = this.#printRequests();
    if (printed > 0) await this.#acknowledge(printed);
    if (fault) await this.#refuse(fault, isFirstRead ? recognize(bytes) : undefined);
    return this.#hungUpAt === undefined;
  }

  // Prints the requests that have come, up to the first fault. A request whose line could not be
  // printed does not count: it is not acknowledged.
  #printRequests(): { printed: number; fault?: unknown } {
    const { students, fault } = this.#takeRequests();
    if (students.length === 0) return { printed: 0, fault };
    try {
      this.context.settings.onRequests(students, this.#address);
    } catch (error) {
      return { printed: 0, fault: error };
    }
    this.requests += students.length;
    return { printed: students.length, fault };
  }

  // Takes all whole requests out of what has come, up to the first fault.
  #takeRequests(): { students: Student[]; fault?: unknown } {
    const students: Student[] = [];
    try {
      let message = this.#framer.next();
      while (message !== undefined) {
        this.#traceReceived(message);
        students.push(parseRequest(message));
        message = this.#framer.next();
      }
    } catch (fault) {
      return { students, fault };
    }
    return { students };
  }

  // The acknowledgements of requests that came together go out together, in one write.
  async #acknowledge(count: number): Promise<void> {
    this.#waitFor(UNREAD_LIMIT);
    await this.#send(ACKNOWLEDGEMENT, count);
    const hasNextBegun = this.#framer.pending().length > 0;
    this.#waitFor(hasNextBegun ? REQUEST_LIMIT : IDLE_LIMIT);
  }

  // Sends a value so many times. The kernel may take a part of the bytes at a time.
  async #send(value: Value, times = 1): Promise<void> {
    const bytes = repeat(encode(value), times);
    this.#trace("send", () => describeValue("send", bytes, value, times));
    let sent = 0;
    while (sent < bytes.length) sent += await this.conn.write(bytes.subarray(sent));
  }

  // Step 4. The client has ended its side of the connection.
  async #endOfStream(): Promise<void> {
    this.#traceEnd();
    const rest = this.#framer.pending().length;
    if (rest > 0) {
      const text = `the client closed after ${plural(rest, "byte")} of a message`;
      await this.#hangUp("truncated", text);
    } else if (this.#clientHasSent) {
      await this.#hangUp("closed", "closed by the client");
    } else {
      await this.#hangUp("left", LEFT_TEXT);
    }
  }

  async #endBroken(error: unknown): Promise<void> {
    const text = "the client broke the connection: it crashed, or closed with something unread";
    if (this.#clientHasSent) await this.#hangUp("reset", `${text} (${error})`);
    else await this.#hangUp("left", LEFT_TEXT);
  }

  // Ends the visit because of a wrong request, or because the server itself has failed. `stranger`
  // says what the bytes look like, if they are not of the lab. Somebody's own `onRequests` may
  // throw a Fault, too: if its event is not in the table, it is a fault of the server.
  async #refuse(fault: unknown, stranger: string | undefined): Promise<void> {
    if (!(fault instanceof Fault && Object.hasOwn(ENDINGS, fault.event))) {
      await this.#hangUp("bug", `a fault of the server: ${inspectLine(fault)}`);
    } else if (stranger !== undefined) {
      await this.#hangUp("stranger", stranger);
    } else {
      await this.#hangUp(fault.event, fault.message);
    }
  }

  /** Called at each tick of the clock. All limits of time are enforced here. */
  async tick(): Promise<void> {
    this.#ticks++;
    if (this.#hungUpAt !== undefined) {
      if (this.#isOver(this.#hungUpAt, LINGER_MS)) this.#close();
      return;
    }
    if (this.#stoppedAt !== undefined) await this.#endBecauseOfStop(this.#stoppedAt);
    for (const { limit, since } of [this.#wait, this.#turn]) {
      const ms = this.context.settings[limit.setting];
      if (ms === 0 || !this.#isOver(since, ms)) continue;
      const came = plural(this.#framer.pending().length, "byte");
      await this.#hangUp(limit.event, limit.sentence(ms / 1000, came));
    }
  }

  /** The server is told to stop: from now on the client has GRACE_MS to finish. */
  stop(): void {
    if (this.#hungUpAt !== undefined) return; // Its visit is over already.
    this.#stoppedAt = this.#ticks;
    this.#report("info", "stopping", `the server stops, up to ${GRACE_MS / 1000} s to finish`);
  }

  // Whether `ms` have passed since the tick with the number `since`. Ticks are counted, and not the
  // time of day: while the whole process is paused (by ^Z, or in a laptop that sleeps) there are
  // none, and the client is not to blame. Two ticks are added: one because the first tick can come
  // right after `since`, and is no whole TICK_MS then; and one so that `run` can still read what
  // came in time.
  #isOver(since: number, ms: number): boolean {
    return (this.#ticks - since - 2) * TICK_MS >= ms;
  }

  // The other limits count on after the stop. A client that has its answer and is silent has
  // nothing to finish: it is closed at once. At once means 0 ms in #isOver, which is two ticks,
  // after the stop or after the answer, whichever is later; so a request that has come already is
  // still read.
  async #endBecauseOfStop(stoppedAt: number): Promise<void> {
    const isIdle = this.#wait.limit === IDLE_LIMIT;
    const silentSince = Math.max(stoppedAt, this.#wait.since);
    if (isIdle && this.#isOver(silentSince, 0)) await this.#hangUp("closed", "the server stops");
    if (this.#isOver(stoppedAt, GRACE_MS)) await this.#hangUp("stopping", "the server stops");
  }

  #waitFor(limit: Limit): void {
    this.#wait = { limit, since: this.#ticks };
  }

  // Ends the visit: every reason for an end comes through here, and only the first one counts. If
  // we closed the connection while bytes are unread, the kernel would send a reset, and the client
  // could lose the error that we have sent. Therefore a client that is told something is not closed
  // yet: we end only our side of the connection, and linger.
  //
  // When `tick` calls this, `run` may be sending acknowledgements. The error goes out behind those
  // that the kernel has taken; each is one byte, so none is cut. The write of the others fails.
  async #hangUp(event: string, text: string): Promise<void> {
    if (this.#hungUpAt !== undefined) return;
    this.#hungUpAt = this.#ticks;
    const { level, isTold } = ENDINGS[event];
    this.#report(level, event, text);
    if (!isTold) {
      this.#close();
      return;
    }
    this.#isLingering = true;
    const error = event === "bug" ? BUG_TEXT : text;
    await this.#send({ error }).catch(() => {}); // The client may be gone.
    await this.conn.closeWrite().catch(() => {});
  }

  // Reads and drops what the client still sends, until it closes, or until `tick` closes after
  // LINGER_MS.
  async #linger(): Promise<void> {
    const { buffer } = this.context;
    let count = await this.conn.read(buffer);
    while (count !== null) {
      this.#traceRead(buffer.subarray(0, count));
      count = await this.conn.read(buffer);
    }
    this.#traceEnd();
  }

  #close(): void {
    this.conn[Symbol.dispose](); // As close(), but it may be called twice.
  }

  #report(level: Level, event: string, text: string): void {
    const client = this.#address;
    this.context.log(level, `${client}: ${text}`, { event, client });
  }

  // A record of the wire, for a class to look at. `describe` is called only if the log shows it.
  #trace(step: string, describe: () => WireRecord): void {
    if (!this.context.isTraced) return;
    const client = this.#address;
    const { text, ...fields } = describe();
    this.context.log("debug", `${client}: ${text}`, { event: "wire", client, step, ...fields });
  }

  #traceRead(bytes: Uint8Array): void {
    this.#trace("recv", () => {
      const text = `recv brought ${plural(bytes.length, "byte")}`;
      return { text, bytes: bytes.length, hex: hexOf(bytes) };
    });
  }

  #traceEnd(): void {
    const text = "recv brought the end: the client sends no more";
    this.#trace("closed", () => ({ text, by: "client" }));
  }

  // `decode` cannot fail here: the framer has let through only what it takes.
  #traceReceived(message: Uint8Array): void {
    this.#trace("received", () => describeValue("received", message, decode(message)));
  }
}

/** What a record of the wire says: in words, and in fields for programs. */
interface WireRecord {
  readonly text: string;
  /** How many bytes. */
  readonly bytes?: number;
  /** The first 16 of them. */
  readonly hex?: string;
  /** The value that they mean. */
  readonly value?: string;
  /** Who closed: client or server. */
  readonly by?: string;
}

function describeValue(step: string, bytes: Uint8Array, value: unknown, times = 1): WireRecord {
  const shown = inspectLine(value) + (times > 1 ? `, ${times} times` : "");
  const text = `${step} ${plural(bytes.length, "byte")}: ${dump(bytes)}, which is ${shown}`;
  return { text, bytes: bytes.length, hex: hexOf(bytes), value: shown };
}

function repeat(bytes: Uint8Array, times: number): Uint8Array {
  if (times === 1) return bytes;
  const all = new Uint8Array(bytes.length * times);
  for (let i = 0; i < times; i++) all.set(bytes, i * bytes.length);
  return all;
}

// ------------------------------------------------------------------- how a visit can end --

/** What the end of a visit means for the log and for the client. */
interface Ending {
  /** The level of the record. */
  readonly level: Level;
  /** Whether the client is sent `{"error": ...}` before the server closes. */
  readonly isTold: boolean;
}

/** All ends of a visit, by the `event` of their record. */
const ENDINGS: Record<string, Ending> = {
  // The ordinary ones: the client has done nothing wrong.
  closed: { level: "debug", isTold: false },
  left: { level: "info", isTold: false },
  idle: { level: "info", isTold: false },
  // The client is gone, or it does not read.
  reset: { level: "warn", isTold: false },
  stalled: { level: "warn", isTold: false },
  // Something is wrong with what the client sent, or it was too slow.
  refused: { level: "warn", isTold: true },
  "not-a-map": { level: "warn", isTold: true },
  malformed: { level: "warn", isTold: true },
  "too-long": { level: "warn", isTold: true },
  stranger: { level: "warn", isTold: true },
  truncated: { level: "warn", isTold: true },
  timeout: { level: "warn", isTold: true },
  turn: { level: "warn", isTold: true },
  // The server stops, or it has failed.
  stopping: { level: "warn", isTold: true },
  bug: { level: "error", isTold: true },
};

const LEFT_TEXT = "left without sending. If its terminal shows `unpickling stack underflow`, " +
  "it uses Python's pickle: put the lab's pickle.py beside it";
const BUG_TEXT = "the server has failed, not you";

/** A limit on a client. */
interface Limit {
  /** The event of the record when it is over. */
  readonly event: string;
  /** The setting that says how long it is. */
  readonly setting: "requestTimeout" | "keepAliveTimeout" | "turnTimeout";
  /** What is said when it is over. `came` is how much of a request is there. */
  readonly sentence: (seconds: number, came: string) => string;
}

const REQUEST_LIMIT: Limit = {
  event: "timeout",
  setting: "requestTimeout",
  sentence: (seconds, came) =>
    `no whole request within ${seconds} s, ${came} came (server: --request-timeout)`,
};
const IDLE_LIMIT: Limit = {
  event: "idle",
  setting: "keepAliveTimeout",
  sentence: (seconds) => `silent for ${seconds} s after its answer: the next client's turn`,
};
const UNREAD_LIMIT: Limit = {
  event: "stalled",
  setting: "requestTimeout",
  sentence: (seconds) => `its answers were left unread for ${seconds} s`,
};
const TURN_LIMIT: Limit = {
  event: "turn",
  setting: "turnTimeout",
  sentence: (seconds) => `its turn of ${seconds} s is over`,
};

/** A limit that counts now, and since which tick. */
interface Wait {
  readonly limit: Limit;
  readonly since: number;
}

/** What went wrong with a message: an event for programs, a message for people. */
export class Fault extends Error {
  /** A fault. The log gets both; the client, as a rule, gets `{"error": message}`. */
  constructor(readonly event: string, message: string) {
    super(message.slice(0, MAX_FAULT_LENGTH));
  }
}

/** The text of a fault may quote what a client sent, which can be long. It is cut here. */
const MAX_FAULT_LENGTH = 400;

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
  async read(conn: Readable): Promise<Uint8Array | null> {
    this.#buffer.copyWithin(0, this.#start, this.#end); // What is left moves to the front.
    this.#end -= this.#start;
    this.#start = 0;
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
   * @throws {Fault} When it is too long or nested too deep, when it is not MessagePack, and when it
   * has an extension type or a key that is no text.
   */
  next(): Uint8Array<ArrayBuffer> | undefined {
    const end = findEnd(this.#buffer, this.#start, this.#end, this.maxMessageBytes);
    if (end > this.#end) return undefined;
    const message = this.#buffer.subarray(this.#start, end);
    this.#start = end;
    return message;
  }
}

/** What a {@linkcode Framer} reads from, such as a `Deno.TcpConn`. */
export interface Readable {
  /** Puts bytes into the space; returns how many, or `null` at the end of the stream. */
  read(space: Uint8Array): Promise<number | null>;
}

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
//
// Throws as soon as the headers say that the value is longer than `maxBytes`, and if it has what no
// message of the lab has.
function findEnd(bytes: Uint8Array, start: number, arrivedEnd: number, maxBytes: number): number {
  const nesting = new Nesting();
  let at = start;
  let missing = 1; // Values that have not begun. Each takes one byte at the least.
  while (missing > 0 && at < arrivedEnd) {
    const kind = kindOf(bytes, at);
    checkKind(kind, nesting.expectsKey());
    missing--;
    const isHeaderWhole = headerEnd(bytes, at) <= arrivedEnd;
    const values = isHeaderWhole ? countValues(bytes, at) : 0;
    missing += values;
    at = isHeaderWhole ? dataEnd(bytes, at) : headerEnd(bytes, at);
    if (at + missing > start + maxBytes) {
      throw new Fault("too-long", `over the limit of ${maxBytes} bytes (or no msgpack)`);
    }
    nesting.count(kind === DICT, values);
  }
  return at + missing;
}

/** How deep lists and dicts may be nested: `decode` calls itself for each level. */
const MAX_DEPTH = 64;

/** A list or dict of which some values are still to come. */
interface OpenValue {
  readonly isDict: boolean;
  /** How many values are still to come in it. */
  left: number;
  /** How many lists and dicts are open, this one included. */
  readonly depth: number;
  /** The list or dict that this one is in. */
  readonly outer: OpenValue | undefined;
}

/**
 * The lists and dicts that are open while we go over a message. They say how deep we are, and
 * whether the next value is a key.
 */
class Nesting {
  #innermost: OpenValue | undefined;

  /** Whether the next value is a key. A dict has two values for each pair: first the key. */
  expectsKey(): boolean {
    const open = this.#innermost;
    return open !== undefined && open.isDict && open.left % 2 === 0;
  }

  /** Counts a value. If it is a list or dict, `values` of its own follow. */
  count(isDict: boolean, values: number): void {
    const outer = this.#innermost;
    if (outer) outer.left--;
    if (values > 0) {
      const depth = (outer?.depth ?? 0) + 1;
      if (depth > MAX_DEPTH) throw new Fault("malformed", `nested over ${MAX_DEPTH} deep`);
      this.#innermost = { isDict, left: values, depth, outer };
    }
    while (this.#innermost?.left === 0) this.#innermost = this.#innermost.outer;
  }
}

function checkKind(kind: string, isKey: boolean): void {
  if (kind === EXTENSION || kind === UNUSED) {
    throw new Fault("malformed", `${kind}: the lab has none`);
  }
  if (isKey && kind !== STRING) {
    throw new Fault("malformed", `a key ${mustBe(STRING, kind)}`);
  }
}

// Names of kinds, in Python's words, since most clients are in Python.
const INTEGER = "an integer";
const FLOAT = "a float";
const BOOL = "a bool";
const NONE = "None";
const STRING = "a string";
const BYTES = "bytes";
const LIST = "a list";
const DICT = "a dict";
const EXTENSION = "an extension type";
const UNUSED = "the byte c1, which MessagePack never uses";

/**
 * A format of the MessagePack specification. A value begins with a header: one byte, which says the
 * format, and for some formats a length field. Data may follow. A list or dict has no data of its
 * own: its values follow the header.
 */
interface Format {
  /** The first byte; the row is for all bytes from here up to the next row. */
  readonly first: number;
  /** What it is, in words. */
  readonly kind: string;
  /** How many bytes of data always follow the header. */
  readonly dataBytes?: number;
  /** The width of the length field in bytes. Without one, a length is in the first byte. */
  readonly lengthBytes?: number;
}

const FORMATS: Format[] = [
  { first: 0x00, kind: INTEGER }, // positive fixint: the value is the byte itself
  { first: 0x80, kind: DICT }, // fixmap: 0x83 is a dict of 3 pairs
  { first: 0x90, kind: LIST }, // fixarray: 0x92 is a list of 2 values
  { first: 0xa0, kind: STRING }, // fixstr: 0xa5 is a string of 5 bytes
  { first: 0xc0, kind: NONE }, // nil
  { first: 0xc1, kind: UNUSED },
  { first: 0xc2, kind: BOOL }, // false, true
  { first: 0xc4, kind: BYTES, lengthBytes: 1 }, // bin 8
  { first: 0xc5, kind: BYTES, lengthBytes: 2 }, // bin 16
  { first: 0xc6, kind: BYTES, lengthBytes: 4 }, // bin 32
  { first: 0xc7, kind: EXTENSION }, // ext 8, 16, 32: refused, so their lengths do not matter
  { first: 0xca, kind: FLOAT, dataBytes: 4 }, // float 32
  { first: 0xcb, kind: FLOAT, dataBytes: 8 }, // float 64
  { first: 0xcc, kind: INTEGER, dataBytes: 1 }, // uint 8
  { first: 0xcd, kind: INTEGER, dataBytes: 2 }, // uint 16
  { first: 0xce, kind: INTEGER, dataBytes: 4 }, // uint 32
  { first: 0xcf, kind: INTEGER, dataBytes: 8 }, // uint 64
  { first: 0xd0, kind: INTEGER, dataBytes: 1 }, // int 8
  { first: 0xd1, kind: INTEGER, dataBytes: 2 }, // int 16
  { first: 0xd2, kind: INTEGER, dataBytes: 4 }, // int 32
  { first: 0xd3, kind: INTEGER, dataBytes: 8 }, // int 64
  { first: 0xd4, kind: EXTENSION }, // fixext 1, 2, 4, 8, 16
  { first: 0xd9, kind: STRING, lengthBytes: 1 }, // str 8
  { first: 0xda, kind: STRING, lengthBytes: 2 }, // str 16
  { first: 0xdb, kind: STRING, lengthBytes: 4 }, // str 32
  { first: 0xdc, kind: LIST, lengthBytes: 2 }, // array 16
  { first: 0xdd, kind: LIST, lengthBytes: 4 }, // array 32
  { first: 0xde, kind: DICT, lengthBytes: 2 }, // map 16
  { first: 0xdf, kind: DICT, lengthBytes: 4 }, // map 32
  { first: 0xe0, kind: INTEGER }, // negative fixint: the value is in the byte itself
];

/** The format of a value, by its first byte: FORMATS with a row for each of the 256 bytes. */
const FORMAT_OF: Required<Format>[] = [];
for (let byte = 0; byte < 256; byte++) {
  const format = FORMATS.findLast(({ first }) => first <= byte) ?? FORMATS[0];
  FORMAT_OF.push({ dataBytes: 0, lengthBytes: 0, ...format });
}

function kindOf(bytes: Uint8Array, at = 0): string {
  return FORMAT_OF[bytes[at]].kind;
}

// The index after the header of the value that begins at `at`.
function headerEnd(bytes: Uint8Array, at: number): number {
  return at + 1 + FORMAT_OF[bytes[at]].lengthBytes;
}

// The length in the header of a string, bytes, a list or a dict.
function readLength(bytes: Uint8Array, at: number): number {
  const { first, lengthBytes } = FORMAT_OF[bytes[at]];
  if (lengthBytes === 0) return bytes[at] - first;
  let length = 0;
  for (let i = 1; i <= lengthBytes; i++) length = length * 256 + bytes[at + i];
  return length;
}

// The index after the header and the data of the value that begins at `at`.
function dataEnd(bytes: Uint8Array, at: number): number {
  const { kind, dataBytes } = FORMAT_OF[bytes[at]];
  const isCounted = kind === STRING || kind === BYTES;
  return headerEnd(bytes, at) + (isCounted ? readLength(bytes, at) : dataBytes);
}

// How many values are in the list or dict that begins at `at`: a pair is two values.
function countValues(bytes: Uint8Array, at: number): number {
  const kind = kindOf(bytes, at);
  if (kind === LIST) return readLength(bytes, at);
  if (kind === DICT) return readLength(bytes, at) * 2;
  return 0;
}

// ---------------------------------------------------------------------------- one request --

/** A MessagePack value that `encode` takes. */
type Value = Parameters<typeof encode>[0];

const EXPECTED = "expected a dict with the keys student_name, github_username and sid";
const HOW_TO_PACK = "send msgpack.packb(d), where d is a dict with the three keys";
const NO_ENCODE = "leave out .encode()";

/** Data of another program that clients send by mistake. */
interface Stranger {
  /** How it begins; each character is one byte. `\cB` is the byte 02, `\cE` is 05, and so on. */
  readonly begins: RegExp;
  readonly name: string;
  readonly advice: string;
}

const USE_PICKLE_PY = "use msgpack, or put the lab's pickle.py beside the program";
// deno-fmt-ignore
const STRANGERS: Stranger[] = [
  { begins: /^\x80[\cB-\cE]/, name: "a Python pickle", advice: USE_PICKLE_PY }, // 80 04: version 4
  { begins: /^\([dl]p\d/, name: "a Python pickle", advice: USE_PICKLE_PY }, // version 0, such as (dp0
  { begins: /^[\]}]q\0/, name: "a Python pickle", advice: USE_PICKLE_PY }, // version 1, such as }q\0
  { begins: /^\s*[[{(]\s*'/, name: "the text of a Python dict", advice: `${HOW_TO_PACK}, not str() or repr()` },
  { begins: /^\s*[[{"](?!\0)/, name: "JSON text", advice: `${HOW_TO_PACK}, not json.dumps()` }, // 5b 00 is a length
  { begins: /^[A-Z]{3,7} (\/|\*|[\w.-]+:)|^HTTP\//, name: "HTTP", advice: "use a socket and msgpack.packb(d)" },
  { begins: /^\cV\cC/, name: "TLS, as of https", advice: "the lab is plain TCP" },
  { begins: /^PROXY |^\r\n\r\n\0\r\nQUIT\n/, name: "HAProxy's PROXY header", advice: "leave out its option send-proxy" },
];

function findStranger(bytes: Uint8Array): Stranger | undefined {
  const text = String.fromCharCode(...bytes.subarray(0, 64));
  return STRANGERS.find(({ begins }) => begins.test(text));
}

// Says what these bytes look like and what to do instead, if they are not of the lab.
function recognize(bytes: Uint8Array): string | undefined {
  const stranger = findStranger(bytes);
  return stranger && `this looks like ${stranger.name}: ${stranger.advice}`;
}

// Reads a whole message as a request.
function parseRequest(message: Uint8Array): Student {
  if (kindOf(message) !== DICT) throw notADict(message);
  checkTexts(message);
  const fields = decode(message) as Record<string, unknown>;
  return {
    student_name: readText(fields, "student_name"),
    github_username: readText(fields, "github_username"),
    sid: readId(fields, "sid"),
  };
}

function notADict(message: Uint8Array): Fault {
  const kind = kindOf(message);
  // In MessagePack the first byte of plain text is a number: "A" is 65. So is the first byte of a
  // length that is sent in front of the request.
  const what = kind === INTEGER ? "a number, a length or plain text" : kind;
  let advice = `${HOW_TO_PACK}, packed once and alone`;
  if (kind === INTEGER && Number(decode(message)) === ACKNOWLEDGEMENT) {
    advice = "this is the server's acknowledgement, which must not be sent back";
  } else if (kind === STRING || kind === BYTES) { // such as packb(json.dumps(d))
    advice = recognize(message.subarray(headerEnd(message, 0))) ?? advice;
  }
  return new Fault("not-a-map", `${EXPECTED}, but ${what} came: ${advice} (${dump(message)})`);
}

// Refuses a text that `decode` would change: one that is not UTF-8, or that begins with a byte
// order mark. We look at the bytes, since `decode` does not say what it changed.
function checkTexts(message: Uint8Array): void {
  let at = 0;
  while (at < message.length) {
    const start = headerEnd(message, at);
    const end = dataEnd(message, at);
    if (kindOf(message, at) === STRING && !isAscii(message, start, end)) {
      checkText(message, start, end);
    }
    at = end;
  }
}

// Nearly all texts are ASCII, which is UTF-8, too. A TextDecoder is slow for such short texts.
function isAscii(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) {
    if (bytes[i] >= 0x80) return false;
  }
  return true;
}

/** Throws where bytes are not UTF-8. `ignoreBOM` means that a byte order mark stays in the text. */
const strictDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
/** Puts U+FFFD in the place of what is not UTF-8. */
const lenientDecoder = new TextDecoder("utf-8", { ignoreBOM: true });
/** Some editors write it in front of a file. It cannot be seen. */
const BYTE_ORDER_MARK = "\ufeff";

function checkText(message: Uint8Array, start: number, end: number): void {
  const bytes = message.subarray(start, end);
  let text: string;
  try {
    text = strictDecoder.decode(bytes);
  } catch { // An old msgpack packs bytes as a string, such as those of .encode("latin-1").
    const whose = nameText(message, start);
    throw new Fault("refused", `${whose} is not UTF-8, ${NO_ENCODE}: ${dump(bytes)}`);
  }
  if (text.startsWith(BYTE_ORDER_MARK)) {
    const advice = "which cannot be seen (a file was read as utf-8, not utf-8-sig?)";
    const whose = nameText(message, start);
    throw new Fault("refused", `${whose} begins with a byte order mark, ${advice}: ${quote(text)}`);
  }
}

// What the text is that begins at this index.
function nameText(message: Uint8Array, start: number): string {
  for (const { key, valueStart, valueEnd } of pairsOf(message)) {
    if (start > valueStart && start < valueEnd) return `the value of ${quote(key)}`;
  }
  return "a key";
}

/** A pair of a dict, and where its value is in the bytes of the message. */
interface Pair {
  readonly key: string;
  readonly valueStart: number;
  readonly valueEnd: number;
}

// The pairs of a message that is a dict. `decode` gives the values; this is for words about a
// fault.
function pairsOf(message: Uint8Array): Pair[] {
  const pairs: Pair[] = [];
  let at = headerEnd(message, 0);
  while (at < message.length) {
    const valueStart = skipValue(message, at);
    const valueEnd = skipValue(message, valueStart);
    const key = lenientDecoder.decode(message.subarray(headerEnd(message, at), valueStart));
    pairs.push({ key, valueStart, valueEnd });
    at = valueEnd;
  }
  return pairs;
}

// The index after the value that begins at `at`, in a message that is whole.
function skipValue(message: Uint8Array, at: number): number {
  return findEnd(message, at, message.length, message.length);
}

// The value of a key. `decode` takes a key `__proto__` for the object's prototype, so only own keys
// count.
function readField(fields: Record<string, unknown>, key: string): unknown {
  if (Object.hasOwn(fields, key)) return fields[key];
  const keys = Object.keys(fields).map(quote).join(", ") || "none";
  throw new Fault("refused", `${key} is missing, the dict has: ${keys}`);
}

/** A character that can be seen: no space, none of the kind C, none that a font leaves out. */
const VISIBLE = /[^\s\p{C}\p{Default_Ignorable_Code_Point}\u2800]/u;

function checkVisible(text: string, key: string): string {
  if (VISIBLE.test(text)) return text;
  throw new Fault("refused", `${key} is empty: nothing can be seen in ${quote(text)}`);
}

function readText(fields: Record<string, unknown>, key: string): string {
  const value = readField(fields, key);
  if (typeof value === "string") return checkVisible(value, key);
  throw new Fault("refused", `${key} ${mustBe(STRING, kindOfValue(value))}`);
}

function readId(fields: Record<string, unknown>, key: string): number | bigint | string {
  const value = readField(fields, key);
  if (typeof value === "string") return checkVisible(value, key);
  if (typeof value === "bigint") return simplify(value);
  // JavaScript packs an integer of more than 32 bits as a float, so a float may be an id, too.
  if (Number.isSafeInteger(value)) return value as number;
  throw new Fault("refused", `${key} ${mustBe(`${INTEGER} or ${STRING}`, kindOfValue(value))}`);
}

// `decode` makes a bigint of an integer of 64 bits, however small it is. A number is exact as far
// as Number.MAX_SAFE_INTEGER.
function simplify(integer: number | bigint): number | bigint {
  const number = Number(integer);
  return Number.isSafeInteger(number) ? number : integer;
}

function mustBe(wanted: string, kind: string): string {
  const advice = kind === BYTES ? `: ${NO_ENCODE} and b''` : "";
  return `must be ${wanted}, but it is ${kind}${advice}`;
}

// The kind of a value that `decode` has made.
function kindOfValue(value: unknown): string {
  if (value === null) return NONE;
  if (typeof value === "boolean") return BOOL;
  if (typeof value === "string") return STRING;
  if (typeof value === "bigint" || Number.isSafeInteger(value)) return INTEGER;
  if (typeof value === "number") return FLOAT;
  if (value instanceof Uint8Array) return BYTES;
  return Array.isArray(value) ? LIST : DICT;
}

// ----------------------------------------------------------------------- the client's side --

/** What our client waits for while it has not been greeted. */
export type WaitingFor = "connection" | "greeting";

/** What {@linkcode submit} takes beside the student. */
export interface SubmitOptions {
  /** The server's address; the default is in {@linkcode DEFAULTS}. */
  hostname?: string;
  /** The server's TCP port; the default is in {@linkcode DEFAULTS}. */
  port?: number;
  /** Called with the client's id when the server has greeted. */
  onGreeting?: (clientid: number | bigint) => void;
  /** Called once if there is no greeting within a second, with what is still missing. */
  onWaiting?: (waitingFor: WaitingFor) => void;
}

/** The least and the largest integer that MessagePack has: they take 64 bits. */
const MIN_INTEGER = -(2n ** 63n);
const MAX_INTEGER = 2n ** 64n - 1n;
/** How long our client waits before it says what it waits for, in ms. */
const HINT_MS = 1000;
/** How long our client waits for the acknowledgement, in ms. */
const ACKNOWLEDGEMENT_MS = 10_000;

/**
 * The lab's client: waits until it is its turn and the server greets, sends the student, and
 * settles when the server has acknowledged.
 *
 * ```ts
 * await submit({ student_name: "Alice Brown", github_username: "abrown", sid: 123456789 });
 * ```
 *
 * @throws {Fault} When the server refuses, closes, is not the lab's, or does not answer in 10 s.
 * @throws {Error} What `Deno.connect` throws when there is no connection.
 */
export async function submit(student: Student, options: SubmitOptions = {}): Promise<void> {
  const { hostname = DEFAULTS.hostname, port = DEFAULTS.port } = options;
  let waitingFor: WaitingFor = "connection";
  const cancelHint = afterRunning(HINT_MS, () => options.onWaiting?.(waitingFor));
  try {
    using conn = await Deno.connect({ hostname, port }); // `using`: closed at the end of the block.
    waitingFor = "greeting";
    const server = new ServerConnection(conn);
    const clientid = await server.receiveGreeting();
    cancelHint();
    options.onGreeting?.(clientid);
    await server.send(student);
    await server.receiveAcknowledgement();
  } finally {
    cancelHint();
  }
}

/** The client's end of a connection to the server. */
class ServerConnection {
  readonly #framer = new Framer();

  constructor(readonly conn: Deno.TcpConn) {}

  async receiveGreeting(): Promise<number | bigint> {
    const { message, arrived } = await this.#nextMessage("greeting");
    const clientid = readClientId(message);
    if (clientid === undefined) throw unexpectedAnswer("greeting", message, arrived);
    // A client that was paused (^Z, a laptop that sleeps) may find the error of a timeout here.
    if (this.#framer.pending().length > 0) {
      const what = "answer before the request";
      const early = await this.#nextMessage(what);
      throw unexpectedAnswer(what, early.message, early.arrived);
    }
    return clientid;
  }

  async send(student: Student): Promise<void> {
    // `encode` makes a float of a number that needs more than 32 bits, and an integer of a bigint.
    const sid = typeof student.sid === "number" ? BigInt(student.sid) : student.sid;
    if (typeof sid === "bigint" && (sid < MIN_INTEGER || sid > MAX_INTEGER)) {
      throw usageFault(`sid needs more than 64 bits: give it as text, not ${sid}`);
    }
    let request = encode({ ...student, sid });
    while (request.length > 0) request = request.subarray(await this.conn.write(request));
  }

  async receiveAcknowledgement(): Promise<void> {
    let isTooLate = false;
    const cancel = afterRunning(ACKNOWLEDGEMENT_MS, () => {
      isTooLate = true;
      this.conn[Symbol.dispose](); // Closes. Then the read fails.
    });
    try {
      const { message, arrived } = await this.#nextMessage("acknowledgement");
      const isRight = kindOf(message) === INTEGER && Number(decode(message)) === ACKNOWLEDGEMENT;
      if (!isRight) throw unexpectedAnswer("acknowledgement", message, arrived);
    } catch (error) {
      if (!isTooLate) throw error;
      const seconds = ACKNOWLEDGEMENT_MS / 1000;
      const text = `the server has the request, but no acknowledgement in ${seconds} s`;
      throw new Fault("answer", text);
    } finally {
      cancel();
    }
  }

  // The next message, and all that had arrived with it. `what` is its name in an error.
  async #nextMessage(what: string): Promise<{ message: Uint8Array; arrived: Uint8Array }> {
    let arrived = this.#framer.pending();
    let message = this.#framer.next();
    while (message === undefined) {
      if (await this.#framer.read(this.conn) === null) {
        throw new Fault("answer", `the server has closed without a whole ${what}`);
      }
      arrived = this.#framer.pending();
      message = this.#framer.next();
    }
    return { message, arrived };
  }
}

// The id in a greeting; nothing if it is no greeting of the lab. `decode` makes the same number of
// the integer 5 and of the float 5.0, so we look at the bytes of the value.
function readClientId(message: Uint8Array): number | bigint | undefined {
  if (kindOf(message) !== DICT) return undefined;
  const pair = pairsOf(message).find(({ key }) => key === "clientid");
  if (pair === undefined || kindOf(message, pair.valueStart) !== INTEGER) return undefined;
  const clientid = decode(message.subarray(pair.valueStart, pair.valueEnd)) as number | bigint;
  return clientid >= 0 ? simplify(clientid) : undefined;
}

// What is wrong with an answer, in words. `arrived` shows more of it than the message alone.
function unexpectedAnswer(what: string, message: Uint8Array, arrived: Uint8Array): Fault {
  const value = decode(message);
  const { error } = Object(value); // Object() makes it safe to look into null and numbers, too.
  if (typeof error === "string") return new Fault("answer", `the server refused: ${error}`);
  const stranger = findStranger(arrived);
  if (stranger) {
    return new Fault("answer", `the server's ${what}: this looks like ${stranger.name}`);
  }
  const shown = `${inspectLine(value)} (${dump(arrived)})`;
  return new Fault("answer", `not the lab's server: its ${what} is ${shown}`);
}

// Calls back when this process has run for `ms`, and returns a function that calls it off. As on
// the server, ticks are counted, so that the time in which the process is paused does not count;
// and it takes one tick more, so that what came in time is read first.
function afterRunning(ms: number, onOver: () => void): () => void {
  let ticks = 0;
  const clock = setInterval(() => {
    ticks++;
    if (ticks * TICK_MS <= ms) return;
    clearInterval(clock);
    onOver();
  }, TICK_MS);
  return () => clearInterval(clock);
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

// Any value as text in one line.
function inspectLine(value: unknown): string {
  return Deno.inspect(value).replace(/\n\s*/g, " ");
}

// Characters that could forge a line or move the cursor: controls (Cc), separators of lines and
// paragraphs (Zl, Zp), and those that turn the direction of writing.
const UNSAFE = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;
// Characters that cannot be seen: also unassigned ones and the like (C), those that a font leaves
// out, such as a zero-width space, and all spaces (Zs) but the ordinary one.
const INVISIBLE = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]|(?! )\p{Zs}/gu;

// Each UTF-16 unit as \uXXXX.
function escapeUnits(text: string): string {
  const units = Array.from({ length: text.length }, (_, i) => text.charCodeAt(i));
  return units.map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`).join("");
}

// Text for a terminal. Letters of all scripts stay as they are. To look first is faster: hardly a
// text has anything to escape.
function escapeUnsafe(text: string): string {
  return text.search(UNSAFE) < 0 ? text : text.replace(UNSAFE, escapeUnits);
}

// Text in quotes for a diagnosis: everything in it can be seen.
function quote(text: string): string {
  return `"${text.replace(INVISIBLE, escapeUnits)}"`;
}

/** Standard output or standard error. */
interface Output {
  writeSync(bytes: Uint8Array): number;
}

const textEncoder = new TextEncoder();
const NEW_LINE = textEncoder.encode("\n");
const NO_BYTES = new Uint8Array();
/** So many bytes a pipe takes whole or not at all: PIPE_BUF. POSIX promises 512, Linux has 4096. */
const PIPE_BYTES = Deno.build.os === "linux" ? 4096 : 512;
/** So many bytes fit into the buffer of 1024 bytes which Deno has for standard output. */
const PART_BYTES = 1000;
/** A terminal that can be non-blocking: Windows has none. */
const isUnixTerminal = Deno.stdout.isTerminal() && Deno.build.os !== "windows";

// Prints whole lines on standard output. A write to an output that is full waits, as a rule. But an
// output can be non-blocking: then the write fails at once, and has to be tried again. The pipes of
// npx are so, and so is a terminal that another program has left in this mode. When a write fails,
// Deno does not say how many bytes were taken before; and nothing may be printed twice.
//
// A pipe takes a small piece whole or not at all. So as many lines as fit into such a piece are
// written together. A terminal may take a part of a piece, so it gets each line by itself. So does
// a pipe if the line is longer than a piece.
function printLines(lines: string): void {
  const bytes = textEncoder.encode(lines + "\n");
  let start = 0;
  while (start < bytes.length) {
    const pieceEnd = bytes.lastIndexOf(NEW_LINE[0], start + PIPE_BYTES - 1) + 1;
    if (pieceEnd > start && !isUnixTerminal) {
      writeAll(Deno.stdout, bytes.subarray(start, pieceEnd));
      start = pieceEnd;
    } else {
      const lineEnd = bytes.indexOf(NEW_LINE[0], start);
      printInParts(bytes.subarray(start, lineEnd));
      start = lineEnd + 1;
    }
  }
}

// Prints one line on an output that may take a part of what is written, and fail then. For example,
// a part of the line has 600 bytes, and the output has room for 200:
//
// - Deno copies the part into a buffer of its own, as it does with all that is small and has no end
//   of line. Then it sends what is in the buffer.
// - The output takes 200 bytes. The write fails, and 400 bytes stay in the buffer.
// - To write the part again would double 200 bytes. But each write, even one of no bytes, begins
//   with what is in the buffer. So we write no bytes, until that succeeds.
//
// A write that succeeds has taken all. The end of the line is written alone: of one byte, nothing
// is taken or all.
function printInParts(line: Uint8Array): void {
  for (let start = 0; start < line.length; start += PART_BYTES) {
    const count = tryToWrite(Deno.stdout, line.subarray(start, start + PART_BYTES));
    const isFull = count === undefined;
    if (isFull) writeWhenPossible(Deno.stdout, NO_BYTES);
  }
  writeAll(Deno.stdout, NEW_LINE);
}

function writeAll(out: Output, bytes: Uint8Array): void {
  let written = 0;
  while (written < bytes.length) written += writeWhenPossible(out, bytes.subarray(written));
}

// Writes as soon as the output is not full, and returns how many bytes it took. Until then the
// whole program waits, and hears no signal: no request may be acknowledged whose line is not
// printed.
function writeWhenPossible(out: Output, bytes: Uint8Array): number {
  let count = tryToWrite(out, bytes);
  while (count === undefined) {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1); // Sleeps for 1 ms.
    count = tryToWrite(out, bytes);
  }
  return count;
}

// Returns how many bytes were written, or `undefined` if the output is full.
function tryToWrite(out: Output, bytes: Uint8Array): number | undefined {
  try {
    return out.writeSync(bytes);
  } catch (error) {
    if (error instanceof Deno.errors.WouldBlock) return undefined;
    throw error;
  }
}

// The line of a request, as the lab has it.
function lineOf({ student_name, github_username, sid }: Student): string {
  return escapeUnsafe(
    `Connected: Student: ${student_name}, Github Username: ${github_username}, sid: ${sid}`,
  );
}

/** What prints the server's product: lines on standard output, whatever the level of the log is. */
type Printers = Required<Pick<ServeOptions, "onListen" | "onRequests">>;

function textPrinters(): Printers {
  return {
    onListen: ({ hostname, port }) => printLines(`Listening at ${hostname}/${port}`),
    onRequests: (students) => printLines(students.map(lineOf).join("\n")),
  };
}

function jsonPrinters(): Printers {
  const { version } = project;
  return {
    onListen: ({ hostname: address, port }) =>
      printLines(toJson({ level: "INFO", event: "listening", address, port, version })),
    onRequests: (students, client) => {
      const lines = students.map((student) =>
        toJson({ level: "INFO", event: "request", client, ...student })
      );
      printLines(lines.join("\n"));
    },
  };
}

// An object in one line, with the time. Most readers of JSON would round an integer over 2 ** 53,
// so such an integer becomes a string.
function toJson(fields: object): string {
  const text = JSON.stringify(
    { time: new Date(), ...fields },
    (_key, value) => typeof value === "bigint" ? String(value) : value,
  );
  return escapeUnsafe(text);
}

// @std's own handler for the console writes to standard output, which is for the lab's lines. Deno
// has no buffer for standard error, so writeAll writes nothing twice, not even on a terminal.
class StderrHandler extends BaseHandler {
  override log(line: string): void {
    try {
      writeAll(Deno.stderr, textEncoder.encode(line + "\n"));
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
  const toText = ({ levelName, msg }: LogRecord) => `${levelName} ${msg}`;
  const toLine = ({ levelName, msg, args }: LogRecord) =>
    toJson({ level: levelName, ...Object(args[0]), message: msg });
  const formatter = format === "text" ? toText : toLine;
  return new Logger("lab", level, { handlers: [new StderrHandler(level, { formatter })] });
}

// ------------------------------------------------------------------------ the command line --

/** Reads what was typed for an option. Throws a {@linkcode Fault} that says what would be right. */
type OptionParser = (typed: string, name: string) => string | number;

/** An option of the command line. */
interface Option {
  readonly name: string;
  /** What counts if the option is not given. Without it, the option has to be given. */
  readonly preset?: string | number;
  readonly parse: OptionParser;
  readonly help: string;
}

function usageFault(text: string): Fault {
  return new Fault("usage", text);
}

// What the student typed. Deno puts U+FFFD in the place of bytes that are not UTF-8.
function utf8Text(typed: string, name: string): string {
  if (!typed.includes("\ufffd")) return typed;
  throw usageFault(
    `--${name} has a character that is not UTF-8: set the encoding of this terminal to UTF-8`,
  );
}

// A name or an address alone. An IPv6 address has two colons or more.
function hostName(typed: string, name: string): string {
  const hasPort = /^[^:]*:[^:]*$/.test(typed);
  if (!hasPort && !/[\s/[\]]/.test(typed)) return typed;
  const right = `--${name} takes an address alone, such as 127.0.0.1 or ::1`;
  throw usageFault(`${right}, not ${typed}: the port goes to --port`);
}

function integerFrom(min: number, max: number): OptionParser {
  return (typed, name) => {
    const value = /^\d+$/.test(typed) ? Number(typed) : NaN;
    if (value >= min && value <= max) return value;
    throw usageFault(`--${name} must be an integer from ${min} to ${max}, not ${typed}`);
  };
}

const MAX_SECONDS = 1_000_000;

// Returns ms.
function seconds(typed: string, name: string): number {
  const value = /^[\d.]+$/.test(typed) ? Number(typed) : NaN;
  if (value <= MAX_SECONDS) return value * 1000;
  throw usageFault(`--${name} must be seconds from 0 to ${MAX_SECONDS}, not ${typed}`);
}

function oneOf(...words: string[]): OptionParser {
  return (typed, name) => {
    if (words.includes(typed)) return typed;
    throw usageFault(`--${name} must be ${words.join(" or ")}, not ${typed}`);
  };
}

// deno-fmt-ignore
const SERVER_OPTIONS: Option[] = [
  { name: "host", preset: DEFAULTS.hostname, parse: hostName, help: "address; with 0.0.0.0 other machines can connect, too" },
  { name: "port", preset: DEFAULTS.port, parse: integerFrom(0, 65535), help: "TCP port, 0 for any free one" },
  { name: "backlog", preset: DEFAULTS.backlog, parse: integerFrom(1, 65535), help: "clients that wait in the kernel's queue" },
  { name: "request-timeout", preset: DEFAULTS.requestTimeout / 1000, parse: seconds, help: "for a whole request" },
  { name: "keep-alive-timeout", preset: DEFAULTS.keepAliveTimeout / 1000, parse: seconds, help: "for silence after an answer" },
  { name: "turn-timeout", preset: DEFAULTS.turnTimeout / 1000, parse: seconds, help: "for the visit of one client" },
  { name: "max-message-bytes", preset: DEFAULTS.maxMessageBytes, parse: integerFrom(64, 2 ** 20), help: "the longest request" },
  { name: "log-level", preset: "INFO", parse: oneOf("DEBUG", "INFO", "WARN", "ERROR"), help: "DEBUG shows the wire" },
  { name: "log-format", preset: "text", parse: oneOf("text", "json"), help: "text, or json: one object per line" },
];
// deno-fmt-ignore
const STUDENT_OPTIONS: Option[] = [
  { name: "student-name", parse: utf8Text, help: "client: needed, in quotes if it has spaces" },
  { name: "github-username", parse: utf8Text, help: "client: needed" },
  { name: "sid", parse: utf8Text, help: "client: needed, the student id" },
];
// deno-fmt-ignore
const CLIENT_OPTIONS: Option[] = [
  ...STUDENT_OPTIONS,
  { name: "host", preset: DEFAULTS.hostname, parse: hostName, help: "" },
  { name: "port", preset: DEFAULTS.port, parse: integerFrom(1, 65535), help: "" },
];

function helpLine({ name, preset, help }: Option): string {
  return `  ${`--${name} ${preset ?? "TEXT"}`.padEnd(26)} ${help}`;
}

const HELP = `Lab 3: an iterative TCP server, one client after the other; and its client.
Usage: main.ts [options]
       main.ts client --student-name "Alice Brown" --github-username abrown --sid 123456789

Options and defaults (timeouts in seconds, 0: no limit; the client has --host and --port, too):
${[...SERVER_OPTIONS, ...STUDENT_OPTIONS].map(helpLine).join("\n")}
  --help, --version`;

/** The values of the options, by name. */
class OptionValues {
  readonly #values: Map<string, string | number>;

  constructor(options: Option[], args: string[]) {
    const given = splitArguments(options, args);
    this.#values = new Map(
      options.map((option) => [option.name, parseOption(option, given[option.name])]),
    );
  }

  text(name: string): string {
    return String(this.#values.get(name));
  }

  number(name: string): number {
    return Number(this.#values.get(name));
  }
}

function parseOption({ name, preset, parse }: Option, given: unknown): string | number {
  const typed = String(given ?? preset ?? "");
  if (typed.trim() === "") throw usageFault(`--${name} needs a value, as --help shows`);
  return parse(typed, name);
}

// What was typed for each option, as text.
function splitArguments(options: Option[], args: string[]): Record<string, unknown> {
  const names = options.map(({ name }) => name);
  return parseArgs(args, {
    string: names,
    unknown: (arg) => {
      if (arg === "") return; // As in `--port ""`. parseOption will see that the value is missing.
      throw usageFault(describeUnknown(arg, args[args.indexOf(arg) - 1] ?? "", names));
    },
  });
}

function describeUnknown(arg: string, before: string, names: string[]): string {
  if (!arg.startsWith("-")) return `Unexpected ${arg}: client comes first, spaces need quotes`;
  if (names.includes(before.slice(2))) {
    return `Write a value that begins with - as in ${before}=${arg}`;
  }
  return `Unknown option ${arg}: there are --${names.join(", --")}, --help, --version`;
}

/** The signals that stop the server. Windows has SIGBREAK (Ctrl-Break) in the place of SIGTERM. */
const STOP_SIGNALS: Deno.Signal[] = [
  "SIGINT",
  Deno.build.os === "windows" ? "SIGBREAK" : "SIGTERM",
  "SIGHUP",
];
/** A terminal and a task runner both send a ^C on. Within this time it is the same one, in ms. */
const SAME_SIGNAL_MS = 100;

// Aborts at the first signal. A later one ends the program at once.
function signalOfStop(): AbortSignal {
  const stop = new AbortController();
  let firstAt: number | undefined;
  const onSignal = () => {
    firstAt ??= performance.now();
    if (performance.now() - firstAt >= SAME_SIGNAL_MS) Deno.exit(1);
    stop.abort();
  };
  for (const signal of STOP_SIGNALS) Deno.addSignalListener(signal, onSignal);
  return stop.signal;
}

async function runServer(values: OptionValues): Promise<void> {
  const format = values.text("log-format") as LogFormat;
  const printers = format === "text" ? textPrinters() : jsonPrinters();
  const server = serve({
    ...printers,
    hostname: values.text("host"),
    port: values.number("port"),
    backlog: values.number("backlog"),
    requestTimeout: values.number("request-timeout"),
    keepAliveTimeout: values.number("keep-alive-timeout"),
    turnTimeout: values.number("turn-timeout"),
    maxMessageBytes: values.number("max-message-bytes"),
    logger: createLogger(values.text("log-level") as LevelName, format),
    signal: signalOfStop(),
  });
  const { clients, requests } = await server.finished;
  const text = `Served ${plural(clients, "client")} and ${plural(requests, "request")}`;
  createLogger("INFO", format).info(text, { event: "stopped" }); // whatever --log-level is
}

const HINTS: Record<WaitingFor, string> = {
  connection: "Not connected yet: nobody answers at that address, or the server's queue is full",
  greeting: "Connected, no greeting yet: is another client served?",
};

async function runClient(values: OptionValues): Promise<void> {
  const hostname = values.text("host");
  const port = values.number("port");
  const student = {
    student_name: values.text("student-name"),
    github_username: values.text("github-username"),
    sid: parseStudentId(values.text("sid")),
  };
  await submit(student, {
    hostname,
    port,
    onWaiting: (waitingFor) => console.error(HINTS[waitingFor]),
    onGreeting: (clientid) =>
      console.log(`{'clientid': ${clientid}} has successfully connected to ${hostname}/${port}`),
  });
  console.log("Data acknowledged by server and you passed the test");
}

// Digits are an integer, unless they have a zero in front, or are so many that 64 bits may not do.
function parseStudentId(typed: string): bigint | string {
  return /^(0|-?[1-9]\d{0,17})$/.test(typed) ? BigInt(typed) : typed;
}

/** What an error of the system means to the person at the terminal, by the error's code. */
type Explanations = Record<string, (where: string) => string>;

const serverHasClosed = (where: string) =>
  `The server at ${where} has closed: its own window says why`;
const isForbidden = (where: string) =>
  `This machine may not connect to ${where}: does a firewall forbid it?`;

// deno-fmt-ignore
const SERVER_ERRORS: Explanations = {
  EADDRINUSE: (where) => `The port of ${where} is in use: end the other server, or choose with --port`,
  EADDRNOTAVAIL: (where) => `${where} is not this machine's address: --host 127.0.0.1, or 0.0.0.0 for all it has`,
  EINVAL: (where) => `${where} is no address to listen at: --host 127.0.0.1, or 0.0.0.0 for all it has`,
  EACCES: (where) => `The port of ${where} needs an administrator: choose one over 1023 with --port`,
};
// deno-fmt-ignore
const CLIENT_ERRORS: Explanations = {
  ECONNREFUSED: (where) => `No server at ${where}: start it first, or say with --host and --port where it is`,
  ECONNRESET: serverHasClosed,
  ECONNABORTED: serverHasClosed,
  ENOTCONN: serverHasClosed,
  EPIPE: serverHasClosed,
  EADDRNOTAVAIL: (where) => `${where} is no address to connect to: say --host 127.0.0.1 for this machine`,
  ETIMEDOUT: (where) => `Nobody answers at ${where}: is the server's machine on, and is --host its address?`,
  EHOSTUNREACH: (where) => `No way to the machine of ${where}: is it on, and is --host its address?`,
  ENETUNREACH: (where) => `No network leads to ${where}: is this machine connected, and is --host right?`,
  EINVAL: (where) => `${where} is no address to connect to: one that begins with fe80: needs its zone behind a %`,
  EACCES: isForbidden,
  EPERM: isForbidden,
};

// How the system says that nobody has this name. Windows says it in the words of each language,
// with the same numbers.
const NO_SUCH_NAME = /^failed to lookup address|\(os error 1100[1-4]\)$/;

// One line for the person at the terminal: what to do.
function explain(error: Error, where: string, explanations: Explanations): string {
  if (error instanceof Fault) return error.message;
  if (NO_SUCH_NAME.test(error.message)) {
    return `There is no machine of the name in ${where}: see --host`;
  }
  const explanation = explanations[codeOf(error)];
  return explanation ? explanation(where) : `${where}: ${error.message}`;
}

/** What the command line can run. */
interface Program {
  readonly options: Option[];
  readonly run: (values: OptionValues) => Promise<void>;
  readonly explanations: Explanations;
}

const SERVER: Program = {
  options: SERVER_OPTIONS,
  run: runServer,
  explanations: SERVER_ERRORS,
};
const CLIENT: Program = {
  options: CLIENT_OPTIONS,
  run: runClient,
  explanations: CLIENT_ERRORS,
};

// Returns the exit status: 0, or 1 for a failure, or 2 for a wrong command line.
async function execute({ options, run, explanations }: Program, args: string[]): Promise<number> {
  let where = "";
  try {
    const values = new OptionValues(options, args);
    where = `${values.text("host")}/${values.number("port")}`;
    await run(values);
    return 0;
  } catch (caught) {
    const error = caught as Error;
    console.error(escapeUnsafe(explain(error, where, explanations)));
    return error instanceof Fault && error.event === "usage" ? 2 : 1;
  }
}

async function main(typed: string[]): Promise<number> {
  const args = typed.filter((arg) => arg !== "--"); // `deno task` and npm may hand theirs on.
  if (args.includes("--version")) {
    console.log(project.version);
    return 0;
  }
  if (args.includes("--help")) {
    console.log(HELP);
    return 0;
  }
  if (args[0] === "client") return await execute(CLIENT, args.slice(1));
  return await execute(SERVER, args);
}

if (import.meta.main) Deno.exit(await main(Deno.args));
