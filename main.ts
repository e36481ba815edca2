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
 * The file reads in the order in which a connection lives: the framing, one request, the log,
 * one client, the listening loop, the client's side, the command line.
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import { BaseHandler } from "@std/log/base-handler";
import { Logger, type LogRecord } from "@std/log/logger";
import { decode, encode } from "@std/msgpack";

const VERSION = "1.0.0";

/** What the server answers to a request that it has taken and printed: the lab says `1`. */
const ACKNOWLEDGEMENT = 1;
/** Bytes. A request of the lab takes about 80. */
const MAX_MESSAGE_BYTES = 4096;
/** Containers within containers. A request needs one; a decoder that recurses survives this many. */
const MAX_DEPTH = 64;
/** Bytes asked of the kernel at once: some 800 requests of a client that does not wait. */
const READ_BYTES = 65536;
/** Requests refused in a row that end the session: some clients send every answer back, forever. */
const MAX_REFUSED = 100;
/** ms. The wait that keeps a first answer from arriving together with the greeting. */
const EARLY_MS = 20;
/** ms. How long a closing connection still reads and drops, so that the client can read why. */
const LINGER_MS = 1000;
/** ms. What the current client gets when the server is told to stop. */
const GRACE_MS = 5000;

/** Something a client did wrong; the message says what, to its user and in the log alike. */
export class Fault extends Error {
  /**
   * A fault, to be thrown.
   *
   * @param event The fault in a word: the `event` of its log record.
   * @param message What is wrong, in a person's words.
   * @param outcome What follows: an answer (`"refuse"`), an answer and the end of the connection
   * (`"close"`), or its end without an answer (`"drop"`).
   * @param hint What the log adds for the person who runs the server.
   */
  constructor(
    readonly event: string,
    message: string,
    readonly outcome: "refuse" | "close" | "drop" = "close",
    readonly hint = "",
  ) {
    super(message);
  }
}

// ------------------------------------------------------------ the framing --

// What follows the first byte of a value, for the types 0xc0 to 0xdf of the
// MessagePack specification: the bytes of its length field, and the bytes of
// its body beside what that length counts (an extension has a type byte).
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
 * Finds where each value of a MessagePack stream ends. `decode` wants exactly
 * one whole value, and TCP keeps no boundaries: a read may bring a part of a
 * value, one, or many.
 *
 * The scan goes from header to header and keeps its place between reads, so
 * each byte is looked at once however small the pieces are. It counts the
 * values that are still owed instead of recursing. Its buffer never grows.
 *
 * ```ts ignore
 * const count = await conn.read(framer.free);
 * if (count !== null) framer.filled(count);
 * for (let m = framer.next(); m !== undefined; m = framer.next()) decode(m);
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

  /** Where the next read goes: never empty, since a value that could fill the buffer has been refused. */
  get free(): Uint8Array<ArrayBuffer> {
    if (this.#start > 0) { // move the beginning of an unfinished value to the front
      this.#buffer.copyWithin(0, this.#start, this.#end);
      this.#scan -= this.#start;
      this.#end -= this.#start;
      this.#start = 0;
    }
    return this.#buffer.subarray(this.#end);
  }

  /** Bytes that have arrived and are not handed out: the beginning of a value, after `next()` found no whole one. */
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
   * The bytes of the next whole value, valid until the next use of
   * {@linkcode Framer.free}, or `undefined` when more has to be read first.
   *
   * @throws {Fault} When a header shows that the value will be longer than the
   * limit or nested too deep, or is the one byte that MessagePack never uses.
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
        size += lengthBytes + BODY_BYTES[type - 0xc0];
        if (this.#scan + lengthBytes >= this.#end) return undefined;
        let length = 0;
        for (let i = 1; i <= lengthBytes; i++) {
          length = length * 256 + this.#buffer[this.#scan + i];
        }
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
    // Each value still owed takes a byte at least: the limit is known to be passed before anything is stored.
    if (this.#scan - this.#start + this.#owed + children > this.maxMessageBytes) {
      throw new Fault(
        "too-long",
        `a message may have ${this.maxMessageBytes} bytes, this one is longer`,
      );
    }
    if (children === 0) return;
    if (this.#depth === MAX_DEPTH) {
      throw new Fault("malformed", `nested more than ${MAX_DEPTH} deep`);
    }
    this.#marks[this.#depth++] = this.#owed;
    this.#owed += children;
  }
}

// ---------------------------------------------------------------------------- one request --

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

/** How clients begin that speak no MessagePack. */
const STRANGERS: [starts: string[], what: string][] = [
  [
    ["\x80\x02", "\x80\x03", "\x80\x04", "\x80\x05", "(dp", "}q\0"],
    "a Python pickle: use msgpack.packb and msgpack.unpackb instead",
  ],
  [
    ["GET ", "HEAD ", "POST ", "PUT ", "OPTIONS "],
    "HTTP: not a browser, the lab's client belongs here",
  ],
  [["\x16\x03"], "TLS, as of https: the lab is plain TCP"],
  [['{"', "{'", '["', '"'], "JSON or other text"],
];

function recognize(bytes: Uint8Array): string {
  const text = String.fromCharCode(...bytes.subarray(0, 8));
  const stranger = STRANGERS.find(([starts]) => starts.some((start) => text.startsWith(start)));
  return stranger ? `the wire is MessagePack, and this looks like ${stranger[1]}` : "";
}

// -------------------------------------------------------------------------------- the log --

/** A level of `@std/log` that the server uses. */
export type Level = "DEBUG" | "INFO" | "WARN" | "ERROR";

/** What comes with a record: its first argument in `@std/log`, beside the message in JSON. */
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

/** Where the server reports. A `Logger` of `@std/log` is one. */
export interface LabLogger {
  /** Of interest to a maintainer only: a client has closed. */
  debug(message: string, fields: LogFields): unknown;
  /** As it should be: the lines of the lab. */
  info(message: string, fields: LogFields): unknown;
  /** A client's fault. */
  warn(message: string, fields: LogFields): unknown;
  /** The server's fault. */
  error(message: string, fields: LogFields): unknown;
  /** If these hold records back, as a `FileHandler` does, their `flush` is called before an answer. */
  readonly handlers: object[];
}

/** Makes visible what could forge a line or move the cursor: controls, line separators, overrides. */
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

  constructor(level: Level, json: boolean) {
    super(level, { formatter: json ? formatJson : formatText });
  }

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
  const color = levelName === "WARN" ? "\x1b[33m" : levelName === "ERROR" ? "\x1b[31m" : undefined;
  if (color === undefined || Deno.noColor || !Deno.stderr.isTerminal()) {
    return `${levelName} ${msg}`;
  }
  return `${color}${levelName}\x1b[0m ${msg}`;
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

/** Sends on what a logger's handlers hold back: ours, or a `FileHandler` as well. */
function flush(logger: LabLogger): void {
  for (const handler of logger.handlers as { flush?(): void }[]) handler.flush?.();
}

/** A logger that writes as the lab wants it: its roster to standard output, problems to standard error. */
export function createLogger(
  level: Level = "INFO",
  format: "text" | "json" = "text",
): LabLogger {
  return new Logger("lab", level, { handlers: [new LabHandler(level, format === "json")] });
}

// ----------------------------------------------------------------------------- one client --

const ACK = encode(ACKNOWLEDGEMENT);
/** Many acknowledgements, ready to be sent with one write. */
const ACKS = new Uint8Array(1024 * ACK.length).map((_, i) => ACK[i % ACK.length]);

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
  #refused = 0; // requests in a row
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
    this.#peer = address(conn.remoteAddr);
  }

  /** Serves the client to its end, and returns how many requests were acknowledged. */
  async run(): Promise<number> {
    try {
      this.#watch();
      await this.#greet();
      await this.#converse();
      this.logger.debug(`${this.#peer}: the client has closed`, this.#fields("closed"));
    } catch (error) {
      this.#report(error);
      await this.#sayGoodbye(error).catch(() => {}); // the fault is reported, the rest is its echo
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
    const text = `Stopping: ${this.#peer} has up to ${GRACE_MS / 1000} s to finish`;
    this.logger.info(text, this.#fields("stopping"));
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
    if (left > 0) {
      throw new Fault("truncated", `the stream ended ${left} bytes into a message`, "drop");
    }
  }

  /** An empty map is also how a pickle begins. The byte behind it tells, and gets a moment to come. */
  async #goesOn(): Promise<boolean> {
    const { pending } = this.framer;
    if (pending.length !== 1 || pending[0] !== 0x80) return false;
    this.#reading = this.conn.read(this.framer.free);
    const more = this.#reading.then(() => true);
    return await this.#untilDue(Promise.race([more, delay(EARLY_MS).then(() => false)]));
  }

  /** Answers what has arrived whole: one write to the roster and one to the client for many requests. */
  async #answer(): Promise<void> {
    let taken = 0;
    for (;;) {
      let message: Uint8Array<ArrayBuffer> | undefined;
      try {
        message = this.framer.next();
        if (message === undefined || taken * ACK.length === ACKS.length) {
          await this.#acknowledge(taken);
          taken = 0;
        }
        if (message === undefined) return;
        this.#record(parseRequest(message));
        taken++;
      } catch (error) {
        await this.#acknowledge(taken);
        taken = 0;
        await this.#refuse(error, message);
      }
    }
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
    this.#refused = 0;
    await this.#send(ACKS.subarray(0, count * ACK.length));
  }

  /** Answers a bad request if the connection stays open, throws on what ends it. */
  async #refuse(error: unknown, message: Uint8Array<ArrayBuffer> | undefined): Promise<void> {
    if (!(error instanceof Fault)) throw error;
    const { buffer, byteOffset, length } = this.framer.pending;
    const start = message?.byteOffset ?? byteOffset;
    const hint = recognize(new Uint8Array(buffer, start, byteOffset + length - start));
    if (error.outcome !== "refuse") throw new Fault(error.event, error.message, "close", hint);
    if (hint) throw new Fault("pickle", hint); // the only stranger that begins with a map
    if (++this.#refused === MAX_REFUSED) {
      throw new Fault("refused", `${error.message}; that was refusal ${MAX_REFUSED} in a row`);
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

  /** Sets the one timer for what is due next; when answers have moved that meanwhile, sets it again. */
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
    const waits = this.#acknowledged + this.#refused > 0 && half === 0;
    const outcome = this.#sending || waits ? "drop" : "close";
    if (this.#stopAt <= performance.now()) {
      return new Fault("stopping", "the server stops", outcome);
    }
    if (this.#sending) {
      return new Fault("stalled", `has not read its answers for ${limit}`, outcome);
    }
    if (waits) {
      return new Fault(
        "idle",
        `silent for ${limit} since its answer: the next client's turn`,
        outcome,
      );
    }
    return new Fault(
      "timeout",
      `no whole request within ${limit}${half ? `, only ${half} bytes` : ""}`,
    );
  }

  /** Where all errors of a client meet. */
  #report(error: unknown): void {
    const { logger } = this;
    const say = (text: string) => `${this.#peer}: ${escape(text)}`;
    if (error instanceof Fault) {
      const text = error.hint ? `${error.message} (${error.hint})` : error.message;
      logger.warn(say(text), this.#fields(error.event));
    } else if (isSocketError(error)) { // before a word was said: a health check, no news
      const text = say(`the connection broke: ${error.message}`);
      this.#heard
        ? logger.warn(text, this.#fields("reset"))
        : logger.debug(text, this.#fields("reset"));
    } else {
      const stack = error instanceof Error && error.stack || String(error);
      logger.error(
        say(`a fault of the server: ${stack.replaceAll(/\n\s*/g, " | ")}`),
        this.#fields("bug"),
      );
    }
  }

  #fields(event: string): LogFields {
    return { event, client: this.#peer };
  }
}

function address({ hostname, port }: Deno.NetAddr): string {
  return hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
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

/** How many a server has served. */
export interface Served {
  /** Clients with an acknowledged request. */
  clients: number;
  /** Acknowledged requests. */
  requests: number;
}

/** A running server. */
export interface LabServer {
  /** The address that it listens at. */
  readonly addr: Deno.NetAddr;
  /** Settles when the server has stopped; nothing that a client does rejects it. */
  readonly finished: Promise<Served>;
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
  const served: Served = { clients: 0, requests: 0 };
  let session: Session | undefined;

  const listener = Deno.listen({ hostname, port, tcpBacklog: backlog });
  const addr = listener.addr as Deno.NetAddr;
  const start = { event: "listening", address: addr.hostname, port: addr.port, version: VERSION };
  logger.info(`Listening at ${addr.hostname}/${addr.port}`, start);
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
  async function acceptAll(): Promise<Served> {
    for (let pause = 5; !signal?.aborted; pause = Math.min(pause * 2, 1000)) {
      try {
        // Whatever leaves this loop early closes the listener: serveClient never throws.
        for await (const conn of listener) {
          pause = 5;
          await serveClient(conn);
        }
      } catch (error) { // A failed accept has ended the iterator, not the listener: enter it again.
        const text = `No client can be accepted, next try in ${pause} ms: ${
          (error as Error).message
        }`;
        logger.error(text, { event: "accept" });
        await delay(pause);
      }
    }
    const text = `Served ${count(served.clients, "client")} and ${
      count(served.requests, "request")
    }`;
    logger.info(text, { event: "stopped", ...served });
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

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

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
    throw new Fault(
      "answer",
      `the server refused: ${escape(String(Object(answer).error ?? answer))}`,
    );
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

/** Option: what its value is, its default if it has one, and what it is for. */
type Options = Record<string, [value: string, fallback: string | undefined, purpose: string]>;

const SERVER_OPTIONS = {
  host: ["ADDRESS", "127.0.0.1", "listen at this address"],
  port: ["NUMBER", "12000", "listen at this TCP port, 0 for any free one"],
  backlog: ["NUMBER", "10", "clients that the kernel queues while one is served"],
  "idle-timeout": ["SECONDS", "10", "time for a whole request, 0 for no limit"],
  "max-message-bytes": ["NUMBER", "4096", "longest request"],
  "log-level": ["LEVEL", "INFO", "DEBUG, INFO, WARN or ERROR; the roster is INFO"],
  "log-format": ["FORMAT", "text", "text or json"],
} satisfies Options;

const CLIENT_OPTIONS = {
  "student-name": ["TEXT", undefined, "your name"],
  "github-username": ["TEXT", undefined, "your user name on GitHub"],
  sid: ["ID", undefined, "your student id, a number or any text"],
  host: ["ADDRESS", "127.0.0.1", "where the server listens"],
  port: ["NUMBER", "12000", "its TCP port"],
} satisfies Options;

const SERVER_USAGE = `Lab 3: an iterative TCP server, one client after the other.

Usage: main.ts [options]
       main.ts client --help     about the client

Examples:
  main.ts
  main.ts --host 0.0.0.0 --idle-timeout 3 > roster.txt
  main.ts --port 0 --log-format json`;

const CLIENT_USAGE = `Lab 2: the client of the lab's server.

Usage: main.ts client --student-name TEXT --github-username TEXT --sid ID [options]

Example:
  main.ts client --student-name "Alice Brown" --github-username abrown --sid 123456789`;

function help(usage: string, options: Options): string {
  const lines = Object.entries(options).map(([name, [value, fallback, purpose]]) =>
    `  --${name} ${value}`.padEnd(30) + purpose + (fallback ? ` (${fallback})` : "")
  );
  return `${usage}\n\nOptions, with their defaults:\n${lines.join("\n")}\n  --help, --version`;
}

/** A wrong command line: one line, exit status 2. */
class UsageError extends Error {}

function parseOptions<T extends Options>(args: string[], options: T): Record<keyof T, string> {
  const names = Object.keys(options);
  const parsed = parseArgs(args, {
    string: names,
    unknown: (arg) => {
      if (!arg.startsWith("-")) {
        throw new UsageError(`Unexpected ${arg}: text with spaces needs quotes`);
      }
      throw new UsageError(
        `Unknown option ${arg}: there are --${names.join(", --")}, --help, --version`,
      );
    },
  });
  const values = names.map((name) => {
    const value = parsed[name] ?? options[name][1];
    if (typeof value === "string" && value !== "") return [name, value];
    throw new UsageError(
      `--${name} needs a value: --${name} ${options[name][0]}, ${options[name][2]}`,
    );
  });
  return Object.fromEntries(values);
}

function parseNumber(
  name: string,
  text: string,
  min: number,
  max: number,
  digits = /^\d+$/,
): number {
  const value = Number(text);
  if (digits.test(text) && value >= min && value <= max) return value;
  throw new UsageError(`--${name} must be a number from ${min} to ${max}, not ${escape(text)}`);
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

async function runServer(args: string[]): Promise<void> {
  const options = parseOptions(args, SERVER_OPTIONS);
  const level = parseChoice("log-level", options["log-level"], ["DEBUG", "INFO", "WARN", "ERROR"]);
  const format = parseChoice("log-format", options["log-format"], ["text", "json"]);
  const seconds = parseNumber("idle-timeout", options["idle-timeout"], 0, 1e6, /^\d+(\.\d+)?$/);
  const stop = new AbortController();
  const { finished } = serve({
    hostname: options.host,
    port: parseNumber("port", options.port, 0, 65535),
    backlog: parseNumber("backlog", options.backlog, 1, 65535),
    idleTimeout: seconds * 1000,
    maxMessageBytes: parseNumber("max-message-bytes", options["max-message-bytes"], 64, 2 ** 24),
    signal: stop.signal,
    logger: createLogger(level, format),
  });
  for (const signal of ["SIGINT", Deno.build.os === "windows" ? "SIGBREAK" : "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => {
      if (stop.signal.aborted) Deno.exit(1); // the second signal: at once
      if (signal === "SIGINT" && Deno.stderr.isTerminal()) console.error(); // leave the line of ^C
      stop.abort();
    });
  }
  await finished;
}

async function runClient(args: string[]): Promise<void> {
  const options = parseOptions(args, CLIENT_OPTIONS);
  const [hostname, port] = [options.host, parseNumber("port", options.port, 1, 65535)];
  const student = {
    student_name: options["student-name"],
    github_username: options["github-username"],
    sid: parseSid(options.sid),
  };
  await submit(student, {
    hostname,
    port,
    onGreeting: (id) =>
      console.log(`{'clientid': ${id}} has successfully connected to ${hostname}/${port}`),
    onWaiting: () =>
      console.error("Waiting: the server takes one client at a time, and others are before you"),
  });
  console.log("Data acknowledged by server and you passed the test");
}

/** What an error means to the person at the terminal, in one line. */
function explain(error: unknown): string {
  if (error instanceof Deno.errors.AddrInUse) {
    return "The port is in use: end the other server, or choose with --port";
  }
  if (error instanceof Deno.errors.ConnectionRefused) {
    return "No server is there: start it first, or say where it is with --host and --port";
  }
  if (error instanceof Deno.errors.NotCapable) {
    return "No permission for the network: run it with --allow-net";
  }
  return error instanceof Error ? error.message.split("\n")[0] : String(error);
}

/** Runs the command line; returns the exit status: 0, 1 for a failure, 2 for a wrong command line. */
async function main(args: string[]): Promise<number> {
  const isClient = args[0] === "client";
  const rest = isClient ? args.slice(1) : args;
  try {
    if (rest.includes("--version")) console.log(VERSION);
    else if (!rest.includes("--help")) await (isClient ? runClient(rest) : runServer(rest));
    else if (isClient) console.log(help(CLIENT_USAGE, CLIENT_OPTIONS));
    else console.log(help(SERVER_USAGE, SERVER_OPTIONS));
    return 0;
  } catch (error) {
    console.error(explain(error));
    return error instanceof UsageError ? 2 : 1;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
