/**
 * Lab 3: an iterative TCP server. It greets each client with its id, takes the student's name,
 * GitHub user name and student id, prints them, acknowledges, and turns to the next client,
 * whatever this one did. MessagePack is on the wire; `main.ts client` is the other end.
 *
 * ```sh
 * deno run --allow-net main.ts
 * deno run --allow-net main.ts client --student-name "Alice Brown" --github-username abrown --sid 123456789
 * ```
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import { BaseHandler } from "@std/log/base-handler";
import { Logger, type LogRecord } from "@std/log/logger";
import { decode, encode } from "@std/msgpack";

const VERSION = "1.0.0";
const HOSTNAME = "127.0.0.1";
const PORT = 12000;

const ACKNOWLEDGEMENT = 1; // the lab's answer to a request that it has printed
const MAX_MESSAGE_BYTES = 4096; // a request of the lab takes about 80
const MAX_DEPTH = 64; // containers within containers: any recursive decoder survives this many
const READ_BYTES = 65536; // asked of the kernel at once: 800 requests of a client that never waits
const MAX_ANSWER_BYTES = 65536; // at once: a read of one-byte maps would be owed 5 MB of errors
const MAX_REFUSALS = 1000; // in a row: some clients send every answer back, forever
const MOMENT_MS = 20; // keeps two messages apart for a client that takes one read for one message
const LINGER_MS = 1000; // for a client that was refused to read why, whatever it has under way
const GRACE_MS = 5000; // for the current client when the server is told to stop

/** Something that the other end did wrong; the message says what, to its user and to the log. */
export class Fault extends Error {
  /** A fault to be answered (`"refuse"`), answered and hung up on, or (`"drop"`) hung up on only. */
  constructor(
    readonly event: string,
    message: string,
    readonly outcome: "refuse" | "close" | "drop" = "close",
  ) {
    super(message);
  }
}

// ----------------------------------------------------------------------------- the framing --

/**
 * Finds where each value of a MessagePack stream ends: `decode` wants exactly one whole value, but
 * TCP keeps no boundaries, and a read may bring a part of a value, one, or many.
 *
 * The scan goes from header to header and keeps its place between reads, so each byte is looked at
 * once however small the pieces are. It counts the values that are still owed instead of recursing:
 * of `[1, [2]]`, bytes 92 01 91 02, they are 1 at first, then 2, 1, 1, and 0. Its buffer never grows.
 */
export class Framer {
  readonly #buffer: Uint8Array<ArrayBuffer>;
  #start = 0; // the first byte of the value at hand
  #scan = 0; // its next header, or its end; may lie beyond what has arrived
  #end = 0; // behind the last byte that has arrived
  #owed = 1; // values to come until the one at hand is whole
  readonly #open: number[] = []; // containers around the next header, each by the #owed that ends it

  /** A framer that lets no value through of more than `maxMessageBytes`. */
  constructor(readonly maxMessageBytes: number = MAX_MESSAGE_BYTES) {
    this.#buffer = new Uint8Array(maxMessageBytes + READ_BYTES);
  }

  /** Where the next read goes. Never empty: a value that could fill the buffer has been refused. */
  get free(): Uint8Array<ArrayBuffer> {
    if (this.#start > 0) { // move the beginning of an unfinished value to the front
      this.#buffer.copyWithin(0, this.#start, this.#end);
      this.#scan -= this.#start;
      this.#end -= this.#start;
      this.#start = 0;
    }
    return this.#buffer.subarray(this.#end);
  }

  /** What has arrived and is not handed out: after {@linkcode Framer.next}, a value's beginning. */
  get pending(): Uint8Array<ArrayBuffer> {
    return this.#buffer.subarray(this.#start, this.#end);
  }

  /** Says that `count` bytes were read into {@linkcode Framer.free}. */
  filled(count: number): void {
    this.#end += count;
  }

  /** Forgets everything, for the next connection. */
  reset(): void {
    this.#start = this.#scan = this.#end = 0;
    this.#owed = 1;
    while (this.#open.length > 0) this.#open.pop();
  }

  /**
   * The bytes of the next whole value, valid until the next use of {@linkcode Framer.free}, or
   * `undefined` when more has to be read first.
   *
   * @throws {Fault} When a header shows that the value will be longer than the limit or nested too
   * deep, or is the one byte that MessagePack never uses.
   */
  next(): Uint8Array<ArrayBuffer> | undefined {
    while (this.#owed > 0) if (!this.#passHeader()) return undefined;
    if (this.#scan > this.#end) return undefined;
    const message = this.#buffer.subarray(this.#start, this.#scan);
    this.#start = this.#scan;
    this.#owed = 1;
    return message;
  }

  /** Passes a header, and what it counts in bytes; `false` when not all of the header is there. */
  #passHeader(): boolean {
    if (this.#scan >= this.#end) return false;
    const type = this.#buffer[this.#scan];
    let size = 1; // bytes of the header and what belongs to it
    let lengthBytes = 0; // of these, the bytes of its length field
    let children = 0; // values that follow in it
    if (type < 0x80 || type >= 0xe0) size = 1; // fixint
    else if (type < 0x90) children = (type & 0x0f) * 2; // fixmap
    else if (type < 0xa0) children = type & 0x0f; // fixarray
    else if (type < 0xc0) size += type & 0x1f; // fixstr
    else if (type === 0xc1) throw new Fault("malformed", "0xc1 is no MessagePack");
    else if (type < 0xc4) size = 1; // nil, false, true
    else if (type < 0xca) lengthBytes = 1 << ((type - 0xc4) % 3); // bin and ext 8 to 32
    else if (type < 0xcc) size += 4 << (type - 0xca); // float 32 and 64
    else if (type < 0xd4) size += 1 << (type & 0x03); // uint and int 8 to 64
    else if (type < 0xd9) size += 1 + (1 << (type - 0xd4)); // fixext 1 to 16 and its type
    else if (type < 0xdc) lengthBytes = 1 << (type - 0xd9); // str 8 to 32
    else lengthBytes = 2 << (type & 0x01); // array 16 and 32, map 16 and 32

    if (lengthBytes > 0) {
      if (this.#scan + lengthBytes >= this.#end) return false;
      let length = 0;
      for (let i = 1; i <= lengthBytes; i++) length = length * 256 + this.#buffer[this.#scan + i];
      size += lengthBytes;
      if (type >= 0xde) children = length * 2;
      else if (type >= 0xdc) children = length;
      else size += length + (type > 0xc6 && type < 0xca ? 1 : 0); // an ext has a type byte
    }
    this.#advance(size, children);
    return true;
  }

  #advance(size: number, children: number): void {
    this.#scan += size;
    this.#owed--;
    if (children > 0) this.#open.push(this.#owed);
    this.#owed += children;
    // Each value still owed takes a byte at least: too long is known before anything is stored.
    if (this.#scan - this.#start + this.#owed > this.maxMessageBytes) {
      throw new Fault("too-long", `longer than the ${this.maxMessageBytes} bytes of a message`);
    }
    while (this.#open.at(-1) === this.#owed) this.#open.pop();
    if (this.#open.length > MAX_DEPTH) {
      throw new Fault("malformed", `nested over ${MAX_DEPTH} deep`);
    }
  }
}

// ----------------------------------------------------------------------------- one request --

/** What a client sends: step 2 of the lab. */
export interface Student {
  /** The student's name. */
  student_name: string;
  /** The user name on GitHub. */
  github_username: string;
  /** The student id: text, or an integer of up to 64 bits. */
  sid: number | bigint | string;
}

const isString = (value: unknown) => typeof value === "string";
const isSid = (value: unknown) =>
  isString(value) || typeof value === "bigint" || Number.isSafeInteger(value);

const FIELDS: [key: keyof Student, isValid: (value: unknown) => boolean, kind: string][] = [
  ["student_name", isString, "a string"],
  ["github_username", isString, "a string"],
  ["sid", isSid, "an integer or a string"],
];

/** Reads one whole MessagePack value as a request, or throws the {@linkcode Fault} that it is. */
function parseRequest(message: Uint8Array): Student {
  if ((message[0] & 0xf0) !== 0x80 && message[0] !== 0xde && message[0] !== 0xdf) {
    throw new Fault("not-a-map", "a request is a MessagePack map, this is none");
  }
  let map: Student;
  try {
    // A copy has own keys only: where Deno leaves a key __proto__ its power, that brings none in.
    map = { ...decode(message) as object } as Student;
  } catch (error) {
    throw new Fault("malformed", `not to be decoded as MessagePack: ${(error as Error).message}`);
  }
  const { student_name, github_username, sid } = map; // and no other keys: these go to the log
  if (isString(student_name) && isString(github_username) && isSid(sid)) {
    return { student_name, github_username, sid };
  }
  const wrong = FIELDS.filter(([key, isValid]) => !isValid(map[key]));
  const reasons = wrong.map(([key, _, kind]) =>
    map[key] === undefined ? `${key} is missing` : `${key} must be ${kind}`
  );
  throw new Fault("refused", reasons.join(", "), "refuse");
}

const PICKLE = "a Python pickle: use msgpack.packb and msgpack.unpackb instead";
/** How clients begin that speak no MessagePack, and what to tell them. */
const STRANGERS: [starts: string[], what: string][] = [
  [["\x80\x02", "\x80\x03", "\x80\x04", "\x80\x05", "(dp", "}q\0"], PICKLE],
  [["GET ", "HEAD ", "POST ", "PUT "], "HTTP: not a browser, the lab's client belongs here"],
  [["\x16\x03"], "TLS, as of https: the lab is plain TCP"],
  [['{"'], "JSON"],
];

const asText = (bytes: Uint8Array) => String.fromCharCode(...bytes.subarray(0, 5));

/** Whether a stranger may begin so: the next bytes will tell. */
const isAmbiguous = (text: string) =>
  STRANGERS.some(([starts]) => starts.some((start) => start !== text && start.startsWith(text)));

// ----------------------------------------------------------------------------- one client --

const ACK = encode(ACKNOWLEDGEMENT);
const ACK_BYTES = [...ACK]; // a tenth of the time of spreading ACK itself, again and again
const GREETING = encode({ clientid: 65535 }); // the id is its last two bytes

const delay = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

const rosterLine = ({ student_name, github_username, sid }: Student) =>
  escape(`Connected: Student: ${student_name}, Github Username: ${github_username}, sid: ${sid}`);

/** The life of one client, from accept to close: `run` tells it. */
class Session {
  /** When the client's time is over, ms of `performance.now()`; each answer moves it. */
  deadline = Infinity;
  #stopAt = Infinity; // ms, as `deadline`
  #reading: Promise<number | null> | undefined; // a read that has begun and is not taken in yet
  #acknowledged = 0; // requests
  #refusals = 0; // in a row
  #sending = false;
  #interrupt: (fault: Fault) => void = () => {};
  readonly #peer: string;

  constructor(
    readonly conn: Deno.TcpConn,
    readonly framer: Framer,
    readonly logger: LabLogger,
    readonly idleTimeout: number,
  ) {
    const { hostname, port } = conn.remoteAddr;
    this.#peer = hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
    this.#renewDeadline();
  }

  /** Serves the client to its end, and returns how many requests were acknowledged. */
  async run(): Promise<number> {
    try {
      await this.#greet();
      await this.#converse();
      this.#log("debug", "closed", "the client has closed");
    } catch (error) {
      this.deadline = Infinity; // from here on the limit is LINGER_MS
      this.#report(error);
      await this.#lingeringClose(error).catch(() => {}); // the fault is reported, the rest its echo
    } finally {
      this.conn[Symbol.dispose]();
    }
    return this.#acknowledged;
  }

  /**
   * Step 1. The first read begins before the greeting is written. Both wait for the kernel's first
   * word on the new connection, so a read that ends first has found its request there already: a
   * client that sends before it reads. It gets a moment to read the greeting by itself. A client
   * that has read the greeting cannot be so early.
   */
  async #greet(): Promise<void> {
    this.conn.setNoDelay();
    this.framer.reset();
    let isEarly = false;
    this.#reading = this.conn.read(this.framer.free);
    this.#reading.then((count) => isEarly = count !== null, () => {});
    const greeting = GREETING.slice(); // to encode it anew takes 5 us more, a twentieth of a visit
    new DataView(greeting.buffer).setUint16(greeting.length - 2, this.conn.remoteAddr.port);
    await this.#write(greeting);
    if (isEarly) await this.#beforeDeadline(delay(MOMENT_MS));
  }

  /** Steps 2 to 4: reads and answers until the stream ends. */
  async #converse(): Promise<void> {
    for (;;) {
      const count = await this.#beforeDeadline(this.#read());
      this.#reading = undefined;
      if (count === null) break;
      this.framer.filled(count);
      while (await this.#answerSome());
    }
    const left = this.framer.pending.length;
    if (left > 0) {
      throw new Fault("truncated", `ended ${plural(left, "byte")} into a message`, "drop");
    }
  }

  /** The read that has begun already, or a new one. */
  #read(): Promise<number | null> {
    return this.#reading ??= this.conn.read(this.framer.free);
  }

  /** Answers what has arrived whole, or much of it; returns whether there may be more. */
  async #answerSome(): Promise<boolean> {
    const students: Student[] = [];
    const answers: number[] = []; // bytes
    try {
      while (answers.length < MAX_ANSWER_BYTES) {
        let message: Uint8Array | undefined;
        try {
          message = this.framer.next();
          if (message === undefined) return false;
          students.push(parseRequest(message));
          answers.push(...ACK_BYTES);
          this.#refusals = 0;
        } catch (error) {
          answers.push(...await this.#refuse(error, message));
        }
      }
      return true;
    } finally { // what came before a fault is answered even so
      const isAck = answers.length === 1; // as mostly: no new buffer then, which takes 0.5 us
      if (answers.length > 0) await this.#answer(students, isAck ? ACK : new Uint8Array(answers));
    }
  }

  /** The answer to a bad request if the connection stays open; else throws what ends it. */
  async #refuse(error: unknown, message: Uint8Array = new Uint8Array()): Promise<Uint8Array> {
    if (!(error instanceof Fault)) throw error;
    const start = asText(message);
    while (isAmbiguous(start + asText(this.framer.pending))) {
      // A pickle in pieces begins like an empty map: what follows gets a moment to tell.
      const count = await this.#beforeDeadline(Promise.race([this.#read(), delay(MOMENT_MS)]));
      if (!count) break; // time is over, or the stream
      this.#reading = undefined;
      this.framer.filled(count);
    }
    const text = start + asText(this.framer.pending);
    const what = STRANGERS.find(([starts]) => starts.some((start) => text.startsWith(start)))?.[1];
    if (what !== undefined) {
      const hint = `the wire is MessagePack, and this looks like ${what}`;
      throw new Fault(what === PICKLE ? "pickle" : error.event, hint);
    }
    if (error.outcome !== "refuse") throw error;
    if (++this.#refusals === MAX_REFUSALS) {
      throw new Fault("refused", `${error.message}; refused ${MAX_REFUSALS} times in a row`);
    }
    this.#report(error);
    return encode({ error: error.message });
  }

  /**
   * Step 3: one write to the roster and one to the client for all that has arrived. The roster
   * comes first: who is acknowledged is never missing from it, though the server is killed.
   */
  async #answer(students: Student[], answers: Uint8Array): Promise<void> {
    const fields = { event: "request", client: this.#peer, students };
    try {
      if (students.length > 0) this.logger.info(students.map(rosterLine).join("\n"), fields);
    } catch (error) { // a plain Error: a broken pipe here must not pass for the client's socket
      throw new Error(`the roster cannot be written: ${(error as Error).message}`);
    }
    this.#acknowledged += students.length;
    this.#sending = true;
    this.#renewDeadline();
    await this.#write(answers);
    this.#sending = false;
    this.#renewDeadline();
  }

  async #write(bytes: Uint8Array): Promise<void> {
    let sent = await this.#beforeDeadline(this.conn.write(bytes));
    while (sent < bytes.length) {
      sent += await this.#beforeDeadline(this.conn.write(bytes.subarray(sent)));
    }
  }

  /**
   * Tells the client what is wrong, and lingers: a close with unread bytes in the kernel would
   * reset the connection, and the reset destroys the answer on its way.
   */
  async #lingeringClose(error: unknown): Promise<void> {
    if (error instanceof Fault && error.outcome === "drop") return;
    const timer = setTimeout(() => this.conn[Symbol.dispose](), LINGER_MS);
    try {
      const text = error instanceof Fault ? error.message : "the server has failed, not you";
      await this.#write(encode({ error: text }));
      await this.conn.closeWrite();
      for (let count: number | null = 0; count !== null; this.#reading = undefined) {
        this.framer.reset(); // what comes is dropped, until the client closes, too
        count = await this.#read();
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Awaits an operation, or throws the fault of the deadline that passes before it ends. All that
   * waits for the client waits here: `expire` can interrupt nothing else.
   */
  #beforeDeadline<T>(operation: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#interrupt = reject;
      operation.then(resolve, reject);
    });
  }

  #renewDeadline(): void {
    this.deadline = Math.min(performance.now() + (this.idleTimeout || Infinity), this.#stopAt);
  }

  /** The server stops: the client may finish, but not for long. */
  stop(): void {
    this.#stopAt = performance.now() + GRACE_MS;
    this.deadline = Math.min(this.deadline, this.#stopAt);
    this.#log("info", "stopping", `up to ${GRACE_MS / 1000} s to finish, the server stops`);
  }

  /** Interrupts what the client holds up: the deadline has passed. */
  expire(): void {
    const limit = `${this.idleTimeout / 1000} s`;
    const half = this.framer.pending.length;
    const isIdle = half === 0 && this.#acknowledged + this.#refusals > 0;
    let [event, text] = ["timeout", `no whole request within ${limit}`];
    if (half > 0) text += `, only ${plural(half, "byte")}`;
    if (isIdle) {
      [event, text] = ["idle", `silent ${limit} since its answer: the next client's turn`];
    }
    if (this.#sending) [event, text] = ["stalled", `its answers stay unread for ${limit}`];
    if (this.deadline === this.#stopAt) [event, text] = ["stopping", "the server stops"];
    this.deadline = Infinity;
    this.#interrupt(new Fault(event, text, this.#sending || isIdle ? "drop" : "close"));
  }

  /** Where all errors of a client meet. */
  #report(error: unknown): void {
    if (error instanceof Fault) this.#log("warn", error.event, error.message);
    else if (error instanceof Error && "code" in error) { // the system's word on the connection
      const isHeard = this.#acknowledged + this.#refusals + this.framer.pending.length > 0;
      const level = isHeard ? "warn" : "debug"; // nothing was sent: a health check, no news
      this.#log(level, "reset", `the connection broke: ${error.message}`);
    } else {
      const stack = error instanceof Error && error.stack || String(error);
      this.#log("error", "bug", `a fault of the server: ${stack.replaceAll(/\n\s*/g, " | ")}`);
    }
  }

  #log(level: "debug" | "info" | "warn" | "error", event: string, text: string): void {
    this.logger[level](`${this.#peer}: ${escape(text)}`, { event, client: this.#peer });
  }
}

// ---------------------------------------------------------------------- the listening loop --

/** What {@linkcode serve} takes, in the manner of `Deno.serve`. */
export interface ServeOptions {
  /** The address to listen at. @default {"127.0.0.1"} */
  hostname?: string;
  /** The TCP port, 0 for any free one. @default {12000} */
  port?: number;
  /** How many clients the kernel queues while one is served. @default {10} */
  backlog?: number;
  /** ms for a whole request, or for reading an answer; 0 for no limit. @default {10_000} */
  idleTimeout?: number;
  /** Bytes of the longest message that is taken. @default {4096} */
  maxMessageBytes?: number;
  /** Stops the server: no more accepts, and 5 s at most for the current client. */
  signal?: AbortSignal;
  /** Called once the server listens. */
  onListen?: (address: Deno.NetAddr) => void;
  /** Where everything is reported. @default {createLogger()} */
  logger?: LabLogger;
}

/** A running server. */
export interface LabServer {
  /** The address that it listens at. */
  readonly addr: Deno.NetAddr;
  /** Settles when it has stopped, with how many were acknowledged; no client can reject it. */
  readonly finished: Promise<{ clients: number; requests: number }>;
}

/**
 * Starts the iterative server: one client at a time, in the order of arrival.
 *
 * @throws {Deno.errors.AddrInUse} When the port is taken, and what else `Deno.listen` throws.
 */
export function serve(options: ServeOptions = {}): LabServer {
  const { hostname = HOSTNAME, port = PORT, backlog = 10, idleTimeout = 10_000 } = options;
  const { signal, logger = createLogger() } = options;
  const framer = new Framer(options.maxMessageBytes); // for all clients: a new one takes 9 us
  const served = { clients: 0, requests: 0 };
  let session: Session | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const listener = Deno.listen({ hostname, port, tcpBacklog: backlog });
  const addr = listener.addr as Deno.NetAddr;
  const fields = { event: "listening", address: addr.hostname, port: addr.port, version: VERSION };
  logger.info(`Listening at ${addr.hostname}/${addr.port}`, fields);
  options.onListen?.(addr);

  /** One timer for all clients: to set and clear one for each takes 9 us, a tenth of a visit. */
  function watch(): void {
    clearTimeout(timer);
    if (session !== undefined && session.deadline <= performance.now()) session.expire();
    const left = (session?.deadline ?? Infinity) - performance.now();
    // One ms more, as timers round down; and no more than the 31 bits that they can take.
    timer = left < Infinity ? setTimeout(watch, Math.min(left + 1, 2 ** 31 - 1)) : undefined;
  }

  async function serveClient(conn: Deno.TcpConn): Promise<void> {
    try {
      session = new Session(conn, framer, logger, idleTimeout);
      const running = session.run();
      if (timer === undefined) watch(); // else it comes early enough, and is set again then
      const requests = await running;
      served.clients += requests > 0 ? 1 : 0;
      served.requests += requests;
    } catch (error) { // Not even the report went well. Still no reason to stop.
      console.error(error);
    }
    session = undefined;
  }

  /** The loop that ends only when `stop` has closed the listener. */
  async function acceptAll(): Promise<typeof served> {
    let pause = 5;
    while (!signal?.aborted) {
      try {
        // Whatever leaves this loop early closes the listener: serveClient never throws.
        for await (const conn of listener) {
          pause = 5;
          await serveClient(conn);
        }
      } catch (error) { // A failed accept has ended the iterator, not the listener: enter it again.
        const { message } = error as Error;
        if (error instanceof Deno.errors.NotConnected) { // reset in the queue, as by a health check
          logger.debug(`A client was gone before its turn: ${message}`, { event: "gone" });
          continue;
        }
        const text = `No client can be accepted, next try in ${pause} ms: ${message}`;
        logger.error(text, { event: "accept" });
        await delay(pause);
        pause = Math.min(pause * 2, 1000);
      }
    }
    clearTimeout(timer);
    const text = `${plural(served.clients, "client")} and ${plural(served.requests, "request")}`;
    logger.info(`Served ${text}`, { event: "stopped", ...served });
    return served;
  }

  function stop(): void {
    listener.close();
    session?.stop();
    watch();
  }
  if (signal?.aborted) stop();
  signal?.addEventListener("abort", stop, { once: true });
  return { addr, finished: acceptAll() };
}

const plural = (count: number, noun: string) => `${count} ${noun}${count === 1 ? "" : "s"}`;

// ------------------------------------------------------------------------ the client's side --

/** What {@linkcode submit} takes beside the student. */
export interface SubmitOptions extends Pick<ServeOptions, "hostname" | "port"> {
  /** Called with the client's id when the server has greeted. */
  onGreeting?: (clientid: number) => void;
  /** Called if the greeting takes more than a second: another client is being served. */
  onWaiting?: () => void;
}

/**
 * The lab's client: it waits for the greeting, for as long as its turn takes, sends the student
 * and settles when the server has acknowledged.
 *
 * @throws {Fault} When the server refuses, leaves, or is not the lab's.
 * @throws {Deno.errors.ConnectionRefused} When nobody listens, and what else a socket throws.
 */
export async function submit(student: Student, options: SubmitOptions = {}): Promise<void> {
  const { hostname = HOSTNAME, port = PORT, onGreeting, onWaiting } = options;
  const waiting = setTimeout(() => onWaiting?.(), 1000);
  try {
    using conn = await Deno.connect({ hostname, port });
    const framer = new Framer();
    const { clientid } = Object(await receive(conn, framer));
    clearTimeout(waiting);
    if (!Number.isInteger(clientid)) throw new Fault("answer", "this is not the lab's server");
    onGreeting?.(clientid);
    let request = encode({ ...student });
    while (request.length > 0) request = request.subarray(await conn.write(request));
    const answer = await receive(conn, framer);
    if (answer === ACKNOWLEDGEMENT) return;
    const { error } = Object(answer);
    const reason = typeof error === "string" ? error : Deno.inspect(answer);
    throw new Fault("answer", `the server refused: ${reason}`);
  } finally {
    clearTimeout(waiting);
  }
}

async function receive(conn: Deno.TcpConn, framer: Framer): Promise<unknown> {
  for (;;) {
    const message = framer.next();
    if (message !== undefined) return decode(message);
    const count = await conn.read(framer.free);
    if (count === null) throw new Fault("answer", "the server left without an answer");
    framer.filled(count);
  }
}

// -------------------------------------------------------------------------------- the log --

/**
 * Where the server reports: a `Logger` of `@std/log` is one. What comes with a message says in
 * `event` what has happened, in `client` to whom, and in `students` who is acknowledged: those
 * whose requests came in one read are one record, a line each.
 */
export type LabLogger = Record<
  "debug" | "info" | "warn" | "error",
  (message: string, fields: { event: string; client?: string; students?: Student[] }) => unknown
>;

/** What could forge a line or move the cursor: controls, separators, direction overrides. */
const UNSAFE = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;

function escape(text: string): string {
  if (text.search(UNSAFE) < 0) return text; // half the time of a replacement that finds nothing
  return text.replace(UNSAFE, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
}

/**
 * The roster (where the server listens, whom it acknowledges) goes to standard output, all else to
 * standard error. The ConsoleHandler of `@std/log` has standard output only, and takes three times
 * as long for a line.
 */
class LabHandler extends BaseHandler {
  override handle(record: LogRecord): void {
    const { event } = record.args[0] as { event: string };
    const lines = this.format(record) + "\n";
    if (event === "request" || event === "listening") writeAllSync(Deno.stdout, lines);
    else this.log(lines);
  }

  override log(lines: string): void {
    try {
      writeAllSync(Deno.stderr, lines);
    } catch { // Standard error is gone: nobody is left to tell, and the clients still count.
    }
  }
}

const encoder = new TextEncoder();
// What a pipe takes whole or not at all. Another process (npx is one) may have made it non-blocking;
// of a longer text `writeSync` would then write a part, and throw without saying how much.
const PIPE_BUF = Deno.build.os === "linux" ? 4096 : 512; // bytes
const chunk = new Uint8Array(PIPE_BUF); // for all lines: a new one for each takes 0.3 us

function writeAllSync(out: { writeSync(bytes: Uint8Array): number }, text: string): void {
  while (text !== "") {
    const { read, written } = encoder.encodeInto(text, chunk);
    text = text.slice(read);
    for (let bytes = chunk.subarray(0, written); bytes.length > 0;) {
      try {
        bytes = bytes.subarray(out.writeSync(bytes));
      } catch (error) {
        if (!(error instanceof Deno.errors.WouldBlock)) throw error;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1); // sleeps 1 ms: it is full
      }
    }
  }
}

function formatText({ levelName, msg }: LogRecord): string {
  if (levelName === "INFO") return msg;
  const colored = levelName !== "DEBUG" && !Deno.noColor && Deno.stderr.isTerminal();
  const color = levelName === "ERROR" ? 31 : 33; // red, yellow
  return colored ? `\x1b[${color}m${levelName}\x1b[0m ${msg}` : `${levelName} ${msg}`;
}

/** A line for the record, or for each student in it. */
function formatJson({ datetime, levelName, msg, args }: LogRecord): string {
  const { students, ...fields } = args[0] as { students?: Student[] };
  // JSON readers round integers beyond 2 ** 53: those go as strings.
  const plain = (_key: string, value: unknown) =>
    typeof value === "bigint" ? (isSid(Number(value)) ? Number(value) : String(value)) : value;
  const line = (more: object) =>
    escape(JSON.stringify({ time: datetime, level: levelName, ...fields, ...more }, plain));
  return students?.map(line).join("\n") ?? line({ message: msg });
}

/**
 * A logger as the lab wants it: the roster to standard output, problems to standard error; `level`
 * is the least that is shown, and `"json"` means a JSON object a line.
 */
export function createLogger(
  level: "DEBUG" | "INFO" | "WARN" | "ERROR" = "INFO",
  format: "text" | "json" = "text",
): LabLogger {
  const formatter = format === "json" ? formatJson : formatText;
  return new Logger("lab", level, { handlers: [new LabHandler(level, { formatter })] });
}

// ------------------------------------------------------------------------- the command line --

const SERVER_HELP = `Lab 3: an iterative TCP server, one client after the other.

Usage: main.ts [options]
       main.ts client --help      about the client

Options, with their defaults:
  --host 127.0.0.1           address to listen at; 0.0.0.0 for every one of this machine
  --port 12000               TCP port, 0 for any free one
  --backlog 10               clients that the kernel queues while one is served
  --idle-timeout 10          seconds for a whole request, 0 for no limit
  --max-message-bytes 4096   longest request
  --log-level INFO           DEBUG, INFO, WARN or ERROR; the roster is INFO
  --log-format text          text, or json: an object a line
  --help, --version

Example: main.ts --host 0.0.0.0 --idle-timeout 3 > roster.txt`;

const CLIENT_HELP = `Lab 2: the client of the lab's server.

Usage: main.ts client --student-name TEXT --github-username TEXT --sid TEXT [options]

Options, with their defaults:
  --host 127.0.0.1           where the server listens
  --port 12000               its TCP port
  --help, --version

Example: main.ts client --student-name "Alice Brown" --github-username abrown --sid 123456789`;

const ADDRESS = { host: HOSTNAME, port: String(PORT) };
const LIMITS = { backlog: "10", "idle-timeout": "10", "max-message-bytes": "4096" };
const SERVER_DEFAULTS = { ...ADDRESS, ...LIMITS, "log-level": "INFO", "log-format": "text" };
const CLIENT_DEFAULTS = { "student-name": "", "github-username": "", sid: "", ...ADDRESS };

/** A wrong command line: one line, exit status 2. */
class UsageError extends Error {}

/** The options' values; one whose default is empty has to be given. */
function parseOptions<T extends Record<string, string>>(args: string[], defaults: T): T {
  const names = Object.keys(defaults);
  const unknown = (arg: string) => {
    if (!arg.startsWith("-")) return;
    throw new UsageError(
      `Unknown option ${arg}: there are --${names.join(", --")}, --help, --version`,
    );
  };
  const { _: rest, ...given } = parseArgs(args, { string: ["_", ...names], unknown });
  const [extra] = (rest as string[]).filter((arg) => arg !== "");
  if (extra) throw new UsageError(`Unexpected ${extra}: a value with spaces needs quotes`);
  const options = { ...defaults, ...given };
  const missing = names.find((name) => !options[name]);
  if (missing === undefined) return options;
  throw new UsageError(`--${missing} needs a value, as --help shows`);
}

function parseNumber(name: string, text: string, min: number, max: number, unit = "an integer") {
  const isWritten = unit === "seconds" ? /^\d+(\.\d+)?$/ : /^\d+$/;
  if (isWritten.test(text) && Number(text) >= min && Number(text) <= max) return Number(text);
  throw new UsageError(`--${name} must be ${unit} from ${min} to ${max}, not ${text}`);
}

function parseChoice<T extends string>(name: string, text: string, choices: T[]): T {
  const choice = choices.find((choice) => choice.toLowerCase() === text.toLowerCase());
  if (choice !== undefined) return choice;
  throw new UsageError(`--${name} must be ${choices.join(" or ")}, not ${text}`);
}

async function runServer(options: typeof SERVER_DEFAULTS): Promise<void> {
  const level = parseChoice("log-level", options["log-level"], ["DEBUG", "INFO", "WARN", "ERROR"]);
  const format = parseChoice("log-format", options["log-format"], ["text", "json"]);
  const stop = new AbortController();
  let pressed = -Infinity; // ^C, when: ms
  for (const signal of ["SIGINT", Deno.build.os === "windows" ? "SIGBREAK" : "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => {
      // The terminal sends ^C to all its processes, and `deno task` sends it on: that is one signal.
      if (signal === "SIGINT" && performance.now() - pressed < 100) return;
      if (stop.signal.aborted) Deno.exit(1); // the second signal: at once
      if (signal === "SIGINT") pressed = performance.now();
      if (signal === "SIGINT" && Deno.stderr.isTerminal()) console.error(); // leave the line of ^C
      stop.abort();
    });
  }
  const { finished } = serve({
    hostname: options.host,
    port: parseNumber("port", options.port, 0, 65535),
    backlog: parseNumber("backlog", options.backlog, 1, 65535),
    idleTimeout: parseNumber("idle-timeout", options["idle-timeout"], 0, 1e6, "seconds") * 1000,
    maxMessageBytes: parseNumber("max-message-bytes", options["max-message-bytes"], 64, 2 ** 24),
    signal: stop.signal,
    logger: createLogger(level, format),
  });
  await finished;
}

async function runClient(options: typeof CLIENT_DEFAULTS): Promise<void> {
  const { host: hostname, "student-name": student_name, "github-username": github_username } =
    options;
  const port = parseNumber("port", options.port, 1, 65535);
  // Digits are an integer, unless it might exceed 64 bits or lose a zero in front.
  const sid = /^(0|-?[1-9]\d{0,17})$/.test(options.sid) ? BigInt(options.sid) : options.sid;
  await submit({ student_name, github_username, sid }, {
    hostname,
    port,
    onGreeting: (id) =>
      console.log(`{'clientid': ${id}} has successfully connected to ${hostname}/${port}`),
    onWaiting: () => console.error("Waiting for our turn: the server takes one client at a time"),
  });
  console.log("Data acknowledged by server and you passed the test");
}

/** What an error means to the person at the terminal, in one line. */
function explain(error: unknown, where: string): string {
  if (error instanceof Deno.errors.AddrInUse) {
    return `The port of ${where} is in use: end the other server, or choose with --port`;
  }
  if (error instanceof Deno.errors.ConnectionRefused) {
    return `No server at ${where}: start it first, or say with --host and --port where it is`;
  }
  const text = error instanceof Error ? error.message : String(error);
  return error instanceof UsageError || error instanceof Fault ? text : `${where}: ${text}`;
}

/** Runs the command line; returns the exit status: 0, or 1 for a failure, or 2 for a wrong line. */
async function main(args: string[]): Promise<number> {
  const isClient = args[0] === "client";
  let where = "";
  try {
    if (args.includes("--version")) console.log(VERSION);
    else if (args.includes("--help")) console.log(isClient ? CLIENT_HELP : SERVER_HELP);
    else {
      const options = isClient
        ? parseOptions(args.slice(1), CLIENT_DEFAULTS)
        : parseOptions(args, SERVER_DEFAULTS);
      where = `${options.host}/${options.port}`;
      await ("sid" in options ? runClient(options) : runServer(options));
    }
    return 0;
  } catch (error) {
    console.error(escape(explain(error, where))); // in one line, whatever is in it
    return error instanceof UsageError ? 2 : 1;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
