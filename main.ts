/**
 * Lab 3: an iterative TCP server. It (1) greets each client with its id, (2) takes the student's
 * name, GitHub user name and student id, (3) prints and acknowledges them, (4) turns to the next
 * client, whatever this one did. On the wire is MessagePack. `main.ts client` is the other end.
 * Run it with `deno run --allow-net main.ts`; `--help` says more.
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import { BaseHandler, type LevelName } from "@std/log/base-handler";
import { Logger, type LogRecord } from "@std/log/logger";
import { decode, encode } from "@std/msgpack";
import project from "./deno.json" with { type: "json" };
export type { LevelName, Logger };
/** The settings of a server, with their defaults. The timeouts are in ms, and 0 is no limit. */
export const DEFAULTS = {
  /** The address to listen at. */ hostname: "127.0.0.1",
  /** The TCP port; 0 is any free one. */ port: 12000,
  /** The length of the kernel's queue: the lab's 10 are too few for a class. */ backlog: 128,
  /** For a whole request, and for a client to read an answer. */ requestTimeout: 10_000,
  /** For silence after an answer: most clients of this lab never close. */ keepAliveTimeout: 2_000,
  /** For the whole visit of one client. */ turnTimeout: 60_000,
  /** The longest request; one of the lab takes about 80 bytes. */ maxMessageBytes: 4096,
};
const ACKNOWLEDGEMENT = 1; // the lab's answer to a request; as MessagePack it is the byte 01
const MAX_DEPTH = 64; // lists and dicts within each other
const READ_BYTES = 16384; // that one read brings at the most
const CLOCK_MS = 50; // how often the limits of the client are checked
const EARLY_MS = 20; // between greeting and answer, if a client sends before it reads
const LINGER_MS = 1000; // after an error: how long we wait for the client to close
const GRACE_MS = 5000; // for the current client to finish when the server stops

/** What went wrong, or how a connection ended: an event for programs, a message for people. */
export class Fault extends Error {
  /** A fault. The log gets both; the client, as a rule, gets `{"error": message}`. */
  constructor(readonly event: string, message: string) {
    super(message.slice(0, 400)); // it may name keys, which can be long
  }
}
// ---------------------------------------------------------------------------- the framing --
const [INT, STR, EXT] = ["an integer", "a string", "an extension type"]; // in words for people
const INVALID = "the byte c1, which MessagePack never uses";
// The formats of the MessagePack specification: [first byte, kind, bytes of data that always
// follow, bytes of the length field, what the length counts]. A row is for all first bytes up to
// the next row. Without a length field, the count is in the first byte: 0x92 is 0x90 + 2, a list
// of 2 values. So the bytes 92 01 02 are the list [1, 2], and the next value begins at index 3.
// deno-fmt-ignore
const FORMATS: [first: number, kind: string, data?: number, length?: number, counts?: string][] = [
  [0x00, INT], // positive fixint; the negative ones come last
  [0x80, "a dict", 0, 0, "pairs"], [0x90, "a list", 0, 0, "values"], // fixmap, fixarray
  [0xa0, STR, 0, 0, "bytes"], [0xc0, "None"], [0xc1, INVALID], [0xc2, "a bool"], // fixstr, nil
  [0xc4, "bytes", 0, 1, "bytes"], [0xc5, "bytes", 0, 2, "bytes"], [0xc6, "bytes", 0, 4, "bytes"],
  [0xc7, EXT], [0xca, "a float", 4], [0xcb, "a float", 8], // ext 8, 16, 32; float 32, 64
  [0xcc, INT, 1], [0xcd, INT, 2], [0xce, INT, 4], [0xcf, INT, 8], // uint 8, 16, 32, 64
  [0xd0, INT, 1], [0xd1, INT, 2], [0xd2, INT, 4], [0xd3, INT, 8], [0xd4, EXT], // int; fixext
  [0xd9, STR, 0, 1, "bytes"], [0xda, STR, 0, 2, "bytes"], [0xdb, STR, 0, 4, "bytes"], // str
  [0xdc, "a list", 0, 2, "values"], [0xdd, "a list", 0, 4, "values"], // array 16, 32
  [0xde, "a dict", 0, 2, "pairs"], [0xdf, "a dict", 0, 4, "pairs"], [0xe0, INT], // map 16, 32
];
const FORMAT_OF = Array.from({ length: 256 }, (_, byte) => FORMATS.findLast(([b]) => b <= byte)!);
const kindOf = (bytes: Uint8Array, at = 0): string => FORMAT_OF[bytes[at]][1];
// The bytes of the value from `at` to `end`, without its first byte and length field.
const content = (bytes: Uint8Array, at = 0, end = bytes.length) =>
  bytes.subarray(at + 1 + (FORMAT_OF[bytes[at]][3] ?? 0), end);

// Returns the index after the value that begins at `at`. If it has not `arrived` whole: the least
// index where it can end. If it is too long, this is over `limit`, and may be Infinity.
function findEnd(bytes: Uint8Array, at: number, arrived: number, limit: number, depth = 0): number {
  if (at >= arrived) return at + 1; // nothing of it is here, but it has a byte at least
  const [first, kind, data = 0, lengthField = 0, counts] = FORMAT_OF[bytes[at]];
  if (kind === EXT || kind === INVALID) throw new Fault("malformed", `${kind}: the lab has none`);
  let end = at + 1 + lengthField;
  if (end > arrived) return end; // the length field is not complete
  let count = lengthField > 0 ? 0 : bytes[at] - first;
  for (let i = at + 1; i < end; i++) count = count * 256 + bytes[i];
  end += data + (counts === "bytes" ? count : 0);
  let values = counts === "pairs" ? count * 2 : counts === "values" ? count : 0; // still to visit
  if (end + values > limit) return Infinity; // each of them has a byte at least
  if (depth === MAX_DEPTH && values > 0) throw new Fault("malformed", `nested over ${depth} deep`);
  while (values > 0 && end < arrived) {
    values--;
    end = findEnd(bytes, end, arrived, limit - values, depth + 1);
  }
  return end + values;
}

/**
 * Finds the messages in a stream of MessagePack values. TCP keeps no boundaries: one read may bring
 * a part of a message, one message, or many. Read again when `next` returns `undefined`.
 */
export class Framer {
  readonly #buffer: Uint8Array<ArrayBuffer>;
  #start = 0; // where the next message begins
  #end = 0; // after the last byte that has arrived

  /** A framer that takes no message of more than `maxMessageBytes`. */
  constructor(readonly maxMessageBytes: number = DEFAULTS.maxMessageBytes) {
    this.#buffer = new Uint8Array(maxMessageBytes + READ_BYTES);
  }

  /** Reads once; returns how many bytes came, or `null` at the end of the stream. */
  async read(conn: { read(space: Uint8Array): Promise<number | null> }): Promise<number | null> {
    this.#buffer.copyWithin(0, this.#start, this.#end); // moves what is left to the front
    this.#end -= this.#start;
    this.#start = 0;
    const count = await conn.read(this.#buffer.subarray(this.#end, this.#end + READ_BYTES));
    this.#end += count ?? 0;
    return count;
  }

  /** Forgets everything, for the next connection. */
  reset(): void {
    this.#start = this.#end = 0;
  }

  /** What has arrived after the last message. */
  pending(): Uint8Array<ArrayBuffer> {
    return this.#buffer.subarray(this.#start, this.#end);
  }

  /**
   * The next message, valid until the next read; or `undefined` when more has to be read first.
   * @throws {Fault} When it is too long, nested too deep, or has what no request has.
   */
  next(): Uint8Array<ArrayBuffer> | undefined {
    const max = this.maxMessageBytes;
    const limit = this.#start + max; // its length is often known before all of it is here
    const end = findEnd(this.#buffer, this.#start, this.#end, limit);
    if (end > limit) throw new Fault("too-long", `over the limit of ${max} bytes (or no msgpack)`);
    if (end > this.#end) return undefined;
    const message = this.#buffer.subarray(this.#start, end);
    this.#start = end;
    return message;
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

const PACK = "send msgpack.packb(d), where d is a dict with the three keys";
// Data of other programs: how it begins (\cB is byte 0x02, \cV 0x16), its name, and the advice.
const STRANGERS: [begins: RegExp, what: string, advice: string][] = [
  [/^\x80[\cB-\cE]|^\([dl]p\d|^[\]}]q\0/, "a Python pickle", "use msgpack, or PYTHONPATH=python"],
  [/^\s*[[{(]\s*'/, "the text of a Python dict", `${PACK}, not str() or repr()`],
  [/^\s*[[{"]/, "JSON text", `${PACK}, not json.dumps()`],
  [/^[A-Z]{3,7} (\/|\*|\w+:)|^HTTP\//, "HTTP", "use a socket and msgpack.packb(d)"],
  [/^\cV\cC/, "TLS, as of https", "the lab is plain TCP"],
  [/^PROXY |^\r\n\r\n\0\r\nQUIT\n/, "HAProxy's PROXY header", "leave out its option send-proxy"],
];
function recognize(bytes: Uint8Array): string | undefined {
  const text = String.fromCharCode(...bytes.subarray(0, 64));
  const found = STRANGERS.find(([begins]) => begins.test(text));
  return found ? `this looks like ${found[1]}: ${found[2]}` : undefined;
}

// The first 16 bytes in hex and as text.
function dump(bytes: Uint8Array): string {
  const first = bytes.subarray(0, 16);
  const hex = Array.from(first, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
  const text = String.fromCharCode(...first).replace(/[^ -~]/g, ".");
  return `${hex}${bytes.length > 16 ? " ..." : ""} "${text}"`;
}

// MessagePack has integers of many widths. `decode` makes a bigint of those of 64 bits.
const isInteger = (value: unknown): value is number | bigint =>
  typeof value === "bigint" || Number.isSafeInteger(value);
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
const wrongKind = (kind: string, must: string) =>
  `must be ${must}, but it is ${kind}${kind === "bytes" ? ": leave out .encode() and b''" : ""}`;

// The value of a field that is of one of these kinds.
function readField(map: Map<string, Uint8Array>, key: string, kinds = [STR]): Student["sid"] {
  const refuse = (reason: string) => new Fault("refused", `${key} ${reason}`);
  const value = map.get(key);
  if (!value) throw refuse(`is missing, the dict has: ${[...map.keys()].join(", ") || "none"}`);
  const kind = kindOf(value);
  if (kinds.includes(INT) && (kind === INT || kind === "a float")) {
    const number = decode(value) as number | bigint;
    if (Number.isSafeInteger(Number(number))) return Number(number); // also a float like 1.0
    if (kind === INT) return number;
  }
  if (kind !== STR) throw refuse(wrongKind(kind, kinds.join(" or ")));
  const text = utf8.decode(content(value)); // with U+FFFD in the place of what is not UTF-8
  if (text.includes("\ufffd")) {
    throw refuse(`is not UTF-8, leave out .encode(): ${dump(content(value))}`);
  }
  if (text.trim() === "") throw refuse("is empty");
  return text;
}

// Reads a message as a request; `following` are the bytes after it, for the error's text. We look
// at the bytes of each field ourselves: `decode` may change a name that is not UTF-8.
function parseRequest(message: Uint8Array, following: Uint8Array): Student {
  const kind = kindOf(message);
  if (kind !== "a dict") {
    const what = kind === INT ? "a number, a length or plain text" : kind; // "A" is the number 65
    const advice = recognize(content(message)) ?? `${PACK}, packed once and alone`; // packed JSON?
    const bytes = dump(new Uint8Array([...message.subarray(0, 17), ...following.subarray(0, 17)]));
    const expected = "expected a dict with the keys student_name, github_username and sid";
    throw new Fault("not-a-map", `${expected}, but ${what} came: ${advice} (${bytes})`);
  }
  const map = new Map<string, Uint8Array>(); // each value as its bytes; a key begins at `at`
  for (let at = message.length - content(message).length; at < message.length;) {
    const keyKind = kindOf(message, at);
    if (keyKind !== STR) throw new Fault("malformed", `a key ${wrongKind(keyKind, STR)}`);
    const keyEnd = findEnd(message, at, message.length, message.length);
    const key = utf8.decode(content(message, at, keyEnd));
    at = findEnd(message, keyEnd, message.length, message.length);
    map.set(key, message.subarray(keyEnd, at));
  }
  return {
    student_name: readField(map, "student_name") as string,
    github_username: readField(map, "github_username") as string,
    sid: readField(map, "sid", [INT, STR]),
  };
}
// ----------------------------------------------------------------------------- one client --
const delay = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const plural = (count: number, noun: string) => `${count} ${noun}${count === 1 ? "" : "s"}`;
const show = (bytes: Uint8Array) => `${plural(bytes.length, "byte")}: ${dump(bytes)}`;
// As text, in one line: an error would have more.
const inspect = (value: unknown) =>
  Deno.inspect(value, { breakLength: Infinity, compact: true }).replace(/\n\s*/g, " ");
const UNSAFE = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu; // could forge lines, move the cursor
const escape = (text: string): string =>
  text.replace(UNSAFE, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
const LIMITS = { // on a client: the setting, and what is said when it is over
  timeout: ["requestTimeout", "no whole request within %s s, %n came (server: --request-timeout)"],
  idle: ["keepAliveTimeout", "silent for %s s after its answer: the next client's turn"],
  stalled: ["requestTimeout", "its answers were left unread for %s s"],
  turn: ["turnTimeout", "its turn of %s s is over"],
} as const;
const LEFT = "left without sending. `unpickling stack underflow`? Run it with PYTHONPATH=python";
const BUG = { event: "bug", message: "the server has failed, not you" };
type Level = "debug" | "info" | "warn" | "error";
const LEVELS: Record<string, Level> = { closed: "debug", left: "info", bug: "error" }; // or warn
// Ends without {"error": ...}: the client has done nothing wrong, is gone, or does not read.
const UNANSWERED = ["closed", "left", "idle", "stalled", "reset"];
// Enough for all requests of one read. A new array for each answer costs 4 % of a request.
const ALL_ACKNOWLEDGED = new Uint8Array(READ_BYTES).fill(ACKNOWLEDGEMENT);
type Wait = [limit: keyof typeof LIMITS, since: number]; // ms of performance.now()
// What a session needs of its server. A new framer for each client costs 5 % of a visit.
type Context = Required<Omit<ServeOptions, "signal">> & { framer: Framer; isTraced: boolean };

// The life of one client, from accept to close: `run` tells it.
class Session {
  requests = 0; // that are printed
  readonly #client: string; // its address, for the log
  #hasSent = false; // whether the client has sent anything
  #hasHungUp = false; // whether we have begun to close
  readonly #turn: Wait = ["turn", performance.now()];
  #waitingFor: Wait = ["timeout", performance.now()]; // the limit that counts now, and since when
  #stoppingAt = Infinity; // when the server was told to stop

  constructor(readonly conn: Deno.TcpConn, readonly server: Context) {
    const { hostname, port } = conn.remoteAddr;
    this.#client = hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
    server.framer.reset();
  }

  async run(): Promise<void> {
    try {
      this.#log("debug", "wire", () => "accepted");
      const { framer } = this.server;
      const reading = framer.read(this.conn); // begins before the greeting: see #greet
      await this.#greet(reading);
      for (let count = await reading; count !== null; count = await framer.read(this.conn)) {
        this.#log("debug", "wire", () => `recv brought ${plural(count!, "byte")}`);
        if (this.#hasHungUp) framer.reset(); // drops what has come: see #hangUp
        else await this.#take();
      }
      await this.#hangUp(this.#ended());
    } catch (error) { // A read or the greeting has failed, maybe because we have closed.
      await this.#hangUp(this.#ended(error));
    } finally {
      this.conn[Symbol.dispose](); // closes it, if it is not closed already
      this.#log("debug", "wire", () => "closed by the server");
    }
  }

  // Step 1. Most clients expect one message from each `recv`. One that sends before it reads could
  // get greeting and answer in the same `recv`, and fail. So we begin to read, then greet; if its
  // request has come by then, the answer waits EARLY_MS.
  async #greet(reading: Promise<number | null>): Promise<void> {
    let isEarly = false;
    reading.then((count) => isEarly = count !== null, () => {}); // if it fails, `run` handles it
    this.conn.setNoDelay(); // each answer goes out at once, however small it is
    await this.#send({ clientid: this.conn.remoteAddr.port });
    if (isEarly) await delay(EARLY_MS);
  }

  async #take(): Promise<void> {
    if (this.#waitingFor[0] === "idle") this.#waitingFor = ["timeout", performance.now()];
    const first = this.#hasSent ? undefined : this.server.framer.pending();
    this.#hasSent = true;
    try {
      await this.#answer();
    } catch (error) {
      const stranger = first && recognize(first);
      await this.#hangUp(stranger ? new Fault("stranger", stranger) : error);
    }
  }

  // Steps 2 and 3: takes every whole request out of what has arrived. Then all of them are printed,
  // and acknowledged in one write, also those that came before a fault.
  async #answer(): Promise<void> {
    const { framer } = this.server;
    const students: Student[] = [];
    try {
      for (let message = framer.next(); message; message = framer.next()) {
        this.#log("debug", "wire", () => `received ${show(message)}`);
        students.push(parseRequest(message, framer.pending()));
        this.#log("debug", "wire", () => `which is ${inspect(students.at(-1))}`);
      }
    } finally {
      if (students.length > 0) {
        this.server.onRequests(students, this.#client);
        this.requests += students.length;
        this.#waitingFor = ["stalled", performance.now()];
        await this.#send(ACKNOWLEDGEMENT, ALL_ACKNOWLEDGED.subarray(0, students.length));
        const hasBegun = framer.pending().length > 0; // the next request
        this.#waitingFor = [hasBegun ? "timeout" : "idle", performance.now()];
      }
    }
  }

  // Sends a value, or bytes that mean it. The kernel may take only a part of them at a time.
  async #send(answer: Parameters<typeof encode>[0], bytes = encode(answer)): Promise<void> {
    this.#log("debug", "wire", () => `send ${show(bytes)}, which is ${inspect(answer)}`);
    try {
      for (let sent = 0; sent < bytes.length;) sent += await this.conn.write(bytes.subarray(sent));
    } catch (error) {
      throw this.#ended(error);
    }
  }

  // Step 4: what it means that the client's stream has ended, or that its socket fails.
  #ended(error?: unknown): Fault {
    const rest = this.server.framer.pending().length;
    if (!this.#hasSent) return new Fault("left", LEFT);
    if (error) return new Fault("reset", `left or crashed before it read its answer (${error})`);
    if (rest === 0) return new Fault("closed", "closed by the client");
    return new Fault("truncated", `the client closed after ${plural(rest, "byte")} of a message`);
  }

  // Hangs up when a time limit has passed: all of them are enforced here, every CLOCK_MS.
  async checkLimits(): Promise<void> {
    const now = performance.now();
    if (this.#hasHungUp && now - this.#waitingFor[1] >= LINGER_MS) this.conn[Symbol.dispose]();
    // An idle client has its answer: if the server stops, there is nothing to wait for.
    const [end, grace] = this.#waitingFor[0] === "idle" ? ["closed", 0] : ["stopping", GRACE_MS];
    if (now >= this.#stoppingAt + grace) await this.#hangUp(new Fault(end, "the server stops"));
    for (const [event, since] of [this.#waitingFor, this.#turn]) {
      const [setting, words] = LIMITS[event];
      const ms = this.server[setting];
      if (ms === 0 || now - since < ms) continue;
      const came = plural(this.server.framer.pending().length, "byte");
      await this.#hangUp(new Fault(event, words.replace("%s", `${ms / 1000}`).replace("%n", came)));
    }
  }

  stop(): void {
    this.#stoppingAt = performance.now();
    this.#log("info", "stopping", () => `the server stops, up to ${GRACE_MS / 1000} s to finish`);
  }

  // All ends of a client meet here: they are reported, and the client is told (not if UNANSWERED).
  // If we closed while bytes are unread, the kernel would send a reset, and the client could lose
  // our answer. So we end only our side, and `run` drops what comes until the client closes, too.
  async #hangUp(error: unknown): Promise<void> {
    if (this.#hasHungUp) return;
    this.#hasHungUp = true;
    this.#waitingFor = ["stalled", performance.now()]; // only its time is used, for LINGER_MS
    const { event, message } = error instanceof Fault ? error : BUG;
    const text = error instanceof Fault ? message : `a fault of the server: ${inspect(error)}`;
    this.#log(LEVELS[event] ?? "warn", event, () => text);
    if (UNANSWERED.includes(event)) return this.conn[Symbol.dispose]();
    await this.#send({ error: message }).catch(() => {}); // the client may be gone
    await this.conn.closeWrite().catch(() => {});
  }

  #log(level: Level, event: string, text: () => string): void {
    if (level === "debug" && !this.server.isTraced) return;
    const client = this.#client;
    this.server.logger[level](() => escape(`${client}: ${text()}`), { event, client });
  }
}
// --------------------------------------------------------------------- the listening loop --
/** What {@linkcode serve} takes, in the manner of `Deno.serve`. */
export interface ServeOptions extends Partial<typeof DEFAULTS> {
  /** Stops the server: no more accepts; the current client has 5 s, or 0 s if it is answered. */
  signal?: AbortSignal;
  /** Called once the server listens. Prints the lab's line if it is left out. */
  onListen?: (address: Deno.NetAddr) => void;
  /** Called before the requests of a read are acknowledged. Prints the lab's lines if left out. */
  onRequests?: (students: Student[], client: string) => void;
  /** Where problems are reported. Standard error if it is left out. */
  logger?: Logger;
}

/** A running server. */
export interface LabServer {
  /** The address that it listens at. */
  readonly addr: Deno.NetAddr;
  /** Settles when it has stopped: how many requests were printed, and from how many clients. */
  readonly finished: Promise<{ clients: number; requests: number }>;
}

/**
 * Starts the iterative server: one client at a time, in the order of arrival.
 * @throws {Deno.errors.AddrInUse} When the port is taken, and what else `Deno.listen` throws.
 */
export function serve(options: ServeOptions = {}): LabServer {
  const settings = { ...DEFAULTS, ...printers(true), logger: createLogger(), ...options };
  const { hostname, port, backlog, maxMessageBytes, logger, signal } = settings;
  const isTraced = logger.levelName === "DEBUG";
  const server = { ...settings, framer: new Framer(maxMessageBytes), isTraced };
  const served = { clients: 0, requests: 0 };
  const listener = Deno.listen({ hostname, port, tcpBacklog: backlog });
  const addr = listener.addr as Deno.NetAddr;
  let session: Session | undefined;

  // The loop that ends only when the signal says so.
  async function acceptClients(): Promise<typeof served> {
    const clock = setInterval(() => session?.checkLimits().catch(console.error), CLOCK_MS);
    let pause = 5; // ms
    while (!signal?.aborted) {
      try {
        for await (const conn of listener) { // An error in this body would close the listener.
          pause = 5;
          session = new Session(conn, server);
          if (signal?.aborted) session.stop(); // the signal came while this client was accepted
          await session.run().catch(console.error);
          served.clients += session.requests > 0 ? 1 : 0;
          served.requests += session.requests;
          session = undefined;
        }
      } catch (error) { // The accept has failed, the listener is still open: loop again.
        const { name, message } = error as Error;
        if (name === "NotConnected") { // The client has gone from the queue: no reason to wait.
          logger.debug(() => `A client was gone before its turn: ${message}`, { event: "gone" });
        } else {
          logger.error(`No accept, next try in ${pause} ms: ${message}`, { event: "accept" });
          await delay(pause);
          pause = Math.min(pause * 2, 1000);
        }
      }
    }
    clearInterval(clock);
    return served;
  }

  function stop(): void {
    listener.close();
    session?.stop();
  }
  settings.onListen(addr);
  if (signal?.aborted) stop();
  signal?.addEventListener("abort", stop);
  return { addr, finished: acceptClients() };
}
// ----------------------------------------------------------------------- the client's side --
/** What {@linkcode submit} takes beside the student. */
export interface SubmitOptions extends Pick<ServeOptions, "hostname" | "port"> {
  /** Called with the client's id when the server has greeted. */
  onGreeting?: (clientid: number) => void;
  /** Called if there is no greeting within a second: another client may be being served. */
  onWaiting?: () => void;
}

/**
 * The lab's client: waits until it is its turn and the server greets, sends the student, and
 * settles when the server has acknowledged.
 * @throws {Fault} When the server refuses, closes, is not the lab's, or does not answer in 10 s.
 */
export async function submit(student: Student, options: SubmitOptions = {}): Promise<void> {
  const { hostname, port, onGreeting, onWaiting } = { ...DEFAULTS, ...options };
  using conn = await Deno.connect({ hostname, port });
  const framer = new Framer();
  let timer = setTimeout(() => onWaiting?.(), 1000);
  const isGreeting = (value: unknown) => isInteger(Object(value).clientid);
  const greeting = await receive(conn, framer, "greeting", isGreeting)
    .finally(() => clearTimeout(timer));
  onGreeting?.(Number(Object(greeting).clientid));
  // `encode` makes a float of a number that needs more than 32 bits, and an integer of a bigint.
  const sid = isInteger(student.sid) ? BigInt(student.sid) : student.sid;
  let request = encode({ ...student, sid });
  while (request.length > 0) request = request.subarray(await conn.write(request));
  const late = new Fault("answer", "the server has the request, but no acknowledgement in 10 s");
  const timeout = new Promise((_, reject) => timer = setTimeout(reject, 10_000, late));
  const isOne = (value: unknown) => isInteger(value) && Number(value) === ACKNOWLEDGEMENT;
  await Promise.race([receive(conn, framer, "acknowledgement", isOne), timeout])
    .finally(() => clearTimeout(timer));
}

// Waits for the next value. What is not right is named, as in the log of the server.
type Test = (value: unknown) => boolean;
async function receive(conn: Deno.TcpConn, framer: Framer, what: string, isRight: Test) {
  const fail = (text: string) => new Fault("answer", text);
  for (let count: number | null = 0; count !== null; count = await framer.read(conn)) {
    const came = framer.pending();
    const message = framer.next();
    if (message === undefined) continue;
    const value = decode(message);
    if (isRight(value)) return value;
    const { error } = Object(value);
    if (typeof error === "string") throw fail(`the server refused: ${error}`);
    const stranger = recognize(came);
    if (stranger) throw fail(`the server's ${what}: ${stranger.split(":")[0]}`);
    throw fail(`not the lab's server: its ${what} is ${inspect(value)} (${dump(came)})`);
  }
  throw fail(`the server has closed without a whole ${what}`);
}
// ------------------------------------------------------------------------ what is printed --
// Writes whole lines. A full pipe that does not block (npx makes such) may take a part of a long
// write, and Deno does not say how much. Pieces of up to 4096 bytes (PIPE_BUF) that end where a
// line ends are taken whole or not at all, and then we try again. Only a longer line is cut.
// `piece` serves all lines: a new array for each of them would cost 5 % of a request.
const encoder = new TextEncoder();
const piece = new Uint8Array(4096);
function writeLine(out: { writeSync(bytes: Uint8Array): number }, line: string): void {
  for (let text = line + "\n"; text !== "";) {
    let { read, written } = encoder.encodeInto(text, piece);
    read = text.lastIndexOf("\n", read - 1) + 1 || read;
    written = piece.lastIndexOf(10, written - 1) + 1 || written; // 10 is "\n"
    text = text.slice(read);
    for (let rest = piece.subarray(0, written); rest.length > 0;) {
      try {
        rest = rest.subarray(out.writeSync(rest));
      } catch (error) {
        const isFull = error instanceof Deno.errors.WouldBlock;
        if (!isFull && out === Deno.stdout) throw error;
        if (!isFull) return; // nobody reads the log any more, but the server goes on
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1); // sleeps 1 ms
      }
    }
  }
}

// Integers over 2 ** 53 become strings: most readers of JSON would round them.
const plain = (_key: string, value: unknown) => typeof value === "bigint" ? `${value}` : value;
const toJson = (fields: object) => escape(JSON.stringify({ time: new Date(), ...fields }, plain));

// The server's product: lines on standard output, whatever the level of the log is.
function printers(isText: boolean): Required<Pick<ServeOptions, "onListen" | "onRequests">> {
  const json = (event: string, fields: object) => toJson({ level: "INFO", event, ...fields });
  const text = ({ student_name, github_username, sid }: Student) =>
    escape(`Connected: Student: ${student_name}, Github Username: ${github_username}, sid: ${sid}`);
  return {
    onListen({ hostname: address, port }) {
      const line = json("listening", { address, port, version: project.version });
      writeLine(Deno.stdout, isText ? `Listening at ${address}/${port}` : line);
    },
    onRequests(students, client) {
      const line = (student: Student) => json("request", { client, ...student });
      writeLine(Deno.stdout, students.map(isText ? text : line).join("\n"));
    },
  };
}

class StderrHandler extends BaseHandler { // @std's ConsoleHandler has standard output only
  override log(line: string): void {
    writeLine(Deno.stderr, line);
  }
}

/** A logger that writes to standard error what is of this level or above, as text or as JSON. */
export function createLogger(level: LevelName = "INFO", format = "text"): Logger {
  const formatter = ({ levelName: level, msg: message, args }: LogRecord) =>
    format === "text" ? `${level} ${message}` : toJson({ level, ...args[0] as object, message });
  return new Logger("lab", level, { handlers: [new StderrHandler(level, { formatter })] });
}
// ------------------------------------------------------------------------ the command line --
// Name, default ("": needed), what is allowed ([]: any text; or [min, max]; or words), help.
type Option = [name: string, preset: string | number, allowed: (string | number)[], help: string];
const OPTIONS: Option[] = [
  ["host", DEFAULTS.hostname, [], "address; with 0.0.0.0 other machines can connect, too"],
  ["port", DEFAULTS.port, [0, 65535], "TCP port, 0 for any free one"],
  ["backlog", DEFAULTS.backlog, [1, 65535], "clients that wait in the kernel's queue"],
  ["request-timeout", DEFAULTS.requestTimeout / 1000, [0, 1e6], "for a whole request"],
  ["keep-alive-timeout", DEFAULTS.keepAliveTimeout / 1000, [0, 1e6], "for silence after an answer"],
  ["turn-timeout", DEFAULTS.turnTimeout / 1000, [0, 1e6], "for the visit of one client"],
  ["max-message-bytes", DEFAULTS.maxMessageBytes, [64, 2 ** 20], "the longest request"],
  ["log-level", "INFO", ["DEBUG", "INFO", "WARN", "ERROR"], "DEBUG shows the wire"],
  ["log-format", "text", ["text", "json"], "text, or json: one object per line"],
  ["student-name", "", [], "client: needed, in quotes if it has spaces"],
  ["github-username", "", [], "client: needed"],
  ["sid", "", [], "client: needed, the student id"],
];
const OF_CLIENT = ["student-name", "github-username", "sid", "host", "port"];
const helpLine = ([name, preset, , help]: Option): string =>
  `  ${`--${name} ${preset || "TEXT"}`.padEnd(26)} ${help}\n`;
const HELP = `Lab 3: an iterative TCP server, one client after the other; and its client.
Usage: main.ts [options]
       main.ts client --student-name "Alice Brown" --github-username abrown --sid 123456789

Options and defaults (timeouts in seconds, 0: no limit; the client has --host and --port, too):
${OPTIONS.map(helpLine).join("")}  --help, --version`;

// Returns the value of an option, in ms if it is a time; or throws what would be right.
function parseValue([name, , allowed]: Option, typed: string): string | number {
  if (typed.trim() === "") throw new Fault("usage", `--${name} needs a value, as --help shows`);
  const [min, max] = allowed;
  if (min === undefined || allowed.includes(typed)) return typed;
  const [unit, size] = name.endsWith("timeout") ? ["seconds", 1000] : ["an integer", 1];
  const value = /^[\d.]+$/.test(typed) ? +typed : NaN;
  if (value >= +min && value <= +max && (size > 1 || Number.isInteger(value))) return value * size;
  const must = typeof min === "string" ? allowed.join(" or ") : `${unit} from ${min} to ${max}`;
  throw new Fault("usage", `--${name} must be ${must}, not ${typed}`);
}

// deno-lint-ignore no-explicit-any -- OPTIONS says what each value is
type Values = Record<string, any>;
// The values by their names in TypeScript: `logLevel` for `--log-level`.
function parseOptions(args: string[], isClient: boolean): Values {
  const options = OPTIONS.filter(([name, preset]) => isClient ? OF_CLIENT.includes(name) : preset);
  const names = options.map(([name]) => name);
  const unknown = (arg: string) => {
    if (arg === "") return; // the value of the option before
    const before = args[args.indexOf(arg) - 1] ?? "";
    let text = `Unknown option ${arg}: there are --${names.join(", --")}, --help, --version`;
    if (names.includes(before.slice(2))) text = `A value that begins with -: ${before}=${arg}`;
    if (!arg.startsWith("-")) text = `Unexpected ${arg}: client comes first, spaces need quotes`;
    throw new Fault("usage", text);
  };
  const given: Values = parseArgs(args.filter((arg) => arg !== "--"), { string: names, unknown });
  return Object.fromEntries(options.map((option) => {
    const [name, preset] = option;
    const key = name.replace(/-(.)/g, (_, letter) => letter.toUpperCase());
    return [key, parseValue(option, `${given[name] ?? preset}`)];
  }));
}

// The first of these signals stops the server, a later one ends it at once. Those within 100 ms of
// the first are the same: a terminal sends ^C to all its processes, and a task runner sends it on.
const SIGNALS = ["SIGINT", Deno.build.os === "windows" ? "SIGBREAK" : "SIGTERM", "SIGHUP"] as const;
async function runServer({ host, logLevel, logFormat, ...settings }: Values): Promise<void> {
  const stop = new AbortController();
  let first = Infinity; // ms
  const onSignal = () => {
    if (performance.now() - first >= 100) Deno.exit(1);
    first = Math.min(first, performance.now());
    stop.abort();
  };
  for (const signal of SIGNALS) Deno.addSignalListener(signal, onSignal);
  const logger = createLogger(logLevel, logFormat);
  const more = { ...printers(logFormat === "text"), hostname: host, logger, signal: stop.signal };
  const { clients, requests } = await serve({ ...settings, ...more }).finished;
  const text = `Served ${plural(clients, "client")} and ${plural(requests, "request")}`;
  createLogger("INFO", logFormat).info(text, { event: "stopped" }); // whatever the level is
}

async function runClient({ host, port, studentName, githubUsername, sid }: Values): Promise<void> {
  // Digits are an integer, unless it might exceed 64 bits or lose a zero in front.
  const id = /^(0|-?[1-9]\d{0,17})$/.test(sid) ? BigInt(sid) : sid;
  const student = { student_name: studentName, github_username: githubUsername, sid: id };
  const onGreeting = (clientid: number) =>
    console.log(`{'clientid': ${clientid}} has successfully connected to ${host}/${port}`);
  const onWaiting = () => console.error("Connected, no greeting yet: is another client served?");
  await submit(student, { hostname: host, port, onGreeting, onWaiting });
  console.log("Data acknowledged by server and you passed the test");
}

// What an error of the system means to the person at the terminal; %s is the address.
const SYSTEM_ERRORS: Record<string, string> = {
  AddrInUse: "The port of %s is in use: end the other server, or choose with --port",
  AddrNotAvailable: "%s is not this machine's address: --host 127.0.0.1, or 0.0.0.0 for all it has",
  ConnectionRefused: "No server at %s: start it first, or say with --host and --port where it is",
  ConnectionReset: "The server at %s has closed: its own window says why",
  PermissionDenied: "The port of %s needs an administrator: choose one over 1023 with --port",
};

// Runs the command line; returns the exit status: 0, or 1 for a failure, or 2 for a wrong line.
async function main(args: string[]): Promise<number> {
  const isClient = args[0] === "client";
  let where = "";
  try {
    if (args.includes("--version")) console.log(project.version);
    else if (args.includes("--help")) console.log(HELP);
    else {
      const values = parseOptions(isClient ? args.slice(1) : args, isClient);
      where = `${values.host}/${values.port}`;
      await (isClient ? runClient(values) : runServer(values));
    }
    return 0;
  } catch (error) {
    const { name, message } = error as Error;
    const known = SYSTEM_ERRORS[name]?.replace("%s", where) ?? `${where}: ${message}`;
    console.error(escape(error instanceof Fault ? message : known));
    return error instanceof Fault && error.event === "usage" ? 2 : 1;
  }
}
if (import.meta.main) Deno.exit(await main(Deno.args));
