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

const ACKNOWLEDGEMENT = 1; // the lab's answer to a request that it has printed
const MAX_MESSAGE_BYTES = 4096; // a request of the lab takes about 80
const MAX_DEPTH = 64; // containers within containers: any recursive decoder survives this many
const READ_BYTES = 65536; // asked of the kernel at once: 800 requests of a client that never waits
const MAX_REFUSALS = 100; // in a row: some clients send every answer back, forever
const EARLY_MS = 20; // keeps a first answer from arriving together with the greeting
const LINGER_MS = 1000; // for a client that was refused to read why, whatever it has under way
const GRACE_MS = 5000; // for the current client when the server is told to stop

/** Something that the other end did wrong; the message says what, to its user and to the log. */
export class Fault extends Error {
  /**
   * A fault, to be thrown.
   *
   * @param event The fault in a word, as in the log record.
   * @param message What is wrong, in a person's words.
   * @param outcome What follows: an answer (`"refuse"`), an answer and the end of the connection
   * (`"close"`), or its end without an answer (`"drop"`).
   */
  constructor(
    readonly event: string,
    message: string,
    readonly outcome: "refuse" | "close" | "drop" = "close",
  ) {
    super(message);
  }
}

// ----------------------------------------------------------------------------- the framing --

// What follows the first byte of a value, for the types 0xc0 to 0xdf of the MessagePack
// specification: the bytes of its length field, and the bytes of its body beside what that
// length counts (an extension has a type byte).
// deno-fmt-ignore
const LENGTH_BYTES = [
  0, 0, 0, 0, 1, 2, 4, 1, 2, 4, 0, 0, 0, 0, 0, 0, // nil to uint 64
  0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 4, 2, 4, 2, 4, // int 8 to map 32
];
// deno-fmt-ignore
const BODY_BYTES = [
  0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 4, 8, 1, 2, 4, 8,
  1, 2, 4, 8, 2, 3, 5, 9, 17, 0, 0, 0, 0, 0, 0, 0,
];

/**
 * Finds where each value of a MessagePack stream ends. `decode` wants exactly one whole value, and
 * TCP keeps no boundaries: a read may bring a part of a value, one, or many.
 *
 * The scan goes from header to header and keeps its place between reads, so each byte is looked at
 * once however small the pieces are. It counts the values that are still owed instead of recursing.
 * Its buffer never grows.
 *
 * ```ts ignore
 * framer.filled(await conn.read(framer.free) ?? 0);
 * for (let m = framer.next(); m !== undefined; m = framer.next()) console.log(decode(m));
 * ```
 */
export class Framer {
  #buffer: Uint8Array<ArrayBuffer>;
  #start = 0; // the first byte of the value at hand
  #scan = 0; // its next header, or its end; may lie beyond what has arrived
  #end = 0; // behind the last byte that has arrived
  #owed = 1; // values to come until the one at hand is whole
  #depth = 0; // containers open around the next header ...
  #marks = new Uint32Array(MAX_DEPTH); // ... each closed when #owed is back at its mark

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
    this.#start =
      this.#scan =
      this.#end =
      this.#depth =
        0;
    this.#owed = 1;
  }

  /**
   * The bytes of the next whole value, valid until the next use of {@linkcode Framer.free}, or
   * `undefined` when more has to be read first.
   *
   * @throws {Fault} When a header shows that the value will be longer than the limit or nested too
   * deep, or is the one byte that MessagePack never uses.
   */
  next(): Uint8Array<ArrayBuffer> | undefined {
    while (this.#owed > 0) {
      if (this.#scan >= this.#end) return undefined;
      const type = this.#buffer[this.#scan];
      let size = 1;
      let children = 0;
      if (type >= 0x80 && type < 0x90) children = (type & 0x0f) * 2; // fixmap
      else if (type >= 0x90 && type < 0xa0) children = type & 0x0f; // fixarray
      else if (type >= 0xa0 && type < 0xc0) size += type & 0x1f; // fixstr
      else if (type === 0xc1) throw new Fault("malformed", "0xc1 is no MessagePack");
      else if (type >= 0xc0 && type < 0xe0) {
        const lengthBytes = LENGTH_BYTES[type - 0xc0];
        if (this.#scan + lengthBytes >= this.#end) return undefined;
        let length = 0;
        for (let i = 1; i <= lengthBytes; i++) length = length * 256 + this.#buffer[this.#scan + i];
        size += lengthBytes + BODY_BYTES[type - 0xc0];
        if (type >= 0xde) children = length * 2; // map
        else if (type >= 0xdc) children = length; // array
        else size += length; // bin, ext, str
      } // else a fixint, of one byte
      this.#advance(size, children);
    }
    if (this.#scan > this.#end) return undefined;
    const message = this.#buffer.subarray(this.#start, this.#scan);
    this.#start = this.#scan;
    this.#owed = 1;
    this.#depth = 0;
    return message;
  }

  #advance(size: number, children: number): void {
    while (this.#depth > 0 && this.#marks[this.#depth - 1] === this.#owed) this.#depth--;
    this.#scan += size;
    this.#owed--;
    // Each value still owed takes a byte at least: too long is known before anything is stored.
    if (this.#scan - this.#start + this.#owed + children > this.maxMessageBytes) {
      throw new Fault("too-long", `longer than the ${this.maxMessageBytes} bytes of a message`);
    }
    if (children === 0) return;
    if (this.#depth === MAX_DEPTH) throw new Fault("malformed", `nested over ${MAX_DEPTH} deep`);
    this.#marks[this.#depth++] = this.#owed;
    this.#owed += children;
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
  typeof value === "string" || typeof value === "bigint" || Number.isSafeInteger(value);

/** Reads one whole MessagePack value as a request, or throws the {@linkcode Fault} that it is. */
function parseRequest(message: Uint8Array): Student {
  // The type byte, not the decoded value: the prototype of that is the client's to choose.
  if ((message[0] & 0xf0) !== 0x80 && message[0] !== 0xde && message[0] !== 0xdf) {
    throw new Fault("not-a-map", "a request is a MessagePack map, this is none");
  }
  let map: Record<string, unknown>;
  try {
    map = decode(message) as typeof map;
  } catch (error) {
    throw new Fault("malformed", `not to be decoded as MessagePack: ${(error as Error).message}`);
  }
  const wrong: string[] = [];
  const take = (key: keyof Student, isValid: (value: unknown) => boolean, kind: string) => {
    if (!Object.hasOwn(map, key)) wrong.push(`${key} is missing`);
    else if (!isValid(map[key])) wrong.push(`${key} must be ${kind}`);
    return map[key];
  };
  const student = {
    student_name: take("student_name", isString, "a string"),
    github_username: take("github_username", isString, "a string"),
    sid: take("sid", isSid, "an integer or a string"),
  };
  if (wrong.length > 0) throw new Fault("refused", wrong.join(", "), "refuse");
  return student as Student;
}

const PICKLE = "a Python pickle: use msgpack.packb and msgpack.unpackb instead";
/** How clients begin that speak no MessagePack, and what to tell them. */
const STRANGERS: [starts: string[], what: string][] = [
  [["\x80\x02", "\x80\x03", "\x80\x04", "\x80\x05", "(dp", "}q\0"], PICKLE],
  [["GET ", "HEAD ", "POST ", "PUT "], "HTTP: not a browser, the lab's client belongs here"],
  [["\x16\x03"], "TLS, as of https: the lab is plain TCP"],
  [['{"', "{'", "[", '"'], "JSON or other text"],
];

/** A word of help for a client of another protocol, by its first bytes. */
function recognize(bytes: Uint8Array): string | undefined {
  const text = String.fromCharCode(...bytes.subarray(0, 8));
  const what = STRANGERS.find(([starts]) => starts.some((start) => text.startsWith(start)))?.[1];
  return what && `the wire is MessagePack, and this looks like ${what}`;
}

// -------------------------------------------------------------------------------- the log --

/** What comes with each record, as its first argument in `@std/log`, and stands in its JSON. */
export interface LogFields {
  /** What has happened, in a word: `request`, `refused`, `idle`, `stopped` and so on. */
  event: string;
  /** The client's address and port. */
  client?: string;
  /** What an acknowledged client has sent. */
  student?: Student;
  /** More, for JSON. */
  [name: string]: unknown;
}

/** Where the server reports: a `Logger` of `@std/log` is one. */
export type LabLogger =
  & Record<"debug" | "info" | "warn" | "error", (message: string, fields: LogFields) => unknown>
  & { handlers: object[] };

/** Makes visible what could forge a line or move the cursor: controls, separators, overrides. */
function escape(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu,
    (char) => "\\u" + char.charCodeAt(0).toString(16).padStart(4, "0"),
  );
}

/**
 * The roster (where the server listens, whom it acknowledged) goes to standard output, all else to
 * standard error. The roster waits for `flush`, so that many requests cost one write: the
 * ConsoleHandler of `@std/log` costs three times as much a line, and has standard output only.
 */
class LabHandler extends BaseHandler {
  #roster = "";

  override handle(record: LogRecord): void {
    const { event } = record.args[0] as LogFields;
    const line = this.format(record) + "\n";
    if (event === "request" || event === "listening") this.#roster += line;
    else this.log(line);
  }

  override log(line: string): void {
    this.flush();
    try {
      writeAllSync(Deno.stderr, line);
    } catch { // Standard error is gone: nobody is left to tell, and the clients still count.
    }
  }

  /** Throws when standard output takes no more; then nobody may be acknowledged. */
  flush(): void {
    const roster = this.#roster;
    this.#roster = "";
    if (roster !== "") writeAllSync(Deno.stdout, roster);
  }
}

function formatText({ levelName, msg }: LogRecord): string {
  if (levelName === "INFO") return msg;
  const colored = levelName !== "DEBUG" && !Deno.noColor && Deno.stderr.isTerminal();
  const color = levelName === "ERROR" ? 31 : 33; // red, yellow
  return colored ? `\x1b[${color}m${levelName}\x1b[0m ${msg}` : `${levelName} ${msg}`;
}

function formatJson({ datetime, levelName, msg, args }: LogRecord): string {
  const { student, ...fields } = args[0] as LogFields;
  const record = { time: datetime, level: levelName, ...fields, ...student, message: msg };
  // JSON readers round integers beyond 2 ** 53: those go as strings.
  const plain = (_key: string, value: unknown) =>
    typeof value === "bigint" ? (isSid(Number(value)) ? Number(value) : String(value)) : value;
  return escape(JSON.stringify(record, plain));
}

const encoder = new TextEncoder();

function writeAllSync(out: { writeSync(bytes: Uint8Array): number }, text: string): void {
  for (let bytes = encoder.encode(text); bytes.length > 0;) {
    try {
      bytes = bytes.subarray(out.writeSync(bytes));
    } catch (error) {
      // A full pipe that another process (npx is one) has made non-blocking: without this wait
      // for its reader the roster would lose lines.
      if (!(error instanceof Deno.errors.WouldBlock)) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

/**
 * A logger as the lab wants it: roster to standard output, problems to standard error.
 *
 * @param level The least that is shown: a client's faults are WARN, the server's are ERROR.
 * @param format `"json"` for a JSON object a line: time, level, event, client, the student's fields.
 */
export function createLogger(
  level: "DEBUG" | "INFO" | "WARN" | "ERROR" = "INFO",
  format: "text" | "json" = "text",
): LabLogger {
  const handler = new LabHandler(level, { formatter: format === "json" ? formatJson : formatText });
  return new Logger("lab", level, { handlers: [handler] });
}

/** Sends on what a logger's handlers hold back, as ours does, and a `FileHandler` of `@std/log`. */
function flush(logger: LabLogger): void {
  try {
    for (const handler of logger.handlers as { flush?(): void }[]) handler.flush?.();
  } catch (error) { // a plain Error: a broken pipe here must not pass for the client's socket
    throw new Error(`the roster cannot be written: ${(error as Error).message}`);
  }
}

// ----------------------------------------------------------------------------- one client --

const ACK = encode(ACKNOWLEDGEMENT);

const delay = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** The operating system's word about a connection, as opposed to a fault of this program. */
const isSocketError = (error: unknown): error is Error => error instanceof Error && "code" in error;

/** The life of one client, from accept to close: `run` tells it. */
class Session {
  readonly #peer: string;
  #reading: Promise<number | null> | undefined;
  #heard = false; // anything at all from the client
  #early = false; // its request was there before the greeting, and no answer has been sent
  #acknowledged = 0; // requests
  #refusals = 0; // in a row
  #sending = false;
  #since = performance.now(); // ms, accept or the last answer: the limits count from here
  #stopAt = Infinity; // ms
  #timer: ReturnType<typeof setTimeout> | undefined;
  #interrupt: (fault: Fault) => void = () => {};

  constructor(
    readonly conn: Deno.TcpConn,
    readonly framer: Framer,
    readonly logger: LabLogger,
    readonly idleTimeout: number,
  ) {
    const { hostname, port } = conn.remoteAddr;
    this.#peer = hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
  }

  /** Serves the client to its end, and returns how many requests were acknowledged. */
  async run(): Promise<number> {
    try {
      this.#watch();
      await this.#greet();
      await this.#converse();
      this.#log("debug", "closed", "the client has closed");
    } catch (error) {
      this.#report(error);
      await this.#sayGoodbye(error).catch(() => {}); // the fault is reported, the rest its echo
    } finally {
      clearTimeout(this.#timer);
      this.conn[Symbol.dispose]();
    }
    return this.#acknowledged;
  }

  /** The server stops: the client may finish, but not for long. */
  stop(): void {
    this.#stopAt = performance.now() + GRACE_MS;
    this.#watch();
    this.#log("info", "stopping", `up to ${GRACE_MS / 1000} s to finish, the server stops`);
  }

  /**
   * Step 1. The first read begins before the greeting is written. Both wait for the kernel's first
   * word on the new connection, so a read that ends first has found its request there already: a
   * client that sends before it reads. One that has read the greeting cannot be so early.
   */
  async #greet(): Promise<void> {
    this.conn.setNoDelay();
    this.framer.reset();
    let greeted = false;
    this.#reading = this.conn.read(this.framer.free);
    this.#reading.then(() => this.#early = !greeted, () => {});
    await this.#write(encode({ clientid: this.conn.remoteAddr.port }));
    greeted = true;
  }

  /** Steps 2 to 4: reads and answers until the stream ends. */
  async #converse(): Promise<void> {
    for (let count: number | null = 0; count !== null;) {
      count = await this.#untilDue(this.#reading ??= this.conn.read(this.framer.free));
      this.#reading = undefined;
      if (count !== null) {
        this.#heard = true;
        this.framer.filled(count);
        if (await this.#goesOn()) continue;
      }
      await this.#answer();
    }
    const left = this.framer.pending.length;
    if (left > 0) throw new Fault("truncated", `the stream ended ${left} bytes into one`, "drop");
  }

  /** A lone 0x80 is an empty map, or begins a pickle: what follows gets a moment to tell. */
  async #goesOn(): Promise<boolean> {
    const { pending } = this.framer;
    if (pending.length !== 1 || pending[0] !== 0x80) return false;
    this.#reading = this.conn.read(this.framer.free);
    const more = this.#reading.then(() => true);
    return await this.#untilDue(Promise.race([more, delay(EARLY_MS).then(() => false)]));
  }

  /** Answers what has arrived whole: one write to the roster and one to the client for many. */
  async #answer(): Promise<void> {
    let taken = 0;
    for (;;) {
      let message: Uint8Array<ArrayBuffer> | undefined;
      try {
        message = this.framer.next();
        if (message === undefined) break;
        this.#record(parseRequest(message));
        taken++;
      } catch (error) {
        await this.#acknowledge(taken);
        taken = 0;
        await this.#refuse(error, message);
      }
    }
    await this.#acknowledge(taken);
  }

  #record(student: Student): void {
    const { student_name, github_username, sid } = student;
    const line =
      `Connected: Student: ${student_name}, Github Username: ${github_username}, sid: ${sid}`;
    this.logger.info(escape(line), { event: "request", client: this.#peer, student });
  }

  /** Step 3, after the roster has its lines: who is acknowledged is never missing from it. */
  async #acknowledge(count: number): Promise<void> {
    if (count === 0) return;
    flush(this.logger);
    this.#acknowledged += count;
    this.#refusals = 0;
    const { length } = ACK;
    await this.#send(
      count === 1 ? ACK : new Uint8Array(count * length).map((_, i) => ACK[i % length]),
    );
  }

  /** Answers a bad request if the connection stays open, throws on what ends it. */
  async #refuse(error: unknown, message: Uint8Array<ArrayBuffer> | undefined): Promise<void> {
    if (!(error instanceof Fault)) throw error;
    const { buffer, byteOffset, length } = this.framer.pending;
    const start = message?.byteOffset ?? byteOffset;
    const hint = recognize(new Uint8Array(buffer, start, byteOffset + length - start));
    if (hint) throw new Fault(hint.includes(PICKLE) ? "pickle" : error.event, hint);
    if (error.outcome !== "refuse") throw error;
    if (++this.#refusals === MAX_REFUSALS) {
      throw new Fault("refused", `${error.message}; refused ${MAX_REFUSALS} times in a row`);
    }
    this.#report(error);
    await this.#send(encode({ error: error.message }));
  }

  /** Sends an answer; the limits begin anew with it. */
  async #send(bytes: Uint8Array): Promise<void> {
    this.#sending = true;
    this.#since = performance.now();
    await this.#write(bytes);
    this.#sending = false;
    this.#since = performance.now();
  }

  async #write(bytes: Uint8Array): Promise<void> {
    if (this.#early) {
      this.#early = false;
      await this.#untilDue(delay(EARLY_MS));
    }
    let sent = await this.#untilDue(this.conn.write(bytes));
    while (sent < bytes.length) sent += await this.#untilDue(this.conn.write(bytes.subarray(sent)));
  }

  /**
   * Tells the client what is wrong, and lingers: a close with unread bytes in the kernel would
   * reset the connection, and the reset destroys the answer on its way.
   */
  async #sayGoodbye(error: unknown): Promise<void> {
    if (isSocketError(error) || error instanceof Fault && error.outcome === "drop") return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.conn[Symbol.dispose](), LINGER_MS);
    const text = error instanceof Fault ? error.message : "the server has failed, not you";
    await this.#write(encode({ error: text }));
    await this.conn.closeWrite();
    do {
      this.framer.reset();
      this.#reading ??= this.conn.read(this.framer.free);
    } while (await this.#reading.finally(() => this.#reading = undefined) !== null);
  }

  /** Awaits an operation, or throws the fault of the limit that passes before it ends. */
  #untilDue<T>(operation: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#interrupt = reject;
      operation.then(resolve, reject);
    });
  }

  /** Sets the one timer for what is due next; where answers have moved that, sets it again. */
  #watch(): void {
    clearTimeout(this.#timer);
    const due = Math.min(this.#since + (this.idleTimeout || Infinity), this.#stopAt);
    const left = Math.ceil(due - performance.now());
    if (left <= 0) this.#interrupt(this.#overdue());
    else if (left < Infinity) {
      this.#timer = setTimeout(() => this.#watch(), Math.min(left, 2 ** 30));
    }
  }

  #overdue(): Fault {
    const limit = `${this.idleTimeout / 1000} s`;
    const half = this.framer.pending.length;
    const waits = this.#acknowledged + this.#refusals > 0 && half === 0;
    const outcome = this.#sending || waits ? "drop" : "close";
    if (this.#stopAt <= performance.now()) {
      return new Fault("stopping", "the server stops", outcome);
    }
    if (this.#sending) return new Fault("stalled", `its answers stay unread for ${limit}`, outcome);
    if (waits) {
      return new Fault("idle", `silent ${limit} since its answer: the next client's turn`, outcome);
    }
    return new Fault(
      "timeout",
      `no whole request within ${limit}${half ? `, only ${half} bytes` : ""}`,
    );
  }

  /** Where all errors of a client meet. */
  #report(error: unknown): void {
    if (error instanceof Fault) this.#log("warn", error.event, error.message);
    else if (isSocketError(error)) { // before a word was said it is a health check: no news
      const level = this.#heard ? "warn" : "debug";
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
  const { hostname = "127.0.0.1", port = 12000, backlog = 10, idleTimeout = 10_000 } = options;
  const { signal, logger = createLogger() } = options;
  const framer = new Framer(options.maxMessageBytes); // one client at a time: one buffer for all
  const served = { clients: 0, requests: 0 };
  let session: Session | undefined;

  const listener = Deno.listen({ hostname, port, tcpBacklog: backlog });
  const addr = listener.addr as Deno.NetAddr;
  const fields = { event: "listening", address: addr.hostname, port: addr.port, version: VERSION };
  logger.info(`Listening at ${addr.hostname}/${addr.port}`, fields);
  flush(logger);
  options.onListen?.(addr);

  async function serveClient(conn: Deno.TcpConn): Promise<void> {
    try {
      session = new Session(conn, framer, logger, idleTimeout);
      const requests = await session.run();
      served.clients += requests > 0 ? 1 : 0;
      served.requests += requests;
    } catch (error) { // Not even the report went well. Still no reason to stop.
      console.error(error);
    }
    session = undefined;
  }

  /** The loop that ends only when `stop` has closed the listener. */
  async function acceptAll(): Promise<typeof served> {
    for (let pause = 5; !signal?.aborted; pause = Math.min(pause * 2, 1000)) {
      try {
        // Whatever leaves this loop early closes the listener: serveClient never throws.
        for await (const conn of listener) {
          pause = 5;
          await serveClient(conn);
        }
      } catch (error) { // A failed accept has ended the iterator, not the listener: enter it again.
        const reason = (error as Error).message;
        logger.error(`No client can be accepted, next try in ${pause} ms: ${reason}`, {
          event: "accept",
        });
        await delay(pause);
      }
    }
    const text = `${count(served.clients, "client")} and ${count(served.requests, "request")}`;
    logger.info(`Served ${text}`, { event: "stopped", ...served });
    return served;
  }

  function stop(): void {
    listener.close();
    session?.stop();
  }
  if (signal?.aborted) stop();
  signal?.addEventListener("abort", stop, { once: true });
  return { addr, finished: acceptAll() };
}

const count = (number: number, noun: string) => `${number} ${noun}${number === 1 ? "" : "s"}`;

// ------------------------------------------------------------------------ the client's side --

/** What {@linkcode submit} takes beside the student. */
export interface SubmitOptions {
  /** The server's address. @default {"127.0.0.1"} */
  hostname?: string;
  /** The server's TCP port. @default {12000} */
  port?: number;
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
  const { hostname = "127.0.0.1", port = 12000 } = options;
  const waiting = setTimeout(() => options.onWaiting?.(), 1000);
  try {
    using conn = await Deno.connect({ hostname, port });
    conn.setNoDelay();
    const framer = new Framer();
    const { clientid } = Object(await receive(conn, framer));
    clearTimeout(waiting);
    if (!Number.isInteger(clientid)) throw new Fault("answer", "this is not the lab's server");
    options.onGreeting?.(clientid);
    let request = encode({ ...student });
    while (request.length > 0) request = request.subarray(await conn.write(request));
    const answer = await receive(conn, framer);
    if (answer === ACKNOWLEDGEMENT) return;
    const reason = escape(String(Object(answer).error ?? answer));
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

const ADDRESS = { host: "127.0.0.1", port: "12000" };
const LIMITS = { backlog: "10", "idle-timeout": "10", "max-message-bytes": "4096" };
const SERVER_OPTIONS = { ...ADDRESS, ...LIMITS, "log-level": "INFO", "log-format": "text" };
const CLIENT_OPTIONS = { "student-name": "", "github-username": "", sid: "", ...ADDRESS };

/** A wrong command line: one line, exit status 2. */
class UsageError extends Error {}

/** The options' values; one whose default is empty has to be given. */
function parseOptions<T extends Record<string, string>>(args: string[], defaults: T): T {
  const names = Object.keys(defaults);
  const unknown = (arg: string) => {
    const right = `there are --${names.join(", --")}, --help, --version`;
    if (arg.startsWith("-")) throw new UsageError(`Unknown option ${escape(arg)}: ${right}`);
    throw new UsageError(`Unexpected ${escape(arg)}: a value with spaces needs quotes`);
  };
  const options = { ...defaults, ...parseArgs(args, { string: names, unknown }) };
  const missing = names.find((name) => !options[name]);
  if (missing) throw new UsageError(`--${missing} needs a value, as --help shows`);
  return options;
}

function parseNumber(name: string, text: string, min: number, max: number, kind = "number") {
  const value = Number(text);
  const isWritten = kind === "seconds" ? /^\d+(\.\d+)?$/ : /^\d+$/;
  if (isWritten.test(text) && value >= min && value <= max) return value;
  throw new UsageError(`--${name} must be a ${kind} from ${min} to ${max}, not ${escape(text)}`);
}

function parseChoice<T extends string>(name: string, text: string, choices: T[]): T {
  const choice = choices.find((choice) => choice.toLowerCase() === text.toLowerCase());
  if (choice !== undefined) return choice;
  throw new UsageError(`--${name} must be ${choices.join(" or ")}, not ${escape(text)}`);
}

/** An integer if it is written as one and fits 64 bits, else text: some ids begin with a zero. */
function parseSid(text: string): Student["sid"] {
  if (!/^(0|-?[1-9]\d{0,18})$/.test(text)) return text;
  const integer = BigInt(text);
  if (integer !== BigInt.asIntN(64, integer)) return text;
  return integer >= -(2n ** 31n) && integer < 2n ** 32n ? Number(text) : integer;
}

async function runServer(options: typeof SERVER_OPTIONS): Promise<void> {
  const level = parseChoice("log-level", options["log-level"], ["DEBUG", "INFO", "WARN", "ERROR"]);
  const format = parseChoice("log-format", options["log-format"], ["text", "json"]);
  const stop = new AbortController();
  for (const signal of ["SIGINT", Deno.build.os === "windows" ? "SIGBREAK" : "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => {
      if (stop.signal.aborted) Deno.exit(1); // the second signal: at once
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

async function runClient(options: typeof CLIENT_OPTIONS): Promise<void> {
  const { host: hostname, "student-name": student_name, "github-username": github_username } =
    options;
  const port = parseNumber("port", options.port, 1, 65535);
  await submit({ student_name, github_username, sid: parseSid(options.sid) }, {
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
  if (error instanceof Deno.errors.NotCapable) return "No permission: run it with --allow-net";
  const text = error instanceof Error ? error.message.split("\n")[0] : String(error);
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
        ? parseOptions(args.slice(1), CLIENT_OPTIONS)
        : parseOptions(args, SERVER_OPTIONS);
      where = `${options.host}/${options.port}`;
      await ("sid" in options ? runClient(options) : runServer(options));
    }
    return 0;
  } catch (error) {
    console.error(explain(error, where));
    return error instanceof UsageError ? 2 : 1;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
