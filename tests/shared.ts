/**
 * What the tests of the server share: what may run here, a server in this process, a client that does
 * as it is told, and the programs of the project as processes of their own.
 *
 * `deno task test` gives the permissions. Without them the tests that need the network or a
 * subprocess are reported as ignored, and the rest runs.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { BaseHandler } from "@std/log/base-handler";
import { Logger } from "@std/log/logger";
import { encode } from "@std/msgpack";
import { type Fault, Framer, serve, submit } from "../main.ts";
import type { ServeOptions, Student } from "../main.ts";
import { Client as WireClient } from "../tools/shared/client.ts";
import { ROOT } from "../tools/shared/config.ts";
import { Process } from "../tools/shared/process.ts";

// ------------------------------------------------------------------------ what may run here --

async function isGranted(...permissions: Deno.PermissionDescriptor[]): Promise<boolean> {
  for (const permission of permissions) {
    if ((await Deno.permissions.query(permission)).state !== "granted") return false;
  }
  return true;
}

/** Whether the network of this machine may be used. */
export const NET = await isGranted({ name: "net", host: "127.0.0.1" }, {
  name: "net",
  host: "[::1]",
});
/** Whether programs may be run. */
export const RUN = NET && await isGranted({ name: "run" }, { name: "read" }, { name: "write" });
if (!RUN) console.log("Ignoring what needs a network or a subprocess: deno task test allows it");

/** The output of a program, or nothing when it is not there or fails. */
export async function probe(program: string, ...args: string[]): Promise<string | undefined> {
  try {
    const { success, stdout } = await new Deno.Command(program, { args, stderr: "null" }).output();
    return success ? new TextDecoder().decode(stdout) : undefined;
  } catch {
    return undefined;
  }
}

/** Whether a program is here and may be run. */
export async function isHere(program: string, ...args: string[]): Promise<boolean> {
  return RUN && await probe(program, ...args) !== undefined;
}

/** Whether this is Windows. */
export const WINDOWS = Deno.build.os === "windows";
/** Whether this is Linux. */
export const LINUX = Deno.build.os === "linux";
/** On Windows each signal that a program sends ends the other one at once, and none pauses it. */
export const UNIX_SIGNALS = !WINDOWS;
/** Debian's own Python, which finds Debian's python3-msgpack. */
export const PY = "/usr/bin/python3";
/** Whether Python with the package msgpack is here. A Mac has none as a rule, and Windows never. */
export const PYTHON = !WINDOWS && await isHere(PY, "-c", "import msgpack");

type TestBody = (t: Deno.TestContext) => Promise<void>;

/** A test that needs the network. */
export function netTest(name: string, fn: TestBody, isThere = true): void {
  Deno.test({ name, ignore: !NET || !isThere, fn });
}

/** A test that runs programs. */
export function runTest(name: string, fn: TestBody, isThere = true): void {
  Deno.test({ name, ignore: !RUN || !isThere, fn });
}

/** One test with a step for each row; the first column is the name of the step. */
export function table<Row extends [string, ...unknown[]]>(
  name: string,
  rows: Row[],
  body: (...row: Row) => Promise<void>,
): void {
  netTest(name, async (t) => {
    for (const row of rows) await t.step(row[0], () => body(...row));
  });
}

/** The client's own slowness, where that is what is tested. Nothing else sleeps here. */
export function slowness(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

// ---------------------------------------------------------------------------- what is sent --

/** The student of the examples. */
export const ALICE = { student_name: "Alice Brown", github_username: "abrown", sid: 123456789 };
/** Her line on the roster. */
export const ALICE_LINE =
  "Connected: Student: Alice Brown, Github Username: abrown, sid: 123456789";
/** Her request. */
export const REQUEST = encode(ALICE);
/** The acknowledgement. */
export const ACK = 1;

/** A MessagePack value that `encode` takes. */
export type Value = Parameters<typeof encode>[0];

/** A request of Alice with other values. */
export const but = (fields: Record<string, Value>) => encode({ ...ALICE, ...fields });

const pickled = bytes("}", 0x94, 0x8c, 12, "student_name", 0x94, 0x8c, 5, "Alice", 0x94, "s.");
/** What follows the protocol's number in a pickle of protocol 4 or 5. */
export const PICKLED_FRAME = bytes(0x95, 30, 0, 0, 0, 0, 0, 0, 0, pickled);

/** Bytes from numbers, from other bytes, and from text of one byte per character. */
export function bytes(
  ...parts: (string | number | ArrayLike<number>)[]
): Uint8Array<ArrayBuffer> {
  const all = parts.map((part) =>
    typeof part === "string"
      ? Array.from(part, (char) => char.charCodeAt(0))
      : typeof part === "number"
      ? [part]
      : part
  );
  const joined = new Uint8Array(all.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of all) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** A request with values that are given as bytes, and a key of no meaning. */
export function rawRequest(fields: Record<string, Uint8Array>): Uint8Array<ArrayBuffer> {
  const whole: Record<string, Uint8Array> = { extra: encode([{}]), ...fields };
  for (const [key, value] of Object.entries(ALICE)) whole[key] ??= encode(value);
  const entries = Object.entries(whole);
  return bytes(0x80 + entries.length, ...entries.flatMap(([key, each]) => [encode(key), each]));
}

/** Every type that a request may have, with every length at which the encoding changes. */
export function everyType(): Uint8Array[] {
  const lengths = [0, 1, 15, 16, 31, 32, 255, 256, 65535, 65536];
  const map = (size: number) =>
    Object.fromEntries(Array.from({ length: size }, (_, i) => [`k${i}`, i]));
  const values = [
    ...[null, true, false, 1.5, -0.1, NaN, Infinity],
    ...[0, 1, 127, 128, 255, 256, 65535, 65536, 2 ** 32 - 1],
    ...[-1, -32, -33, -128, -129, -32768, -32769, -(2 ** 31)],
    ...[2n ** 63n - 1n, -(2n ** 63n), 2n ** 64n - 1n, 0n],
    ...lengths.map((length) => "x".repeat(length)),
    ...lengths.map((length) => new Uint8Array(length)),
    ...lengths.map((length) => new Array(length).fill(7)),
    ...lengths.map(map),
    [[], {}, [[]], { a: [{ b: [null] }] }, "", [1, [2, [3]], 4]],
  ];
  const float32 = bytes(0xca, 0x3f, 0x80, 0, 0); // which encode never makes
  return [...values.map((value) => encode(value)), float32];
}

/** Each byte in a piece of its own. */
export function oneByOne(whole: Uint8Array): Uint8Array[] {
  return Array.from(whole, (_, i) => whole.subarray(i, i + 1));
}

/** What a framer finds when the bytes come in these pieces, and how it goes on behind that. */
export async function frames(
  pieces: Uint8Array[],
  limit = 1 << 20,
): Promise<[Uint8Array[], string]> {
  const framer = new Framer(limit);
  const found: Uint8Array[] = [];
  const rest = pieces.toReversed();
  let largest = 0;
  const read = (space: Uint8Array) => {
    largest = Math.max(largest, space.buffer.byteLength);
    assert(space.length > 0);
    const piece = rest.pop();
    if (piece === undefined) return Promise.resolve(null);
    const count = Math.min(piece.length, space.length);
    space.set(piece.subarray(0, count));
    if (count < piece.length) rest.push(piece.subarray(count));
    return Promise.resolve(count);
  };
  try {
    do {
      for (let message; (message = framer.next()) !== undefined;) found.push(message.slice());
    } while (await framer.read({ read }) !== null);
    return [found, framer.pending().length > 0 ? "more" : "end"];
  } catch (error) {
    return [found, (error as Fault).event ?? error];
  } finally {
    assert(largest <= limit + 65536); // room for the longest message and one read
  }
}

// ------------------------------------------------------------------- a server in this process --

/** What a log keeps: all, or problems alone. */
type Level = "DEBUG" | "WARN";

/** A record of the log. */
export interface Entry {
  /** The name of its level. */
  level: string;
  /** Its text for people. */
  message: string;
  /** What has happened. */
  event: string;
  /** The client's address. */
  client?: string;
}

/** Keeps the records, and tells who waits for one. */
export class Capture extends BaseHandler {
  /** The records so far. */
  readonly entries: Entry[] = [];
  #waiting: (() => void)[] = [];

  /** Keeps the records of this level and above. */
  constructor(level: Level) {
    super(level);
  }

  /** Takes a record. */
  override handle({ levelName: level, msg: message, args }: Parameters<BaseHandler["handle"]>[0]) {
    const { event, client } = args[0] as Entry;
    this.entries.push({ level, message, event, client });
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** Writes nothing. */
  override log() {}

  /** The records of these levels. */
  of(...levels: string[]): Entry[] {
    return this.entries.filter(({ level }) => levels.includes(level));
  }

  /** The record of this event; a missing one fails the test. */
  async until(event: string, count = 1): Promise<Entry> {
    const found = () => this.entries.filter((entry) => entry.event === event);
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(new Error(`no record "${event}" within 20 s`)), 20_000);
    try {
      while (found().length < count) {
        await Promise.race([late, new Promise<void>((resolve) => this.#waiting.push(resolve))]);
      }
      return found()[count - 1];
    } finally {
      clearTimeout(timer);
    }
  }
}

/**
 * A server in this process; disposing of it stops it and proves that it could be stopped. Its limits
 * are long, so that a busy machine is not taken for a slow client.
 */
export class Lab {
  /** What it has logged. */
  readonly log: Capture;
  /** Whom it has printed. */
  readonly roster: Student[] = [];
  readonly #stop = new AbortController();
  readonly #server;
  #checks = 0;
  /** Where it listens. */
  readonly port: number;

  /** Starts it. Its log is kept from this level on. */
  constructor(readonly options: ServeOptions = {}, level: Level = "DEBUG") {
    this.log = new Capture(level);
    this.#server = serve({
      port: 0,
      requestTimeout: 30_000,
      keepAliveTimeout: 30_000,
      signal: this.#stop.signal,
      logger: new Logger("test", level, { handlers: [this.log] }),
      onListen: () => {},
      onRequests: (students) => void this.roster.push(...students),
      ...options,
    });
    this.port = this.#server.addr.port;
  }

  /** What it has served, when it has stopped. */
  get served() {
    return this.#server.finished;
  }

  /** Tells it to stop. */
  stop(): void {
    this.#stop.abort();
  }

  /** A client that is connected. */
  connect(): Promise<Client> {
    return Client.connect(this.port, this.options.hostname);
  }

  /** A client that has been greeted. */
  visit(): Promise<Client> {
    return visit(this.port, this.options.hostname);
  }

  /** A well-behaved client is served: the proof that nothing before it has done harm. */
  async check(): Promise<void> {
    const sid = 900_000_000 + this.#checks++;
    await submit({ ...ALICE, sid }, { hostname: this.options.hostname, port: this.port });
    assertEquals(this.roster.filter((student) => student.sid === sid), [{ ...ALICE, sid }]);
  }

  /** The one WARN record that this client has got, and no ERROR. */
  async warning(client: Client, event: string): Promise<string> {
    await this.log.until(event);
    const own = this.log.of("WARN", "ERROR").filter((entry) => entry.client === client.name);
    assertEquals(own.map((entry) => [entry.level, entry.event]), [["WARN", event]]);
    assert(own[0].message.startsWith(client.name + ": "), own[0].message);
    return own[0].message.slice(client.name.length + 2);
  }

  /** Stops it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.stop();
    await this.#server.finished;
  }
}

// --------------------------------------------------------------------------------- a client --

const PATIENCE_MS = 20_000;

/** A client that does as it is told. What does not come within 20 s fails the test. */
export class Client {
  /** Its address, as the log has it. */
  readonly name: string;
  /** Its port, which the server greets it with. */
  readonly id: number;

  private constructor(readonly wire: WireClient, hostname: string) {
    this.id = wire.localPort;
    this.name = `${hostname.includes(":") ? `[${hostname}]` : hostname}:${this.id}`;
  }

  /** Connects. */
  static async connect(port: number, hostname = "127.0.0.1", ms = PATIENCE_MS): Promise<Client> {
    return new Client(await WireClient.connect(hostname, port, ms), hostname);
  }

  /** Sends this in one write. */
  send(...parts: Parameters<typeof bytes>): Promise<void> {
    return this.wire.send(bytes(...parts));
  }

  /** Sends each byte in a write of its own. */
  async trickle(...parts: Parameters<typeof bytes>): Promise<void> {
    for (const byte of bytes(...parts)) await this.send(byte);
  }

  /** The bytes that the first read has brought and that nobody has received. */
  async firstRead(): Promise<Uint8Array> {
    await this.wire.until(() => this.wire.pending.length > 0, PATIENCE_MS);
    return this.wire.pending;
  }

  /** One value, or `undefined` at the end of the stream. */
  async receive(): Promise<unknown> {
    const received = await this.wire.receive(PATIENCE_MS);
    if (received !== undefined) return received.value;
    const { end, pending } = this.wire;
    assert(end !== "", `nothing came within ${PATIENCE_MS} ms`);
    assert(!end.startsWith("the connection broke"), end);
    assertEquals(pending.length, 0);
    return undefined;
  }

  /** All values up to the end of the stream. */
  async receiveAll(): Promise<unknown[]> {
    const values = [];
    for (let value; (value = await this.receive()) !== undefined;) values.push(value);
    return values;
  }

  /** Receives the greeting. */
  async greeting(): Promise<void> {
    assertEquals(await this.receive(), { clientid: this.id });
  }

  /** Sends a request, and is acknowledged. */
  async pass(request: Uint8Array = REQUEST): Promise<void> {
    this.send(request);
    assertEquals(await this.receive(), ACK);
  }

  /** Sends no more; answers can still come. */
  closeWrite(): void {
    this.wire.closeWrite();
  }

  /** Closes the connection. */
  close(): void {
    this.wire.close();
  }

  /** Breaks the connection: the server gets a reset. */
  async reset(): Promise<void> {
    this.wire.reset();
    await this.wire.untilEnd(PATIENCE_MS);
  }

  /** Closes the connection. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** A client that has been greeted. */
export async function visit(port: number, hostname?: string): Promise<Client> {
  const client = await Client.connect(port, hostname);
  await client.greeting();
  return client;
}

/** Visits, sends a request if there is one, and resets when it is answered; gives its address. */
export async function visitAndReset(port: number, request?: Uint8Array): Promise<string> {
  const client = await visit(port);
  if (request) {
    await client.send(request);
    await client.receive();
  }
  await client.reset();
  return client.name;
}

/** Whether this is what a client is told when something is wrong. */
export function isError(value: unknown): value is { error: string } {
  return typeof Object(value).error === "string" && Object.keys(Object(value)).length === 1;
}

/** Fails unless the text has all these words. */
export function includes(text: unknown, ...words: string[]): void {
  for (const word of words) assert(String(text).includes(word), `"${text}" lacks "${word}"`);
}

// ---------------------------------------------------------------------- at the command line --

/** The flags with which a process finds the packages where this one has found them. */
export function configFlags(): string[] {
  // Only npm/deno.json gives a file of npm/ for a package. All else is the default, without a flag.
  const isNpm = import.meta.resolve("@std/msgpack").startsWith(new URL("npm/", ROOT).href);
  return isNpm ? ["--config", "npm/deno.json"] : [];
}

/** What follows the program's name when it runs main.ts with these options. */
export function mainArgs(...args: string[]): string[] {
  return ["run", ...configFlags(), "--allow-net", "main.ts", ...args];
}

/** main.ts with these options. */
export function main(...args: string[]): Process {
  return new Process(Deno.execPath(), mainArgs(...args));
}

/** A server on a free port, with these options. */
export function startServer(...args: string[]): Promise<Process> {
  return Process.server(Deno.execPath(), mainArgs("--port", "0", ...args));
}

/** How a signal ends a server. Windows ends it at once, before its last line. */
export function stopped(out: string[], ...log: string[]) {
  return UNIX_SIGNALS ? { code: 0, out, err: log } : { code: 1, out, err: [] };
}

/** Python; `import pickle` is the one of this project, unless it shall be the real one. */
export function python(args: string[], pickle: "msgpack" | "real" = "msgpack"): Process {
  return new Process(PY, args, { env: pickle === "real" ? {} : { PYTHONPATH: "lab" } });
}

/** The options of our client for Alice, without her id. */
export const ALICE_ARGS = ["--student-name", "Alice Brown", "--github-username", "abrown"];

/** Our client, as Alice. */
export function asClient(port: number, ...more: string[]): Process {
  return main("client", ...ALICE_ARGS, "--sid", "123456789", "--port", String(port), ...more);
}

/** The client prints what the lab wants, and nothing else. */
export async function assertClientPasses(client: Process, port: number): Promise<void> {
  const { code, out, err } = await client.end();
  assertEquals([code, err], [0, []]);
  const id = out[0].match(/\d+/)?.[0];
  assertEquals(out, [
    `{'clientid': ${id}} has successfully connected to 127.0.0.1/${port}`,
    "Data acknowledged by server and you passed the test",
  ]);
}

/** The text of a file of the project. */
export function readProjectFile(file: string): Promise<string> {
  return Deno.readTextFile(new URL(file, ROOT));
}

/** The first block of code in this language. */
export function firstBlock(markdown: string, language: string): string {
  const block = markdown.match(new RegExp("```" + language + "\n([^`]+)```"))?.[1];
  assert(block !== undefined, `there is no block in ${language}`);
  return block;
}
