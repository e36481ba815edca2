/**
 * Tests of the lab server: real servers on free ports, real sockets, real processes.
 *
 * `deno task test` gives the permissions. Without them the tests that need the network or a
 * subprocess are reported as ignored, and the rest runs.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { BaseHandler } from "@std/log/base-handler";
import { Logger } from "@std/log/logger";
import { decode, encode } from "@std/msgpack";
import { once } from "node:events";
import { createConnection } from "node:net";
import project from "./deno.json" with { type: "json" };
import { createLogger, Fault, Framer, serve, submit } from "./main.ts";
import type { ServeOptions, Student } from "./main.ts";
import { configFlags, ROOT } from "./tools/shared/config.ts";

// ------------------------------------------------------------------------ what may run here --

async function isGranted(...permissions: Deno.PermissionDescriptor[]): Promise<boolean> {
  for (const permission of permissions) {
    if ((await Deno.permissions.query(permission)).state !== "granted") return false;
  }
  return true;
}

const NET = await isGranted({ name: "net", host: "127.0.0.1" }, { name: "net", host: "[::1]" });
const RUN = NET && await isGranted({ name: "run" }, { name: "read" }, { name: "write" });
if (!RUN) console.log("Ignoring what needs a network or a subprocess: deno task test allows it");

/** The output of a program, or nothing when it is not there or fails. */
async function probe(program: string, ...args: string[]): Promise<string | undefined> {
  try {
    const { success, stdout } = await new Deno.Command(program, { args, stderr: "null" }).output();
    return success ? new TextDecoder().decode(stdout) : undefined;
  } catch {
    return undefined;
  }
}

// Why a test is ignored. Each constant is one reason.
const WINDOWS = Deno.build.os === "windows";
const LINUX = Deno.build.os === "linux";
/** On Windows each signal that a program sends ends the other one at once, and none pauses it. */
const UNIX_SIGNALS = !WINDOWS;
/** A queue drops who comes when it is full. On macOS and Windows it refuses. */
const DROPPING_QUEUE = LINUX;
/** A connection can be told to send in small segments. macOS takes none of less than 216 bytes. */
const SMALL_SEGMENTS = LINUX;
/** Python with the package msgpack. A Mac has none at this place as a rule, and Windows never. */
const PY = "/usr/bin/python3"; // Debian's own, which finds Debian's python3-msgpack
const PYTHON = RUN && !WINDOWS && await probe(PY, "-c", "import msgpack") !== undefined;
/** Programs that come with Linux only: one changes a limit, one makes a group of processes. */
const PRLIMIT = RUN && await probe("prlimit", "--version") !== undefined;
const SETSID = RUN && await probe("setsid", "--version") !== undefined;
/** A program that few have. */
const HAPROXY = RUN && await probe("haproxy", "-v") !== undefined;
const IPV6 = NET && (() => {
  try {
    Deno.listen({ hostname: "::1", port: 0 }).close();
    return true;
  } catch {
    return false;
  }
})();
/** A reset arrives as an error. Wine, which runs Windows' programs, makes an end of stream of it. */
const RESETS_ARRIVE = NET && (!WINDOWS || await resetArrives());

async function resetArrives(): Promise<boolean> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const socket = createConnection((listener.addr as Deno.NetAddr).port, "127.0.0.1");
  await once(socket, "connect");
  using conn = await listener.accept();
  const reading = conn.read(new Uint8Array(1));
  socket.resetAndDestroy();
  return await reading.then(() => false, () => true);
}

type TestBody = (t: Deno.TestContext) => Promise<void>;
/** What runs while something of Deno is replaced. */
type Run = () => Promise<void>;
const netTest = (name: string, fn: TestBody) => Deno.test({ name, ignore: !NET, fn });
const runTest = (name: string, fn: TestBody, isThere = true) =>
  Deno.test({ name, ignore: !RUN || !isThere, fn });

/** One test with a step for each row; the first column is the name of the step. */
function table<Row extends [string, ...unknown[]]>(
  name: string,
  rows: Row[],
  body: (...row: Row) => Promise<void>,
): void {
  netTest(name, async (t) => {
    for (const row of rows) await t.step(row[0], () => body(...row));
  });
}

/** The client's own slowness, where that is what is tested. Nothing else sleeps here. */
const slowness = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

// ------------------------------------------------------------------------- a server at hand --

const ALICE = { student_name: "Alice Brown", github_username: "abrown", sid: 123456789 };
const ALICE_LINE = "Connected: Student: Alice Brown, Github Username: abrown, sid: 123456789";
const REQUEST = encode(ALICE);
const ACK = 1;

interface Entry {
  level: string;
  message: string;
  event: string;
  client?: string;
}

/** Keeps the records, and tells who waits for one. */
class Capture extends BaseHandler {
  readonly entries: Entry[] = [];
  #waiting: (() => void)[] = [];

  constructor() {
    super("DEBUG");
  }

  override handle({ levelName: level, msg: message, args }: Parameters<BaseHandler["handle"]>[0]) {
    const { event, client } = args[0] as Entry;
    this.entries.push({ level, message, event, client });
    for (const wake of this.#waiting.splice(0)) wake();
  }

  override log() {}

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
class Lab {
  readonly log = new Capture();
  readonly roster: Student[] = [];
  readonly #stop = new AbortController();
  readonly #server;
  #checks = 0;
  readonly port: number;

  constructor(readonly options: ServeOptions = {}) {
    this.#server = serve({
      port: 0,
      requestTimeout: 30_000,
      keepAliveTimeout: 30_000,
      signal: this.#stop.signal,
      logger: new Logger("test", "DEBUG", { handlers: [this.log] }),
      onListen: () => {},
      onRequests: (students) => void this.roster.push(...students),
      ...options,
    });
    this.port = this.#server.addr.port;
  }

  get served() {
    return this.#server.finished;
  }

  stop(): void {
    this.#stop.abort();
  }

  connect(): Promise<Client> {
    return Client.connect(this.port, this.options.hostname);
  }

  /** A client that has been greeted. */
  async visit(): Promise<Client> {
    const client = await this.connect();
    await client.greeting();
    return client;
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

  async [Symbol.asyncDispose](): Promise<void> {
    this.stop();
    await this.#server.finished;
  }
}

/** A client that does as it is told. */
class Client {
  readonly name: string;
  readonly id: number;
  #rest = new Uint8Array();

  constructor(readonly conn: Deno.TcpConn) {
    const { hostname, port } = conn.localAddr as Deno.NetAddr;
    this.name = hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
    this.id = port;
  }

  static async connect(port: number, hostname = "127.0.0.1"): Promise<Client> {
    const conn = await Deno.connect({ hostname, port });
    conn.setNoDelay();
    return new Client(conn);
  }

  async send(...parts: Parameters<typeof bytes>): Promise<void> {
    const all = bytes(...parts);
    for (let sent = 0; sent < all.length;) sent += await this.conn.write(all.subarray(sent));
  }

  /** Sends each byte in a write of its own. */
  async trickle(...parts: Parameters<typeof bytes>): Promise<void> {
    for (const byte of bytes(...parts)) await this.send(byte);
  }

  /** One value, or `undefined` at the end of the stream. Not our own framing: `decode` judges. */
  async receive(): Promise<unknown> {
    const chunk = new Uint8Array(65536);
    for (;;) {
      for (let length = 1; length <= this.#rest.length; length++) {
        const value = tryDecode(this.#rest.subarray(0, length));
        if (value === undefined) continue;
        this.#rest = this.#rest.slice(length);
        return value;
      }
      const count = await this.conn.read(chunk);
      if (count === null) {
        assertEquals(this.#rest.length, 0);
        return undefined;
      }
      this.#rest = bytes(this.#rest, chunk.subarray(0, count));
    }
  }

  /** All values up to the end of the stream. */
  async receiveAll(): Promise<unknown[]> {
    const values = [];
    for (let value; (value = await this.receive()) !== undefined;) values.push(value);
    return values;
  }

  async greeting(): Promise<void> {
    assertEquals(await this.receive(), { clientid: this.id });
  }

  async pass(request: Uint8Array = REQUEST): Promise<void> {
    await this.send(request);
    assertEquals(await this.receive(), ACK);
  }

  [Symbol.dispose](): void {
    this.conn[Symbol.dispose]();
  }
}

/** Connects, awaits the greeting, sends a request if there is one, and resets when it is answered. */
async function reset(port: number, request = new Uint8Array()): Promise<string> {
  const socket = createConnection(port, "127.0.0.1"); // Deno's own connections cannot send a reset
  await once(socket, "data");
  const name = `127.0.0.1:${socket.localPort}`;
  if (request.length > 0) {
    socket.write(request);
    await once(socket, "data");
  }
  socket.resetAndDestroy();
  await once(socket, "close");
  return name;
}

function tryDecode(bytes: Uint8Array): unknown {
  try {
    return decode(bytes);
  } catch {
    return undefined;
  }
}

function isError(value: unknown): value is { error: string } {
  return typeof Object(value).error === "string" && Object.keys(Object(value)).length === 1;
}

/** Bytes from numbers, from other bytes, and from text of one byte per character. */
function bytes(...parts: (string | number | ArrayLike<number>)[]): Uint8Array<ArrayBuffer> {
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

function includes(text: unknown, ...words: string[]): void {
  for (const word of words) assert(String(text).includes(word), `"${text}" lacks "${word}"`);
}

// ------------------------------------------------------------------------------ the framing --

/** What a framer finds when the bytes come in these pieces, and how it goes on behind that. */
async function frames(pieces: Uint8Array[], limit = 1 << 20): Promise<[Uint8Array[], string]> {
  const framer = new Framer(limit);
  const found: Uint8Array[] = [];
  const rest = pieces.toReversed();
  const room = new Set<number>();
  const read = (space: Uint8Array) => {
    room.add(space.buffer.byteLength);
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
    assertEquals(room.size, 1); // the buffer stays as it is, whatever comes
    assert([...room][0] <= limit + 65536); // room for the longest message and one read
  }
}

const oneByOne = (whole: Uint8Array) => Array.from(whole, (_, i) => whole.subarray(i, i + 1));

/** Every type that a request may have, with every length at which the encoding changes. */
function everyType(): Uint8Array[] {
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

Deno.test("framing: every type and length, split at every place", async () => {
  const all = everyType();
  assertEquals(await frames([bytes(...all)]), [all, "end"]);
  for (const message of all) {
    assertEquals(await frames([message]), [[message], "end"]);
    assertEquals((await frames([message.subarray(0, -1)]))[1], message.length > 1 ? "more" : "end");
    if (message.length > 600) continue; // each split reads all headers again
    assertEquals(await frames(oneByOne(message)), [[message], "end"]);
    for (let at = 1; at < message.length; at++) {
      const pieces = [message.subarray(0, at), message.subarray(at)];
      assertEquals(await frames(pieces), [[message], "end"]);
    }
  }
});

Deno.test("framing: one byte over the limit is refused by the header alone", async () => {
  const limit = 100;
  const fits = [encode("x".repeat(98)), encode(new Uint8Array(98)), encode(new Array(97).fill(1))];
  for (const message of fits) {
    assertEquals(message.length, limit);
    assertEquals(await frames(oneByOne(message), limit), [[message], "end"]);
    assertEquals(await frames([message], limit - 1), [[], "too-long"]);
  }
  // deno-fmt-ignore
  const headers = [
    bytes(0xd9, 99), bytes(0xda, 0, 98), bytes(0xdb, 255, 255, 255, 255), // str
    bytes(0xc4, 99), bytes(0xc5, 1, 0), bytes(0xc6, 255, 255, 255, 255), // bin
    bytes(0xdc, 0, 98), bytes(0xdd, 255, 255, 255, 255), // array
    bytes(0xde, 0, 49), bytes(0xdf, 255, 255, 255, 255), // map
    bytes(0xdc, 0, 50, 0xdc, 0, 50), // 50 values in one of 50 values
    bytes(0x92, 0xd9, 94, new Uint8Array(94), 0xa3), // the second of two strings
  ];
  for (const header of headers) {
    assertEquals(await frames(oneByOne(header), limit), [[], "too-long"]);
    // Nothing that has come behind it changes what is wrong: one read or many, it is the same.
    assertEquals(await frames([bytes(header, 0xc1)], limit), [[], "too-long"]);
    assertEquals(await frames([header.subarray(0, -1)], limit), [[], "more"]);
  }
  // The length field alone is over the limit: no need to wait for it.
  assertEquals(await frames([bytes(0xc6)], 3), [[], "too-long"]);
});

Deno.test("framing: nesting over 64, extension types and 0xc1 are refused", async () => {
  const nest = (depth: number) => bytes(new Array(depth).fill(0x91), 0xc0);
  assertEquals(await frames([nest(64)]), [[nest(64)], "end"]);
  assertEquals(await frames([nest(65)]), [[], "malformed"]);
  const wide = bytes(0x9f, ...new Array(15).fill(nest(63))); // deep 15 times, one after the other
  assertEquals(await frames([wide, wide]), [[wide, wide], "end"]);
  for (const type of [0xc1, 0xc7, 0xc8, 0xc9, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8]) {
    for (const before of [[], [0x92, 1], [0x81, 0xa1, 107]]) { // alone, in a list, in a map
      assertEquals(await frames(oneByOne(bytes(before, type))), [[], "malformed"]);
      assertEquals(await frames([bytes(7, before, type)]), [[bytes(7)], "malformed"]);
    }
  }
});

// ---------------------------------------------------------------------- serving as it should --

netTest("a client is greeted, on the roster, acknowledged and counted", async () => {
  const visitors: [Student[], string][] = [];
  await using lab = new Lab({ onRequests: (...visitor) => void visitors.push(visitor) });
  let id: number | bigint = 0;
  await submit(ALICE, { port: lab.port, onGreeting: (clientid) => id = clientid });
  const { level, client } = await lab.log.until("closed");
  assertEquals([level, client], ["DEBUG", `127.0.0.1:${id}`]);
  assertEquals(visitors, [[[ALICE], `127.0.0.1:${id}`]]);
  assertEquals(lab.log.of("INFO", "WARN", "ERROR"), []);
  lab.stop();
  assertEquals(await lab.served, { clients: 1, requests: 1 });
});

netTest("3000 requests without waiting: answered in order, after a half-close, too", async () => {
  await using lab = new Lab();
  using client = await lab.connect();
  const sids = Array.from({ length: 3000 }, (_, sid) => sid);
  await client.send(...sids.map((sid) => encode({ ...ALICE, sid })));
  await client.conn.closeWrite();
  await client.greeting();
  assertEquals(await client.receiveAll(), new Array(3000).fill(ACK));
  assertEquals(lab.roster.map(({ sid }) => sid), sids);
  lab.stop();
  assertEquals(await lab.served, { clients: 1, requests: 3000 });
});

netTest("one client at a time, ten in the order in which they came", async () => {
  await using lab = new Lab();
  const first = await lab.visit();
  const others: Client[] = [];
  for (let sid = 0; sid < 10; sid++) {
    others.push(await lab.connect());
    await others[sid].send(encode({ ...ALICE, sid }));
  }
  // The second one's greeting comes behind the first one's last answer.
  const order: string[] = [];
  const second = others[0].greeting().then(() => order.push("second greeted"));
  await first.pass();
  order.push("first answered");
  first.conn.close();
  await second;
  assertEquals(order, ["first answered", "second greeted"]);
  for (const client of others) {
    if (client !== others[0]) await client.greeting();
    assertEquals(await client.receive(), ACK);
    client.conn.close();
  }
  assertEquals(lab.roster.slice(1).map(({ sid }) => sid), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

netTest("who sends before reading gets greeting and answer apart, thirty times", async () => {
  await using lab = new Lab();
  const gaps: number[] = [];
  for (let i = 0; i < 30; i++) {
    const blocker = await lab.visit();
    using client = await lab.connect();
    await client.send(REQUEST);
    const chunk = new Uint8Array(1000);
    const reading = client.conn.read(chunk);
    blocker.conn.close(); // now the request is there before the accept
    assertEquals(decode(chunk.subarray(0, await reading ?? 0)), { clientid: client.id });
    const greeted = performance.now();
    assertEquals(await client.receive(), ACK);
    gaps.push(performance.now() - greeted);
  }
  const [median] = gaps.sort((a, b) => a - b).slice(15);
  assert(median > 15, `${median} ms`); // 20 ms, less what the greeting was under way
});

netTest("nobody else waits: who reads first has an answer in less than 20 ms", async () => {
  await using lab = new Lab();
  const times: number[] = [];
  for (let i = 0; i < 30; i++) {
    using client = await lab.visit();
    const start = performance.now();
    await client.pass();
    times.push(performance.now() - start);
  }
  assert(Math.min(...times) < 20, `${times}`); // the best one: a busy machine may delay any
});

netTest("a queue of two: it takes few, and those are served in their order", async () => {
  await using lab = new Lab({ backlog: 2 });
  const first = await lab.visit(); // from here the queue fills
  const arrived: number[] = [];
  const giveUp = new AbortController(); // the kernel lets the others try again, for minutes
  const knocking = Array.from({ length: 30 }, async (_, sid) => {
    const conn = await Deno.connect({ port: lab.port, signal: giveUp.signal });
    arrived.push(sid);
    return new Client(conn);
  });
  const settled = Promise.allSettled(knocking);
  await Promise.any(knocking);
  await first.pass(); // a visit to the server and back: who could connect at once has done it
  assert(arrived.length < 10, `${arrived.length} are in a queue of 2`);
  first.conn.close();
  for (const sid of arrived.slice(0, 2)) {
    using client = await knocking[sid];
    await client.greeting();
    await client.pass(encode({ ...ALICE, sid }));
  }
  assertEquals(lab.roster.slice(1).map(({ sid }) => sid), arrived.slice(0, 2));
  giveUp.abort();
  for (const knock of await settled) {
    if (knock.status === "fulfilled") knock.value[Symbol.dispose]();
  }
  await lab.check();
});

Deno.test({
  name: "IPv6: ::1 is served and named in brackets",
  ignore: !IPV6,
  fn: async () => {
    await using lab = new Lab({ hostname: "::1" });
    await lab.check();
    assert((await lab.log.until("closed")).client?.startsWith("[::1]:"));
  },
});

// deno-fmt-ignore
const SIDS: [name: string, wire: Uint8Array, sid: Student["sid"]][] = [
  ["positive fixint", bytes(5), 5],
  ["negative fixint", bytes(0xe0), -32],
  ["uint 8", bytes(0xcc, 255), 255],
  ["uint 16", bytes(0xcd, 0, 1), 1],
  ["uint 32", bytes(0xce, 255, 255, 255, 255), 2 ** 32 - 1],
  ["uint 64, small", bytes(0xcf, 0, 0, 0, 0, 0, 0, 0, 9), 9],
  ["uint 64, 2**53 - 1", bytes(0xcf, 0, 0x1f, 255, 255, 255, 255, 255, 255), 2 ** 53 - 1],
  ["uint 64, 2**53 + 1", bytes(0xcf, 0, 0x20, 0, 0, 0, 0, 0, 1), 2n ** 53n + 1n],
  ["uint 64, 2**63", bytes(0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0), 2n ** 63n],
  ["uint 64, the last", bytes(0xcf, new Array(8).fill(255)), 2n ** 64n - 1n],
  ["int 8", bytes(0xd0, 255), -1],
  ["int 16", bytes(0xd1, 0x80, 0), -32768],
  ["int 32", bytes(0xd2, 0x80, 0, 0, 0), -(2 ** 31)],
  ["int 64, one", bytes(0xd3, 0, 0, 0, 0, 0, 0, 0, 1), 1],
  ["int 64, -7", bytes(0xd3, new Array(7).fill(255), 0xf9), -7],
  ["int 64, -2**63", bytes(0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0), -(2n ** 63n)],
  ["a float that is an integer", encode(1.0 + 2 ** 40), 1 + 2 ** 40],
  ["float 32", bytes(0xca, 0x3f, 0x80, 0, 0), 1],
  ["digits", encode("007"), "007"],
  ["other text", encode(" x-1 "), " x-1 "],
];

/** A request with values that are given as bytes, and a key of no meaning. */
function rawRequest(fields: Record<string, Uint8Array>): Uint8Array<ArrayBuffer> {
  const whole: Record<string, Uint8Array> = { extra: encode([{}]), ...fields };
  for (const [key, value] of Object.entries(ALICE)) whole[key] ??= encode(value);
  const entries = Object.entries(whole);
  return bytes(0x80 + entries.length, ...entries.flatMap(([key, each]) => [encode(key), each]));
}

table("student ids of every kind arrive as they are", SIDS, async (_, wire, sid) => {
  await using lab = new Lab();
  using client = await lab.visit();
  await client.pass(rawRequest({ sid: wire }));
  assertEquals(lab.roster, [{ ...ALICE, sid }]);
});

const NAMES: [name: string, text: string][] = [
  ["other scripts", "Zoë 李 Ωμέγα عمر"],
  ["an accent of its own (NFD)", "Jose\u0301"],
  ["an emoji", "🎓👩‍💻"],
  ["controls", "a\u0000b\n\x1b[2J\u2028\u202e"],
  ["__proto__", "__proto__"],
  ["a byte order mark in the middle", "Al\ufeffBob"],
  ["U+FFFD, which is UTF-8", "Zo\ufffd"],
  ["a zero-width non-joiner in a Persian name", "علی\u200cرضا"],
];

table("a name is never altered, in any field", NAMES, async (_, text) => {
  await using lab = new Lab();
  using client = await lab.visit();
  const student = { student_name: text, github_username: text, sid: text };
  await client.pass(encode(student));
  assertEquals(lab.roster, [student]);
});

// ------------------------------------------------------------------ when the client misbehaves --

/** A request of exactly so many bytes (more than 300), by a key of no meaning. */
function requestOf(length: number): Uint8Array<ArrayBuffer> {
  const overhead = encode({ ...ALICE, x: "x".repeat(300) }).length - 300;
  const request = encode({ ...ALICE, x: "x".repeat(length - overhead) });
  assertEquals(request.length, length);
  return request;
}

type Value = Parameters<typeof encode>[0];
const but = (fields: Record<string, Value>) => encode({ ...ALICE, ...fields });
const LATIN1 = bytes(0xa4, "Jos", 0xe9);
const NOT_A_MAP = "expected a dict with the keys student_name, github_username and sid";
// deno-fmt-ignore
const FAULTS: [name: string, stream: Uint8Array, event: string, ...words: string[]][] = [
  ["no name", encode({ github_username: "a", sid: 1 }), "refused", "student_name is missing", 'the dict has: "github_username", "sid"'],
  ["two keys missing", encode({ sid: 1 }), "refused", "student_name is missing", 'the dict has: "sid"'],
  ["an empty map", encode({}), "refused", "student_name is missing", "the dict has: none"],
  ["a number as name", but({ student_name: 5 }), "refused", "student_name must be a string", "it is an integer"],
  ["bytes as name", but({ student_name: bytes("Al") }), "refused", "student_name must be a string", "it is bytes", "leave out .encode()"],
  ["bytes as id", but({ sid: bytes("7") }), "refused", "sid must be an integer or a string", "it is bytes", "leave out .encode()"],
  ["nil as user name", but({ github_username: null }), "refused", "github_username must be a string", "it is None"],
  ["a fraction as id", but({ sid: 1.5 }), "refused", "sid must be an integer or a string", "it is a float"],
  ["a float beyond all integers as id", but({ sid: 1e300 }), "refused", "sid must be", "it is a float"],
  ["an inexact float as id", but({ sid: 2 ** 53 }), "refused", "sid must be", "it is a float"],
  ["NaN as id", but({ sid: NaN }), "refused", "sid must be", "it is a float"],
  ["true as id", but({ sid: true }), "refused", "sid must be", "it is a bool"],
  ["a list as id", but({ sid: [1] }), "refused", "sid must be", "it is a list"],
  ["a map as id", but({ sid: {} }), "refused", "sid must be", "it is a dict"],
  ["an empty name", but({ student_name: "" }), "refused", 'student_name is empty: nothing can be seen in ""'],
  ["a blank user name", but({ github_username: " \t\u00a0\n" }), "refused", "github_username is empty", '" \\u0009\\u00a0\\u000a"'],
  ["an empty id", but({ sid: "" }), "refused", "sid is empty"],
  ["a zero-width space as name", but({ student_name: "\u200b" }), "refused", "student_name is empty", '"\\u200b"'],
  ["other names that nobody sees", but({ github_username: "\u2060\u00ad\u3164\u2800" }), "refused", "github_username is empty", '"\\u2060\\u00ad\\u3164\\u2800"'],
  ["an invisible tag as id", but({ sid: "\u{e0061}" }), "refused", "sid is empty", '"\\udb40\\udc61"'],
  ["a no-break space in a key", encode({ "student_name\u00a0": "A" }), "refused", 'student_name is missing, the dict has: "student_name\\u00a0"'],
  ["a space behind a key", encode({ "student_name ": "A" }), "refused", 'the dict has: "student_name "'],
  ["a zero-width space in a key", encode({ "student\u200b_name": "A" }), "refused", 'the dict has: "student\\u200b_name"'],
  ["a bell in a key", encode({ "a\u0007": 1 }), "refused", 'the dict has: "a\\u0007"'],
  ["separators of lines and paragraphs in a key", encode({ "a\u2028\u2029": 1 }), "refused", 'the dict has: "a\\u2028\\u2029"'],
  ["a byte order mark before a key", encode({ "\ufeffstudent_name": "A" }), "refused", "a key begins with a byte order mark", '"\\ufeffstudent_name"'],
  ["a byte order mark before a name", but({ student_name: "\ufeffAl" }), "refused", 'the value of "student_name" begins with a byte order mark', '"\\ufeffAl"'],
  ["latin-1 in a key", bytes(0x81, 0xa4, "Jos\xe9", 1), "refused", "a key is not UTF-8", '4a 6f 73 e9 "Jos."'],
  ["latin-1 within a list", rawRequest({ extra: bytes(0x91, LATIN1) }), "refused", 'the value of "extra" is not UTF-8'],
  ["latin-1 as name", rawRequest({ student_name: LATIN1 }), "refused", "student_name", "UTF-8", '4a 6f 73 e9 "Jos."'],
  ["latin-1 as user name", rawRequest({ github_username: LATIN1 }), "refused", "github_username", "UTF-8"],
  ["latin-1 as id", rawRequest({ sid: LATIN1 }), "refused", "sid", "UTF-8"],
  ["half a character at the end", rawRequest({ student_name: bytes(0xa2, "J", 0xc3) }), "refused", "UTF-8"],
  ["all in __proto__", bytes(0x81, 0xa9, "__proto__", REQUEST), "refused", "student_name is missing, the dict has: \"__proto__\""],
  ["an integer", bytes(2), "not-a-map", NOT_A_MAP, "a number, a length or plain text came", "packed once and alone", '(02 ".")'],
  ["our own acknowledgement", bytes(1), "not-a-map", NOT_A_MAP, "this is the server's acknowledgement, which must not be sent back", '(01 ".")'],
  ["a string", encode("hello"), "not-a-map", NOT_A_MAP, "a string came", 'a5 68 65 6c 6c 6f ".hello"'],
  ["a long string", encode("x".repeat(40)), "not-a-map", "a string came", "d9 28 78 78 78 78 78 78 78 78 78 78 78 78 78 78 ...", '".(xxxxxxxxxxxxxx"'],
  ["a list", encode([ALICE]), "not-a-map", NOT_A_MAP, "a list came"],
  ["nil", encode(null), "not-a-map", NOT_A_MAP, "None came"],
  ["a bool", encode(false), "not-a-map", NOT_A_MAP, "a bool came"],
  ["text that is a number", encode("1"), "not-a-map", NOT_A_MAP, "a string came", "packed once and alone"],
  ["a bool that counts as one", encode(true), "not-a-map", NOT_A_MAP, "a bool came", "packed once and alone"],
  ["a float", encode(0.5), "not-a-map", NOT_A_MAP, "a float came"],
  ["a list whose value looks like JSON", bytes(0x91, 0x7b), "not-a-map", NOT_A_MAP, "a list came", "packed once and alone", '(91 7b ".{")'],
  ["a length that looks like JSON", bytes(0x5b, 0, 0, 0), "not-a-map", NOT_A_MAP, "a number, a length", '(5b "[")'],
  ["a number whose bytes look like JSON", bytes(0xcd, 0x7b, 0x7b), "not-a-map", NOT_A_MAP, "a number", "packed once and alone"],
  ["packed twice", encode(REQUEST), "not-a-map", NOT_A_MAP, "bytes came", "packed once and alone"],
  ["0xc1", bytes(0xc1), "malformed", "c1, which MessagePack never uses"],
  ["an extension", bytes(0x81, 0xa3, "sid", 0xd4, 1, 2), "malformed", "extension type"],
  ["a timestamp", bytes(0x81, 0xa3, "sid", 0xd6, 0xff, 0, 0, 0, 0), "malformed", "extension type"],
  ["a list as key", bytes(0x81, 0x90, 1), "malformed", "a key must be a string", "a list"],
  ["nil as key", bytes(0x81, 0xc0, 1), "malformed", "a key must be a string", "None"],
  ["an integer as key", bytes(0x81, 7, 1), "malformed", "a key must be a string", "an integer"],
  ["bytes as key", bytes(0x81, 0xc4, 1, 65, 1), "malformed", "a key must be a string", "bytes"],
  ["an integer as key, deep inside", rawRequest({ extra: bytes(0x91, 0x81, 7, 1) }), "malformed", "a key must be a string", "an integer"],
  ["nested too deep", bytes(0x81, 0xa1, "x", new Array(65).fill(0x91)), "malformed", "nested", "64"],
  ["a long string's header", bytes(0xdb, 255, 255, 255, 255), "too-long", "limit of 4096 bytes"],
  ["a long list with 0xc1 in it", bytes(0xdd, 255, 255, 255, 255, 0xc1), "too-long", "limit of 4096 bytes"],
  ["a request of 4097 bytes", requestOf(4097), "too-long", "limit of 4096 bytes"],
];

table("faults, one piece or many", FAULTS, async (_, stream, event, ...words) => {
  await using lab = new Lab();
  const errors = [];
  for (const how of ["alone", "whole", "byte by byte"]) {
    using client = await lab.visit();
    const before = how === "alone" ? [] : [REQUEST];
    // What was sent behind the fault may meet a closed door.
    const sending = client[how === "byte by byte" ? "trickle" : "send"](...before, stream);
    const [answers] = await Promise.all([client.receiveAll(), sending.catch(() => {})]);
    const error = answers.pop();
    assert(isError(error), `${how}: ${Deno.inspect(error)}`);
    assertEquals(answers, before.map(() => ACK), how);
    assertEquals(await lab.warning(client, event), error.error, how);
    includes(error.error, ...words);
    errors.push(error.error);
    client.conn.close();
    await lab.check();
    lab.log.entries.length = 0; // so that the next one's record is waited for
  }
  assertEquals(errors, new Array(3).fill(errors[0])); // in one piece or many, the same words
});

netTest("keys of any length: the error stays short enough for one recv", async () => {
  await using lab = new Lab();
  using client = await lab.visit();
  const keys = ["a", "b", "c"].map((letter) => [letter.repeat(1000), 1]);
  await client.send(encode(Object.fromEntries(keys)));
  const [error] = await client.receiveAll();
  assert(isError(error) && error.error.length === 400);
  includes(error.error, 'the dict has: "aaa');
});

netTest("a request of the limit's length is taken; a limit of one's own", async () => {
  await using lab = new Lab();
  using client = await lab.visit();
  await client.pass(requestOf(4096));
  await using small = new Lab({ maxMessageBytes: REQUEST.length });
  using other = await small.visit();
  await other.pass();
  await other.send(but({ student_name: "Alice Brown!" }));
  includes(Deno.inspect(await other.receive()), `limit of ${REQUEST.length} bytes`);
});

const PICKLE: string[] = ["this looks like a Python pickle", "use msgpack"];
const pickled = bytes("}", 0x94, 0x8c, 12, "student_name", 0x94, 0x8c, 5, "Alice", 0x94, "s.");
const framed = bytes(0x95, 30, 0, 0, 0, 0, 0, 0, 0, pickled);
// deno-fmt-ignore
const STRANGERS: [name: string, stream: Uint8Array, ...words: string[]][] = [
  ["a pickle, protocol 0", bytes("(dp0\nVsid\np1\nI1\ns."), ...PICKLE],
  ["a pickle, protocol 1", bytes("}q\0U\x03sidq\x01K\x01s."), ...PICKLE],
  ["a pickle, protocol 2", bytes(0x80, 2, pickled), ...PICKLE],
  ["a pickle, protocol 3", bytes(0x80, 3, pickled), ...PICKLE],
  ["a pickle, protocol 4", bytes(0x80, 4, framed), ...PICKLE],
  ["a pickle, protocol 5", bytes(0x80, 5, framed), ...PICKLE],
  ["a pickle of a list, protocol 0", bytes("(lp0\nI1\na."), ...PICKLE],
  ["a pickle of a list, protocol 1", bytes("]q\0K\x01a."), ...PICKLE],
  ["HTTP, for all", bytes("OPTIONS * HTTP/1.1\r\n\r\n"), "HTTP"],
  ["JSON", bytes(JSON.stringify(ALICE)), "JSON text", "json.dumps()"],
  ["indented JSON", bytes(JSON.stringify(ALICE, null, 4)), "JSON text"],
  ["a JSON text in quotes", bytes('"Alice"'), "JSON text"],
  ["JSON behind a space", bytes(' {"a": 1}'), "JSON text"],
  ["a Python list as text", bytes("['Alice', 7]"), "text of a Python dict"],
  ["a JSON list", bytes(JSON.stringify([ALICE])), "JSON text"],
  ["a Python dict as text", bytes("{'student_name': 'Alice', 'sid': 7}"), "text of a Python dict", "str()"],
  ["HTTP", bytes("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), "HTTP", "msgpack.packb(d)"],
  ["HTTP, for changing", bytes("PATCH /students/1 HTTP/1.1\r\n\r\n"), "HTTP"],
  ["HTTP, to a proxy", bytes("CONNECT localhost:443 HTTP/1.1\r\n\r\n"), "HTTP"],
  ["HTTP, to a proxy, for a name with dots", bytes("CONNECT www.example.com:443 HTTP/1.1\r\n\r\n"), "HTTP"],
  ["TLS", bytes(0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3), "TLS"],
  ["HAProxy's header", bytes("PROXY TCP4 127.0.0.1 127.0.0.1 4000 12000\r\n"), "PROXY", "send-proxy"],
  ["HAProxy's header, binary", bytes("\r\n\r\n\0\r\nQUIT\n!\x11\0\x0c"), "PROXY", "send-proxy"],
];

table("strangers, by their first read", STRANGERS, async (_, stream, ...words) => {
  await using lab = new Lab();
  using client = await lab.visit();
  await client.send(stream);
  const error = await client.receive();
  assert(isError(error));
  includes(error.error, ...words);
  assertEquals(await lab.warning(client, "stranger"), error.error);
  assertEquals(await client.receive(), undefined);
  client.conn.close();
  await lab.check();
});

netTest("a stranger is looked for in the first read only", async () => {
  await using lab = new Lab();
  using client = await lab.visit();
  await client.pass();
  await client.send(bytes(JSON.stringify(ALICE)));
  assert(isError(await client.receive()));
  includes(await lab.warning(client, "not-a-map"), '7b "{"');
});

netTest("a server whose signal is aborted already finishes at once", async () => {
  await using lab = new Lab({ signal: AbortSignal.abort() });
  assertEquals(await lab.served, { clients: 0, requests: 0 });
});

netTest("options that are undefined count as left out", async () => {
  await using lab = new Lab({ maxMessageBytes: undefined, backlog: undefined });
  await lab.check();
});

netTest("our client refuses an id of more than 64 bits, which cannot be sent", async () => {
  const { failure, request } = await submitTo(encode({ clientid: 1 }), bytes(), 2n ** 64n);
  assertEquals([failure, request], [
    "sid needs more than 64 bits: give it as text, not 18446744073709551616",
    undefined,
  ]);
});

netTest("a roster that fails with a fault of ours is a fault of the server", async () => {
  const onRequests = () => {
    throw new Fault("constructor", "a fault that no client can cause"); // each object has this name
  };
  await using lab = new Lab({ onRequests });
  using client = await lab.visit();
  await client.send(REQUEST);
  assertEquals(await client.receiveAll(), [{ error: "the server has failed, not you" }]);
  const { level, message } = await lab.log.until("bug");
  assertEquals(level, "ERROR");
  includes(message, "a fault that no client can cause");
});

// How a client goes: what it does once it is greeted; the record; whether the answers are read.
// deno-fmt-ignore
const ENDS: [name: string, go: (client: Client) => unknown, level: string, event: string, words: string, answers?: unknown[]][] = [
  ["leaves without a request", () => {}, "INFO", "left", "unpickling stack underflow"],
  ["half-closes without a request", (client) => client.conn.closeWrite(), "INFO", "left", "left without sending", []],
  ["leaves after its answer", (client) => client.pass(), "DEBUG", "closed", "closed by the client"],
  ["half-closes after its answer", async (client) => (await client.pass(), await client.conn.closeWrite()), "DEBUG", "closed", "", []],
  ["leaves in the middle", async (client) => (await client.pass(), await client.send(REQUEST.subarray(0, 10))), "WARN", "truncated", "the client closed after 10 bytes of a message"],
  ["half-closes after a byte", async (client) => (await client.send(0x83), await client.conn.closeWrite()), "WARN", "truncated", "closed after 1 byte", [{ error: "the client closed after 1 byte of a message" }]],
];

table("ends", ENDS, async (_, go, level, event, words, ...[answers]) => {
  await using lab = new Lab();
  using client = await lab.visit();
  await go(client);
  if (answers) assertEquals(await client.receiveAll(), answers);
  else client.conn.close();
  const entry = await lab.log.until(event);
  assertEquals([entry.level, entry.client], [level, client.name]);
  includes(entry.message, `${client.name}: `, words);
  assertEquals(lab.log.of("INFO", "WARN", "ERROR"), level === "DEBUG" ? [] : [entry]);
  await lab.check();
});

/** Runs this with servers that get each listener after it was changed so. */
async function withListeners(change: (listener: Deno.TcpListener) => void, run: Run) {
  const { listen } = Deno;
  Deno.listen = ((options: Deno.TcpListenOptions) => {
    const listener = listen(options);
    change(listener);
    return listener;
  }) as typeof listen;
  try {
    await run();
  } finally {
    Deno.listen = listen;
  }
}

/** Runs this with servers whose first accepts fail, so many times with this error. */
function withFailedAccepts(error: Error, times: number, run: Run): Promise<void> {
  let left = times;
  return withListeners((listener) => {
    const accept = listener[Symbol.asyncIterator].bind(listener);
    listener[Symbol.asyncIterator] = () => {
      if (left === 0) return accept();
      left--;
      return { next: () => Promise.reject(error) } as ReturnType<typeof accept>;
    };
  }, run);
}

netTest("a failed accept of one client costs nothing", async () => {
  // macOS says EINVAL when a client has reset in the queue, and Deno names that TypeError.
  const error = new TypeError("Invalid argument (os error 22)");
  await withFailedAccepts(Object.assign(error, { code: "EINVAL" }), 10, async () => {
    const start = performance.now();
    await using lab = new Lab();
    await lab.check();
    assert(performance.now() - start < 1000);
    assertEquals((await lab.log.until("gone", 10)).level, "DEBUG");
    assertEquals(lab.log.of("WARN", "ERROR"), []);
  });
});

netTest("a failed accept of the system waits, longer each time up to a second", async () => {
  const error = new Error("Too many open files (os error 24)");
  const pauses = [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000];
  await withFailedAccepts(Object.assign(error, { code: "EMFILE" }), pauses.length, async () => {
    const start = performance.now();
    await using lab = new Lab();
    await lab.check();
    const waited = performance.now() - start;
    const sum = pauses.reduce((total, pause) => total + pause);
    assert(waited > sum - pauses.length, `${waited} ms`); // A timer may be early by less than 1 ms.
    const said = lab.log.of("ERROR").map(({ message }) => message);
    const text = (pause: number) => `No accept, next try in ${pause} ms: ${error.message}`;
    assertEquals(said, pauses.map(text));
  });
});

const resetTest = (name: string, fn: TestBody) => Deno.test({ name, ignore: !RESETS_ARRIVE, fn });

resetTest("resets: in mid-work WARN, with nothing sent INFO", async () => {
  await using lab = new Lab();
  const busy = await reset(lab.port, REQUEST);
  const { level, message, client } = await lab.log.until("reset");
  assertEquals([level, client], ["WARN", busy]);
  includes(message, `${busy}: the client broke the connection: it crashed, or closed`);
  includes(message, "(ConnectionReset: "); // the system's word
  const silent = await reset(lab.port);
  assertEquals((await lab.log.until("left")).client, silent);
  assertEquals(lab.log.of("WARN", "ERROR").length, 1);
});

netTest("resets in the queue: DEBUG, and the next client is served", async () => {
  await using lab = new Lab();
  const first = await lab.visit();
  await first.pass();
  for (let i = 0; i < 8; i++) {
    const socket = createConnection(lab.port, "127.0.0.1");
    await once(socket, "connect");
    socket.resetAndDestroy();
    await once(socket, "close");
  }
  using next = await lab.connect();
  first.conn.close();
  await next.greeting();
  // Windows may hand such a client to the server all the same: then it has left.
  const quiet = WINDOWS ? ["DEBUG gone", "INFO left"] : ["DEBUG gone"];
  const seen = lab.log.entries.map(({ level, event }) => `${level} ${event}`);
  assertEquals(seen.filter((each) => quiet.includes(each)).length, 8, seen.join("\n"));
  assertEquals(lab.log.of("WARN", "ERROR"), []);
});

Deno.test({
  name: "each end of a visit closes the connection",
  ignore: !NET,
  sanitizeResources: true, // It fails if a connection stays open.
  fn: async () => {
    await using lab = new Lab();
    for (const last of [[], [REQUEST], [REQUEST.subarray(0, 9)], [0xc1]]) {
      using client = await lab.visit();
      await client.send(...last);
      await client.conn.closeWrite();
      await client.receiveAll();
    }
  },
});

netTest("lingering close: with 16 MB under way the error is readable", async () => {
  await using lab = new Lab();
  using client = await lab.visit();
  await client.send(0xc1);
  await lab.log.until("malformed");
  // More than the kernel holds. A reset would fail these, and where not Linux take the error away.
  for (let i = 0; i < 256; i++) await client.send(new Uint8Array(65536));
  assert(isError(await client.receive()));
  assertEquals(await client.receive(), undefined);
  client.conn.close();
  await lab.check();
});

netTest("lingering close: who never stops sending is dropped after a second", async () => {
  await using lab = new Lab();
  using client = await lab.connect();
  using next = await lab.connect();
  const start = performance.now();
  const flooding = (async () => {
    for (const flood = new Uint8Array(65536).fill(0xc1);;) await client.conn.write(flood);
  })().catch(() => {});
  await next.greeting();
  assert(performance.now() - start >= 1000);
  await flooding;
  await lab.warning(client, "malformed");
});

netTest("a roster that fails: ERROR with its place, and the client is told", async () => {
  const lines: string[] = [];
  const onRequests = (students: Student[]) => {
    if (students.some(({ student_name }) => student_name === "Eve")) throw new TypeError("no\nink");
    lines.push(...students.map(({ student_name }) => student_name));
  };
  await using lab = new Lab({ onRequests });
  using client = await lab.visit();
  await client.send(REQUEST);
  assertEquals(await client.receive(), ACK);
  await client.send(but({ student_name: "Eve" }));
  assertEquals(await client.receiveAll(), [{ error: "the server has failed, not you" }]);
  const error = await lab.log.until("bug");
  assertEquals([error.level, error.client], ["ERROR", client.name]);
  includes(error.message, "TypeError: no", "server_test.ts");
  assert(!/\n|\\u000a/.test(error.message), error.message); // in one line that can be read
  client.conn.close();
  await submit(ALICE, { port: lab.port });
  assertEquals(lines, ["Alice Brown", "Alice Brown"]);
});

netTest("a logger that fails cannot end the server", async () => {
  const logger = createLogger("DEBUG");
  const seen: string[] = [];
  const { error } = console;
  console.error = (message) => seen.push(String(message));
  try {
    await using lab = new Lab({ logger, requestTimeout: 200 });
    for (let i = 0; i < 3; i++) {
      logger.debug =
        logger.info =
        logger.warn =
        logger.error =
          () => {
            throw new Error("no log today");
          };
      using client = await lab.connect();
      await client.receiveAll().catch(() => {});
      logger.debug =
        logger.info =
        logger.warn =
        logger.error =
          (() => {}) as typeof logger.debug;
      await lab.check();
    }
  } finally {
    console.error = error;
  }
  assertEquals(new Set(seen), new Set(["Error: no log today"]));
});

netTest("what is not shown costs nothing: at level ERROR the wire is not even told", async () => {
  const logger = createLogger("ERROR");
  const types: string[] = [];
  logger.debug = ((message: unknown) => types.push(typeof message)) as typeof logger.debug;
  const { inspect } = Deno;
  Deno.inspect = (value) => {
    types.push("inspected");
    return inspect(value);
  };
  try {
    await using lab = new Lab({ logger });
    await lab.check();
    lab.stop();
    await lab.served;
  } finally {
    Deno.inspect = inspect;
  }
  assertEquals(types, []);
});

// -------------------------------------------------------------------------------- the limits --

const SLOW: [name: string, go: (client: Client) => Promise<void>][] = [
  ["silent since the accept", async () => {}],
  ["a byte now and then", async (client) => {
    for (const byte of REQUEST) await client.send(byte).then(() => slowness(20));
  }],
  ["half behind a whole one", (client) => client.send(REQUEST, REQUEST.subarray(0, 9))],
  ["half after an answer", async (client) => {
    await client.send(REQUEST);
    await slowness(50);
    await client.send(REQUEST.subarray(0, 9));
  }],
];

table("the limit on a request", SLOW, async (name, go) => {
  await using lab = new Lab({ requestTimeout: 500, keepAliveTimeout: 0 });
  const start = performance.now();
  using client = await lab.visit();
  const going = go(client).catch(() => {}); // it is over before all has been sent
  const answers = await client.receiveAll();
  assert(performance.now() - start >= 500);
  const error = await lab.warning(client, "timeout");
  assert(
    /^no whole request within 0.5 s, \d+ bytes came \(server: --request-timeout\)$/.test(error),
  );
  if (name.startsWith("half")) includes(error, " 9 bytes came");
  assertEquals(answers, [...lab.roster.map(() => ACK), { error }]);
  client.conn.close();
  await going;
  await lab.check();
});

netTest("the limit on silence: closed without an answer, the next one's turn", async () => {
  await using lab = new Lab({ keepAliveTimeout: 150 });
  using client = await lab.visit();
  using next = await lab.connect();
  await client.pass();
  const start = performance.now();
  assertEquals(await client.receiveAll(), []);
  const silent = performance.now() - start;
  assert(silent < 900, `${silent} ms`); // It is told nothing, so the server does not linger.
  await next.greeting();
  const { level, client: name, message } = await lab.log.until("idle");
  assertEquals([level, name], ["INFO", client.name]); // it did nothing wrong
  includes(message, "silent for 0.15 s", "next client's turn");
  assertEquals(lab.log.of("WARN", "ERROR"), []);
});

netTest("an answer begins the limits on request and silence anew", async () => {
  await using lab = new Lab({ requestTimeout: 1000, keepAliveTimeout: 1000 });
  using client = await lab.visit();
  const start = performance.now();
  while (performance.now() - start < 1300) {
    await client.pass();
    await slowness(20);
  }
});

netTest("the limit on a turn, however busy the client is", async () => {
  await using lab = new Lab({ turnTimeout: 500 });
  const start = performance.now();
  using client = await lab.visit();
  using next = await lab.connect();
  let answer: unknown;
  let count = 0;
  for (; (await client.send(REQUEST), answer = await client.receive()) === ACK; count++) {
    await slowness(20);
  }
  assert(performance.now() - start >= 500 && count > 1);
  assertEquals(answer, { error: "its turn of 0.5 s is over" });
  assertEquals(await client.receive(), undefined);
  assertEquals(await lab.warning(client, "turn"), "its turn of 0.5 s is over");
  client.conn.close();
  await next.greeting();
});

/** What a client does while the server is stopped for longer than the limit, and what it gets. */
interface Stopped {
  option: string;
  before: (client: Client) => Promise<void>;
  during: (client: Client) => Promise<void>;
  answers: unknown[];
  event?: string;
}

// deno-fmt-ignore
const STOPPED: Record<string, Stopped> = {
  "a request": { option: "--request-timeout", before: async () => {}, during: (client) => client.send(REQUEST), answers: [ACK] },
  "the second half of one": { option: "--request-timeout", before: (client) => client.send(REQUEST.subarray(0, 9)), during: (client) => client.send(REQUEST.subarray(9)), answers: [ACK] },
  "a wrong request": { option: "--request-timeout", before: async () => {}, during: (client) => client.send(encode(null)), answers: ["error"], event: "expected a dict" },
  "a request after silence": { option: "--keep-alive-timeout", before: (client) => client.pass(), during: (client) => client.send(REQUEST), answers: [ACK] },
  "a request in a turn": { option: "--turn-timeout", before: (client) => client.pass(), during: (client) => client.send(REQUEST), answers: [ACK] },
};

async function visitStopped({ option, before, during, answers, event }: Stopped): Promise<void> {
  const [server, port] = await startServer(option, "0.3");
  await using _ = server;
  using client = await visit(port);
  await before(client);
  server.child.kill("SIGSTOP");
  await during(client);
  await slowness(1000); // The server does not run, and its limit passes.
  server.child.kill("SIGCONT");
  for (const expected of answers) {
    const answer = await client.receive();
    assertEquals(isError(answer) ? "error" : answer, expected);
  }
  client.conn.close();
  const [, , log] = await server.stop();
  const problems = log.filter((line) => /^(WARN|ERROR)/.test(line));
  assertEquals(problems.length, event === undefined ? 0 : 1, log.join("\n"));
  if (event) includes(problems[0], event);
}

runTest("a server that is stopped for longer than a limit answers what has arrived", async (t) => {
  await Promise.all(
    Object.entries(STOPPED).map(([name, row]) =>
      t.step({
        name,
        fn: () => visitStopped(row),
        sanitizeOps: false, // The steps run side by side.
        sanitizeResources: false,
        sanitizeExit: false,
      })
    ),
  );
}, UNIX_SIGNALS);

runTest("a server that is stopped does not blame a client that is half-way", async () => {
  const [server, port] = await startServer("--request-timeout", "0.4");
  await using _ = server;
  using client = await visit(port);
  await client.send(REQUEST.subarray(0, 9));
  server.child.kill("SIGSTOP");
  await slowness(1000); // longer than the limit
  server.child.kill("SIGCONT");
  await slowness(100); // The limit has not passed in the server's own time.
  await client.pass(REQUEST.subarray(9));
}, UNIX_SIGNALS);

runTest("standard output that nobody reads for longer than a turn: all is answered", async () => {
  const [server, port] = await startServer("--turn-timeout", "0.5");
  await using _ = server;
  using client = await visit(port);
  const count = 2000; // more lines than a pipe holds
  const sending = client.send(...new Array(count).fill(but({ student_name: "x".repeat(60) })));
  await slowness(1500); // Nobody reads, and the turn passes.
  for (let i = 0; i < count; i++) includes(await server.stdout.next(), "Connected: ");
  await sending;
  for (let i = 0; i < count; i++) assertEquals(await client.receive(), ACK);
});

/** Runs this with servers that get each connection after it was changed so. */
function withConnections(change: (conn: Deno.TcpConn) => void, run: Run): Promise<void> {
  return withListeners((listener) => {
    const accept = listener.accept.bind(listener);
    listener.accept = async () => {
      const conn = await accept();
      change(conn);
      return conn;
    };
  }, run);
}

netTest("a kernel that takes one byte at a time: each message is sent whole", async () => {
  const takeOneByte = (conn: Deno.TcpConn) => {
    const write = conn.write.bind(conn);
    conn.write = (bytes) => write(bytes.subarray(0, 1));
  };
  await withConnections(takeOneByte, async () => {
    await using lab = new Lab();
    using client = await lab.visit();
    await client.send(REQUEST, REQUEST, REQUEST, 0xc1);
    const answers = await client.receiveAll();
    assertEquals(answers.map((answer) => isError(answer) || answer), [ACK, ACK, ACK, true]);
  });
});

netTest("Nagle's algorithm is off before the greeting is sent", async () => {
  const calls: string[] = [];
  const record = (conn: Deno.TcpConn) => {
    const { setNoDelay, write } = conn;
    conn.setNoDelay = (isOn) => {
      calls.push("setNoDelay");
      setNoDelay.call(conn, isOn);
    };
    conn.write = (bytes) => {
      calls.push("write");
      return write.call(conn, bytes);
    };
  };
  await withConnections(record, async () => {
    await using lab = new Lab();
    await lab.check();
  });
  assertEquals(calls, ["setNoDelay", "write", "write"]);
});

/** Acknowledgements, and what is sent after them, wait for `gate`. */
function slowDown(conn: Deno.TcpConn, gate: Promise<void>): void {
  const write = conn.write.bind(conn);
  let isAnswering = false;
  conn.write = async (bytes) => {
    isAnswering ||= bytes.length === 1;
    if (isAnswering) await gate;
    return await write(bytes);
  };
}

netTest("a limit that fires while an answer is under way does not make the linger longer", () => {
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  return withConnections((conn) => slowDown(conn, gate), async () => {
    await using lab = new Lab({ turnTimeout: 300 });
    using client = await lab.visit();
    using next = await lab.connect();
    await client.send(REQUEST);
    await lab.log.until("turn");
    const since = performance.now();
    await slowness(700);
    open();
    assertEquals((await client.receiveAll()).map((answer) => isError(answer)), [false, true]);
    await next.greeting(); // Our client has not closed: the server has lingered for a second.
    const lingered = performance.now() - since;
    assert(lingered > 900 && lingered < 1600, `${lingered} ms`);
  });
});

netTest("0 is no limit", async () => {
  await using lab = new Lab({ requestTimeout: 0, keepAliveTimeout: 0, turnTimeout: 0 });
  using client = await lab.visit();
  await slowness(200); // a limit of 0 ms would have been found several times
  await client.pass();
  await slowness(200);
  await client.send(REQUEST.subarray(0, 9));
  await slowness(200);
  await client.pass(REQUEST.subarray(9));
  assertEquals(lab.log.of("INFO", "WARN", "ERROR"), []);
});

// ------------------------------------------------------------------------ at the command line --

function mainCommand(...args: string[]): string[] {
  return [Deno.execPath(), "run", ...configFlags(), "--allow-net", "main.ts", ...args];
}

/** A program that runs beside the test; disposing of it ends it. */
class Process {
  readonly child: Deno.ChildProcess;
  readonly stdout: Lines;
  readonly stderr: Lines;

  constructor(program: string, args: string[], env: Record<string, string> = {}) {
    const command = { args, cwd: ROOT, stdout: "piped", stderr: "piped" } as const;
    this.child = new Deno.Command(program, { ...command, env: { NO_COLOR: "1", ...env } }).spawn();
    this.stdout = new Lines(this.child.stdout);
    this.stderr = new Lines(this.child.stderr);
  }

  static main(...args: string[]): Process {
    const [program, ...rest] = mainCommand(...args);
    return new Process(program, rest);
  }

  /** Python; `import pickle` is the one of this project, unless it shall be the real one. */
  static python(args: string[], pickle: "msgpack" | "real" = "msgpack"): Process {
    const env = pickle === "real" ? undefined : { PYTHONPATH: "lab" };
    return new Process(PY, args, env);
  }

  /** All that it prints, and its exit status. */
  async end(): Promise<[code: number, stdout: string[], stderr: string[]]> {
    const [{ code }, out, err] = await Promise.all([
      this.child.status,
      this.stdout.rest(),
      this.stderr.rest(),
    ]);
    return [code, out, err];
  }

  /** The same, after a signal. */
  stop(signal: Deno.Signal = "SIGTERM") {
    this.child.kill(signal);
    return this.end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.child.kill("SIGKILL");
    } catch { // It has ended by itself.
    }
    await this.end();
  }
}

/** The lines of a stream, as they come. */
class Lines {
  readonly #lines: AsyncGenerator<string, undefined>;

  constructor(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
    this.#lines = Lines.#split(stream);
  }

  static async *#split(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
    let rest = "";
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      yield* lines;
    }
    return undefined;
  }

  /** The next line, or `undefined` at the end. */
  async next(): Promise<string | undefined> {
    return (await this.#lines.next()).value;
  }

  /** The next line that this text is in. */
  async until(text: string): Promise<string> {
    for (let line; (line = await this.next()) !== undefined;) if (line.includes(text)) return line;
    throw new Error(`ended without "${text}"`);
  }

  rest(): Promise<string[]> {
    return Array.fromAsync(this.#lines);
  }

  /** Nobody reads on. */
  async cancel(): Promise<void> {
    await this.#lines.return(undefined);
  }
}

/** The port in the first line of a server. */
async function portOf(server: Process): Promise<number> {
  const line = await server.stdout.next();
  const port = line?.match(/^Listening at 127\.0\.0\.1\/(\d+)$/)?.[1];
  if (port === undefined) throw new Error(`no server: ${line} ${await server.stderr.rest()}`);
  return Number(port);
}

/** A server as a process of its own, and its port. */
async function startServer(...args: string[]): Promise<[server: Process, port: number]> {
  const server = Process.main("--port", "0", ...args);
  return [server, await portOf(server)];
}

/** How {@linkcode Process.stop} ends a server. Windows ends it at once, before its last line. */
function stopped(out: string[], ...log: string[]): [code: number, string[], string[]] {
  return UNIX_SIGNALS ? [0, out, log] : [1, out, []];
}

async function visit(port: number): Promise<Client> {
  const client = await Client.connect(port);
  await client.greeting();
  return client;
}

const ALICE_ARGS = ["--student-name", "Alice Brown", "--github-username", "abrown"];
const asClient = (port: number, ...more: string[]) =>
  Process.main("client", ...ALICE_ARGS, "--sid", "123456789", "--port", String(port), ...more);

async function assertClientPasses(client: Process, port: number): Promise<void> {
  const [code, out, err] = await client.end();
  assertEquals([code, err], [0, []]);
  const id = out[0].match(/\d+/)?.[0];
  assertEquals(out, [
    `{'clientid': ${id}} has successfully connected to 127.0.0.1/${port}`,
    "Data acknowledged by server and you passed the test",
  ]);
}

// Lab 2's client as a student writes it: one recv for one message.
const LAB2_CLIENT = `
import pickle, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
s.connect(("127.0.0.1", int(sys.argv[1])))
hello = pickle.loads(s.recv(4096))
print(hello, "has successfully connected to 127.0.0.1/" + sys.argv[1])
data = {"student_name": "Alice Brown", "github_username": "abrown", "sid": 123456789}
s.send(pickle.dumps(data))
if pickle.loads(s.recv(4096)) == 1:
    print("Data acknowledged by server and you passed the test")
s.close()
`;

runTest("the lab's transcript, of our client and of Python's, twice each", async () => {
  const [server, port] = await startServer();
  await using _ = server;
  const clients = [() => asClient(port)];
  if (PYTHON) clients.push(() => Process.python(["-c", LAB2_CLIENT, String(port)]));
  for (const client of [...clients, ...clients]) {
    await assertClientPasses(client(), port);
    assertEquals(await server.stdout.next(), ALICE_LINE);
  }
  const count = clients.length * 2;
  const last = `INFO Served ${count} clients and ${count} requests`;
  assertEquals(await server.stop(), stopped([], last));
});

// deno-fmt-ignore
const WRONG: [args: string[], says: string][] = [
  [["--prot", "1"], "Unknown option --prot: there are --host, --port"],
  [["-p", "1"], "Unknown option -p: there are --host"],
  [["--sid", "1"], "Unknown option --sid: there are --host"], // of the client only
  [["--port", "70000"], "--port must be an integer from 0 to 65535, not 70000"],
  [["--port", "http"], "--port must be an integer from 0 to 65535, not http"],
  [["--port", "1.5"], "--port must be an integer from 0 to 65535, not 1.5"],
  [["--port", " "], "--port needs a value"],
  [["--port"], "--port needs a value"],
  [["--port="], "--port needs a value"],
  [["--host", "--port", "0"], "--host needs a value"],
  [["--backlog=-1"], "--backlog must be an integer from 1 to 65535, not -1"],
  [["--backlog", "-1"], "Write a value that begins with - as in --backlog=-1"],
  [["--request-timeout", "soon"], "--request-timeout must be seconds from 0 to"],
  [["--keep-alive-timeout=-1"], "--keep-alive-timeout must be seconds from 0 to"],
  [["--turn-timeout", "1000001"], "--turn-timeout must be seconds from 0 to 1000000, not 1000001"],
  [["--max-message-bytes", "1048577"], "--max-message-bytes must be an integer from 64 to 1048576"],
  [["--turn-timeout", "NaN"], "--turn-timeout must be seconds from 0 to"],
  [["--max-message-bytes", "63"], "--max-message-bytes must be an integer from 64"],
  [["--log-level", "LOUD"], "--log-level must be DEBUG or INFO or WARN or ERROR, not LOUD"],
  [["--log-format", "xml"], "--log-format must be text or json, not xml"],
  [["--log-format", "a\nb"], "--log-format must be text or json, not a\\u000ab"],
  [["--", "--port", "http"], "--port must be an integer from 0 to 65535, not http"],
  [["--no-host"], "Unknown option --no-host: there are --host"],
  [["--toString", "1"], "Unknown option --toString: there are --host"],
  [["--host", "127.0.0.1:12000"], "--host takes an address alone, such as 127.0.0.1 or ::1, not 127.0.0.1:12000: the port goes to --port"],
  [["--host", "localhost:12000"], "--host takes an address alone"],
  [["--host", "[::1]:12000"], "--host takes an address alone"],
  [["--host", "[::1]"], "--host takes an address alone"],
  [["--host", "http://localhost"], "--host takes an address alone"],
  [["--host", "127.0.0.1/12000"], "--host takes an address alone"],
  [["--host", " 127.0.0.1"], "--host takes an address alone"],
  [["client", ...ALICE_ARGS, "--sid", "1", "--host", "127.0.0.1:12000"], "--host takes an address alone"],
  [["client", ...ALICE_ARGS, "--sid", "1", "--port", "0"], "--port must be an integer from 1 to 65535, not 0"],
  [["client", "--student-name", "\ufffd", "--github-username", "a", "--sid", "1"], "--student-name has a character that is not UTF-8"],
  [["client", "--student-name", "a", "--github-username", "\ufffd", "--sid", "1"], "--github-username has a character that is not UTF-8"],
  [["client", ...ALICE_ARGS, "--sid", "\ufffd"], "--sid has a character that is not UTF-8: set the encoding of this terminal to UTF-8"],
  [["server"], "Unexpected server: client comes first"],
  [["--port", "12001", "client", "--sid", "1"], "Unexpected client: client comes first"],
  [["client"], "--student-name needs a value"],
  [["--", "client"], "--student-name needs a value"],
  [["client", ...ALICE_ARGS], "--sid needs a value"],
  [["client", ...ALICE_ARGS, "--sid", ""], "--sid needs a value"],
  [["client", ...ALICE_ARGS, "--sid", "-5"], "Write a value that begins with - as in --sid=-5"],
  [["client", "--student-name", "Alice", "Brown"], "Unexpected Brown: client comes first, spaces need quotes"],
  [["client", ...ALICE_ARGS, "--turn-timeout", "3"], "Unknown option --turn-timeout: there are --student-name, --github-username, --sid, --host, --port, --help"],
];

/** Runs main.ts with each of these, four at a time, and hands on how each has ended. */
async function runEach<Row extends [string[], ...unknown[]]>(
  rows: Row[],
  judge: (row: Row, ending: Awaited<ReturnType<Process["end"]>>, what: string) => void,
): Promise<void> {
  const rest = rows.values();
  await Promise.all(Array.from({ length: 4 }, async () => {
    for (const row of rest) {
      const process = Process.main(...row[0]);
      const timer = setTimeout(() => process.child.kill("SIGKILL"), 20_000); // it serves
      const ending = await process.end().finally(() => clearTimeout(timer));
      judge(row, ending, `${row[0].join(" ")}: ${Deno.inspect(ending)}`);
    }
  }));
}

runTest(
  "a wrong command line: one line, exit status 2",
  () =>
    runEach(WRONG, ([_, says], [code, out, err], what) => {
      assertEquals([code, out, err.length], [2, [], 1], what);
      assert(err[0].startsWith(says), what);
    }),
);

runTest("what the system or the server refuses: one line, exit status 1", async () => {
  await using lab = new Lab({ maxMessageBytes: 50 });
  const used = String(lab.port);
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const closed = String((listener.addr as Deno.NetAddr).port);
  listener.close();
  const client = ["client", ...ALICE_ARGS, "--sid", "1", "--port"];
  const rows: [string[], string][] = [
    [["--port", used], `The port of 127.0.0.1/${used} is in use: end the other server`],
    [
      ["--port", "0", "--host", "192.0.2.1"],
      "192.0.2.1/0 is not this machine's address: --host 127.0.0.1",
    ],
    [[...client, closed], `No server at 127.0.0.1/${closed}: start it first`],
    [[...client, used], "the server refused: over the limit of 50 bytes"],
  ];
  await runEach(rows, ([_, says], [code, out, err], what) => {
    assertEquals([code, err.length], [1, 1], what);
    assert(out.length === 0 || says.startsWith("the server"), what);
    assert(err[0].startsWith(says), what);
  });
});

// Where the tests run as root, the right to ports below 1024 is given up for this one.
const BIND_PORT_1 = `import socket
try: socket.create_server(("127.0.0.1", 1))
except PermissionError: exit(0)
exit(1)`;
const DROP = ["--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service"];
const SETPRIV = PYTHON && await probe("setpriv", ...DROP, PY, "-c", BIND_PORT_1) !== undefined;

runTest("a port that needs an administrator: one line, exit status 1", async () => {
  const [code, out, err] = await new Process("setpriv", [...DROP, ...mainCommand("--port", "1")])
    .end();
  assertEquals([code, out, err.length], [1, [], 1]);
  assert(err[0].startsWith("The port of 127.0.0.1/1 needs an administrator: choose one over 1023"));
}, SETPRIV);

runTest("--help in one screen, --version as in deno.json", () =>
  runEach<[string[], string]>([
    [["--help"], "--turn-timeout 60 "],
    [["client", "--help"], "--student-name TEXT"],
    [["--version"], project.version],
    [["client", "--version"], project.version],
  ], ([_, words], [code, out, err], what) => {
    assertEquals([code, err], [0, []], what);
    assert(out.length < 24 && out.every((line) => line.length <= 100), what);
    includes(out.join("\n"), words);
    if (words === project.version) assertEquals(out, [words]);
  }));

runTest("no level hides the roster or the last line; WARN hides who left", async () => {
  for (const level of ["WARN", "ERROR"]) {
    const [server, port] = await startServer("--log-level", level);
    await using _ = server;
    await reset(port);
    await submit(ALICE, { port });
    const last = "INFO Served 1 client and 1 request";
    assertEquals(await server.stop(), stopped([ALICE_LINE], last));
  }
});

runTest("a program of one's own ends by itself when its server has stopped", async () => {
  const script = `
    import { serve, submit } from "./main.ts";
    const stop = new AbortController();
    const server = serve({ port: 0, signal: stop.signal });
    const student = { student_name: "Alice Brown", github_username: "abrown", sid: 123456789 };
    await submit(student, { port: server.addr.port });
    stop.abort();
    console.log(await server.finished);`;
  await using program = new Process(Deno.execPath(), ["eval", ...configFlags(), script]);
  const guard = setTimeout(() => program.child.kill("SIGKILL"), 8000); // if it does not end
  const [code, out] = await program.end();
  clearTimeout(guard);
  includes(out.join("\n"), "Listening at 127.0.0.1/", "{ clients: 1, requests: 1 }");
  assertEquals(code, 0);
});

/** The level DEBUG shows the first bytes of a message only. */
const SHOWN_BYTES = 16;
const ALICE_AS_SHOWN = Deno.inspect(ALICE, { breakLength: Infinity });

/** The first bytes of a message in hexadecimal, with a space between two bytes. */
function hexAsShown(message: Uint8Array): string {
  const first = message.subarray(0, SHOWN_BYTES);
  return first.toHex().replace(/..(?!$)/g, "$& ");
}

/** The first bytes of a message as text: a dot is a byte that is no visible character of ASCII. */
function textAsShown(message: Uint8Array): string {
  const first = message.subarray(0, SHOWN_BYTES);
  const isVisibleAscii = (byte: number) => byte > 31 && byte < 127;
  return Array.from(first, (b) => isVisibleAscii(b) ? String.fromCharCode(b) : ".").join("");
}

/** A message in a line of the level DEBUG: its length, its first bytes, and these as text. */
function bytesAsShown(message: Uint8Array): string {
  const more = message.length > SHOWN_BYTES ? " ..." : "";
  return `${message.length} bytes: ${hexAsShown(message)}${more} "${textAsShown(message)}"`;
}

/** The lines up to the one that ends with this text, or all if there is none. */
async function linesUpTo(lines: Lines, ending: string): Promise<string[]> {
  const seen: string[] = [];
  for (;;) {
    const line = await lines.next();
    if (line === undefined) return seen;
    seen.push(line);
    if (line.endsWith(ending)) return seen;
  }
}

/** The lines of a client that was accepted and greeted. */
function linesOfGreeting({ name, id }: Client): string[] {
  const greeting = bytesAsShown(encode({ clientid: id }));
  return [
    `DEBUG ${name}: accepted`,
    `DEBUG ${name}: send ${greeting}, which is { clientid: ${id} }`,
  ];
}

/** The lines of a client that was acknowledged once and then hung up. */
function linesOfSession(client: Client): string[] {
  const { name } = client;
  return [
    ...linesOfGreeting(client),
    `DEBUG ${name}: recv brought ${REQUEST.length} bytes`,
    `DEBUG ${name}: received ${bytesAsShown(REQUEST)}, which is ${ALICE_AS_SHOWN}`,
    `DEBUG ${name}: send 1 byte: 01 ".", which is 1`,
    `DEBUG ${name}: recv brought the end: the client sends no more`,
    `DEBUG ${name}: closed by the client`,
    `DEBUG ${name}: closed by the server`,
  ];
}

/** The lines of a client that sent the byte c1, and three bytes after it was refused. */
function linesOfFault(client: Client): string[] {
  const { name } = client;
  const error = "the byte c1, which MessagePack never uses: the lab has none";
  const refusal = bytesAsShown(encode({ error }));
  return [
    ...linesOfGreeting(client),
    `DEBUG ${name}: recv brought 1 byte`,
    `WARN ${name}: ${error}`,
    `DEBUG ${name}: send ${refusal}, which is { error: "${error}" }`,
    `DEBUG ${name}: recv brought 3 bytes`,
    `DEBUG ${name}: recv brought the end: the client sends no more`,
    `DEBUG ${name}: closed by the server`,
  ];
}

runTest("the wire at level DEBUG: one session and one fault, line by line", async () => {
  const [server, port] = await startServer("--log-level", "DEBUG");
  await using _ = server;
  using alice = await visit(port);
  await alice.pass();
  alice.conn.close();
  using mallory = await visit(port);
  await mallory.send(0xc1);
  await mallory.receiveAll();
  await mallory.send(1, 2, 3);
  mallory.conn.close();
  const seen = await linesUpTo(server.stderr, `${mallory.name}: closed by the server`);
  assertEquals(seen, [...linesOfSession(alice), ...linesOfFault(mallory)]);
});

runTest("--backlog reaches the kernel: of five, not all are connected", async () => {
  const [server, port] = await startServer("--backlog", "1");
  await using _ = server;
  using _first = await visit(port);
  const giveUp = new AbortController(); // The kernel lets them try again, for minutes.
  const connecting = Array.from({ length: 5 }, () => Deno.connect({ port, signal: giveUp.signal }));
  const settled = Promise.allSettled(connecting);
  assertEquals(await Promise.race([settled, slowness(500)]), undefined);
  giveUp.abort();
  for (const result of await settled) if (result.status === "fulfilled") result.value.close();
}, Deno.build.os === "linux");

runTest("the options of the command line reach the server", async () => {
  const [server, port] = await startServer("--turn-timeout", "0.3", "--max-message-bytes", "64");
  await using _ = server;
  using talker = await visit(port);
  await talker.send(but({ student_name: "x".repeat(64) }));
  assertEquals(await talker.receive(), { error: "over the limit of 64 bytes (or no msgpack)" });
  talker.conn.close();
  using silent = await visit(port);
  assertEquals(await silent.receive(), { error: "its turn of 0.3 s is over" });
});

/** The next record, without its time and without its text for people; and that text. */
async function nextRecord(lines: Lines) {
  const line = await lines.next() ?? "";
  assert(/^[\x20-\x7e]+$/.test(line), line); // nothing that moves a cursor
  const { time, message, ...record } = JSON.parse(line);
  assert(!Number.isNaN(Date.parse(time)));
  return { record, message };
}

runTest("--log-format json: two requests in one read are two records", async () => {
  await using server = Process.main("--port", "0", "--log-format", "json");
  const { record: { port } } = await nextRecord(server.stdout);
  using client = await visit(port);
  await client.send(REQUEST, REQUEST);
  for (let i = 0; i < 2; i++) {
    const { record } = await nextRecord(server.stdout);
    assertEquals(record, { level: "INFO", event: "request", client: client.name, ...ALICE });
  }
});

runTest("--log-format json: a record a line, the student's fields in it", async () => {
  await using server = Process.main("--port", "0", "--log-format", "json");
  const { record: { port, ...listening } } = await nextRecord(server.stdout);
  const { version } = project;
  const where = { level: "INFO", event: "listening", address: "127.0.0.1", version };
  assertEquals(listening, where);
  using client = await visit(port);
  const student = {
    student_name: "A\u2028\u202e\n\x7f",
    github_username: "a",
    sid: 2n ** 64n - 1n,
  };
  await client.pass(encode({ ...student, event: "forged", client: "forged", level: "forged" }));
  const fields = { ...student, sid: "18446744073709551615" };
  const { record } = await nextRecord(server.stdout);
  assertEquals(record, { level: "INFO", event: "request", client: client.name, ...fields });
  await client.send(bytes(0xc1));
  const { record: warning, message } = await nextRecord(server.stderr);
  assertEquals(warning, { level: "WARN", event: "malformed", client: client.name });
  includes(message, client.name);
});

runTest("--log-format json: the last line is a record, too", async () => {
  await using server = Process.main("--port", "0", "--log-format", "json");
  await server.stdout.next();
  const [code, , [line]] = await server.stop();
  const { level, event, message } = JSON.parse(line);
  const last = "Served 0 clients and 0 requests";
  assertEquals([code, level, event, message], [0, "INFO", "stopped", last]);
}, UNIX_SIGNALS);

/** The next records of the level DEBUG, without their time and without their text for people. */
async function nextWireRecords(lines: Lines, count: number): Promise<Record<string, unknown>[]> {
  const records: Record<string, unknown>[] = [];
  for (let i = 0; i < count; i++) {
    const line = await lines.next() ?? "";
    const { time: _, message: __, ...record } = JSON.parse(line);
    records.push(record);
  }
  return records;
}

/** The fields of the record of what the server has sent to a client as its greeting. */
function stepOfGreeting({ id }: Client) {
  const greeting = encode({ clientid: id });
  const hex = hexAsShown(greeting);
  return { step: "send", bytes: greeting.length, hex, value: `{ clientid: ${id} }` };
}

/** The fields of the record of a read that has brought these bytes. */
function stepOfRead(part: Uint8Array) {
  return { step: "recv", bytes: part.length, hex: hexAsShown(part) };
}

/** The fields of the record of the request, when it is whole. */
function stepOfRequest() {
  const hex = hexAsShown(REQUEST);
  return { step: "received", bytes: REQUEST.length, hex, value: ALICE_AS_SHOWN };
}

runTest("--log-format json at level DEBUG: the wire has fields", async () => {
  const start = REQUEST.subarray(0, 20);
  const rest = REQUEST.subarray(20);
  await using server = Process.main("--port", "0", "--log-format", "json", "--log-level", "DEBUG");
  const { port } = JSON.parse(await server.stdout.next() ?? "");
  using client = await visit(port);
  await client.send(start);
  const upToFirstRead = await nextWireRecords(server.stderr, 3);
  await client.pass(rest);
  client.conn.close();
  const upToTheEnd = await nextWireRecords(server.stderr, 6);
  const steps = [
    { step: "accepted" },
    stepOfGreeting(client),
    stepOfRead(start),
    stepOfRead(rest),
    stepOfRequest(),
    { step: "send", bytes: 1, hex: "01", value: "1" },
    { step: "closed", by: "client" },
    { event: "closed" },
    { step: "closed", by: "server" },
  ];
  const common = { level: "DEBUG", event: "wire", client: client.name };
  const expected = steps.map((step) => ({ ...common, ...step }));
  assertEquals([...upToFirstRead, ...upToTheEnd], expected);
});

runTest("what a client sends can forge no line and move no cursor", async () => {
  const [server, port] = await startServer();
  await using _ = server;
  using client = await visit(port);
  // deno-fmt-ignore
  const controls = [0, 7, 8, 9, 10, 13, 27, 127, 0x85, 0x9b, 0x2028, 0x2029, 0x202e, 0x2066, 0x200f, 0x61c];
  const name = controls.map((code) => "é" + String.fromCharCode(code)).join("") + "漢🎓";
  const shown = controls.map((code) => "é\\u" + code.toString(16).padStart(4, "0")).join("") +
    "漢🎓";
  await client.pass(but({ student_name: name, github_username: "a\nConnected: Student: Eve" }));
  await client.send(encode({ "a\nERROR b": 1 })); // a key is shown in the refusal
  assert(isError(await client.receive()));
  client.conn.close();
  const [, out, err] = await server.stop();
  const user = "a\\u000aConnected: Student: Eve";
  assertEquals(out, [`Connected: Student: ${shown}, Github Username: ${user}, sid: 123456789`]);
  includes(err[0], `WARN ${client.name}: student_name is missing`, "a\\u000aERROR b");
  assert(err.every((line) => !line.startsWith("ERROR")));
});

runTest("the wire, too, shows nothing that turns the direction of writing", async () => {
  const [server, port] = await startServer("--log-level", "DEBUG");
  await using _ = server;
  using client = await visit(port);
  await client.pass(but({ student_name: "Alice \u202e nworB" }));
  includes(await server.stderr.until("received"), "Alice \\u202e nworB");
});

netTest(
  "a stop while a client is being accepted: that client is told, and does not hold it",
  async () => {
    for (let ticks = 0; ticks < 12; ticks++) {
      // Both connections are there at the same moment, and the second one stops the server: a few ticks
      // of the event loop earlier or later than the accept.
      const lab = new Lab();
      using other = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const stopping = other.accept().then(async (conn) => {
        for (let i = 0; i < ticks; i++) await undefined;
        lab.stop();
        conn.close();
      });
      await new Promise((resolve) => setTimeout(resolve)); // both accepts have begun
      const connecting = [lab.connect(), Client.connect((other.addr as Deno.NetAddr).port)];
      const [client, second] = await Promise.all(connecting);
      await stopping;
      if (lab.log.entries.some(({ message }) => message.endsWith("accepted"))) {
        await lab.log.until("stopping");
      }
      client.conn.close();
      second.conn.close();
      await lab.served;
    }
  },
);

/** Runs a program that has a pipe for this output, which does not block and is read slowly. */
const SLOW_PIPE = `import os, sys, time
output = int(sys.argv[1])
r, w = os.pipe()
os.set_blocking(w, False)
if os.fork() == 0:
    os.close(w)
    while data := os.read(r, 777):  # the slow reader is what is tested
        os.write(output, data)
        time.sleep(0.0005)
    os._exit(0)
os.close(r)
os.dup2(w, output)
os.execv(sys.argv[2], sys.argv[2:])`;
const STDOUT = "1";
const STDERR = "2";

const NAMES_THAT_FIT = ["x".repeat(3000), "x".repeat(20), "y"];
/** A pipe does not take every long line at once: a control is shown as six characters. */
const NAMES_OF_ANY_LENGTH = [...NAMES_THAT_FIT, "\x01".repeat(2999) + "x", "z".repeat(1500)];

/** Elements of a list, from its first one on and again and again. */
function cycle<T>(list: T[], count: number): T[] {
  return Array.from({ length: count }, (_, i) => list[i % list.length]);
}

/** The roster's line of a student who has the user name of Alice. */
function rosterLine(name: string, sid: number): string {
  const shown = name.replaceAll("\x01", "\\u0001");
  return ALICE_LINE.replace("Alice Brown", shown).replace("123456789", String(sid));
}

runTest("a full non-blocking pipe, slowly read: no line is lost, doubled or torn", async () => {
  await using server = new Process(PY, ["-c", SLOW_PIPE, STDOUT, ...mainCommand("--port", "0")]);
  const port = await portOf(server);
  const names = [...cycle(NAMES_THAT_FIT, 200), ...cycle(NAMES_OF_ANY_LENGTH, 100)];
  const requests = names.map((student_name, sid) => but({ student_name, sid }));
  using client = await visit(port);
  const sending = client.send(...requests);
  for (const [sid, name] of names.entries()) {
    assertEquals(await server.stdout.next(), rosterLine(name, sid));
  }
  await sending;
  for (const _ of requests) assertEquals(await client.receive(), ACK);
  client.conn.close();
}, PYTHON);

runTest("a full non-blocking pipe for the log: each record is whole, and in order", async () => {
  const command = mainCommand("--port", "0", "--log-level", "DEBUG");
  await using server = new Process(PY, ["-c", SLOW_PIPE, STDERR, ...command]);
  const port = await portOf(server);
  const roster = server.stdout.rest(); // It is read, so that the server waits for the log alone.
  const students = cycle(NAMES_THAT_FIT, 200).map((student_name, sid) => ({
    ...ALICE,
    student_name,
    sid,
  }));
  using client = await visit(port);
  const sending = client.send(...students.map((student) => encode(student)));
  for (const student of students) {
    const line = await server.stderr.until("received");
    const value = Deno.inspect(student, { breakLength: Infinity, strAbbreviateSize: Infinity });
    assertEquals(
      line,
      `DEBUG ${client.name}: received ${bytesAsShown(encode(student))}, which is ${value}`,
    );
  }
  await sending;
  for (const _ of students) assertEquals(await client.receive(), ACK);
  client.conn.close();
  server.child.kill("SIGKILL");
  assertEquals((await roster).length, students.length);
}, PYTHON);

runTest("a full terminal that does not block, slowly read: each line once", async () => {
  const script = `import os, pty, sys, time, tty
terminal, w = pty.openpty()
tty.setraw(w)
os.set_blocking(w, False)
if os.fork() == 0:
    os.close(w)
    while data := os.read(terminal, 777):  # the slow reader is what is tested
        os.write(1, data)
        time.sleep(0.002)
    os._exit(0)
os.close(terminal)
os.dup2(w, 1)
os.execv(sys.argv[1], sys.argv[1:])`;
  await using server = new Process(PY, ["-c", script, ...mainCommand("--port", "0")]);
  const port = await portOf(server);
  const names = ["x".repeat(60), "Zoë 李".repeat(300), "y"];
  const students = Array.from({ length: 600 }, (_, i) => names[i % 3]);
  using client = await visit(port);
  const sending = client.send(...students.map((student_name, sid) => but({ student_name, sid })));
  for (const [sid, name] of students.entries()) {
    const line = ALICE_LINE.replace("Alice Brown", name).replace("123456789", String(sid));
    assertEquals(await server.stdout.next(), line);
  }
  await sending;
  for (const _ of students) assertEquals(await client.receive(), ACK);
}, PYTHON);

runTest("standard output gone: nobody is acknowledged, the server goes on", async () => {
  const [server, port] = await startServer();
  await using _ = server;
  await server.stdout.cancel();
  // On Windows a read that has begun keeps the pipe open for one line more.
  if (WINDOWS) await submit(ALICE, { port });
  for (let i = 0; i < 2; i++) {
    using client = await visit(port);
    await client.send(REQUEST);
    assertEquals(await client.receiveAll(), [{ error: "the server has failed, not you" }]);
    const line = await server.stderr.next();
    assert(line?.startsWith(`ERROR ${client.name}: a fault of the server`), line);
  }
});

runTest("standard error gone: the clients still count", async () => {
  const [server, port] = await startServer();
  await using _ = server;
  await server.child.stderr.cancel();
  using client = await visit(port);
  await client.send(0xc1);
  assert(isError(await client.receive()));
  client.conn.close();
  await submit(ALICE, { port });
  assertEquals(await server.stop(), stopped([ALICE_LINE]));
});

runTest("who is acknowledged is on the roster though the server is killed", async () => {
  const [server, port] = await startServer();
  using client = await visit(port);
  await client.send(...new Array(20).fill(REQUEST));
  let acknowledged = 0;
  for (; acknowledged < 10; acknowledged++) assertEquals(await client.receive(), ACK);
  const [, out] = await server.stop("SIGKILL");
  assert(out.length >= acknowledged);
});

runTest("no descriptors left: logged, waited out from 5 ms on, and served again", async () => {
  const [server, port] = await startServer();
  await using _ = server;
  const { pid } = server.child;
  const limit = async (files: number) =>
    assert(await probe("prlimit", "--pid", String(pid), `--nofile=${files}:4096`) !== undefined);
  await submit(ALICE, { port });
  for (let leftOver = 0; leftOver <= 5; leftOver += 5) { // at first no line of an earlier failure
    await limit(3); // below the lowest number that is free
    const waiting = submit(ALICE, { port });
    let line = await server.stderr.next();
    for (let i = 0; i < leftOver && !line?.includes(" 5 ms"); i++) {
      line = await server.stderr.next();
    }
    for (const pause of [5, 10, 20, 40]) {
      assert(line?.startsWith(`ERROR No accept, next try in ${pause} ms: `), line);
      line = await server.stderr.next();
    }
    await limit(1024);
    await waiting;
  }
}, PRLIMIT);

// -------------------------------------------------------------------------------- the signals --

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

for (const signal of SIGNALS) {
  runTest(`${signal}, while idle, while a client is silent or half-way: status 0`, async () => {
    await Promise.all([undefined, 0, 10].map(async (half) => {
      const [server, port] = await startServer();
      await using _ = server;
      if (half === undefined) {
        const last = "INFO Served 0 clients and 0 requests";
        return assertEquals(await server.stop(signal), [0, [], [last]]);
      }
      using client = await visit(port);
      await client.send(REQUEST.subarray(0, half));
      server.child.kill(signal);
      includes(
        await server.stderr.next(),
        `INFO ${client.name}: the server stops, up to 5 s to finish`,
      );
      await client.pass(REQUEST.subarray(half)); // it may finish
      assertEquals(await client.receiveAll(), []); // and is let go
      const [code, out, err] = await server.end();
      const last = "INFO Served 1 client and 1 request";
      assertEquals([code, out, err.at(-1)], [0, [ALICE_LINE], last]);
    }));
  }, UNIX_SIGNALS);
}

runTest(
  "a stop while a client is at work, with short pauses: it has its time to finish",
  async () => {
    const [server, port] = await startServer();
    await using _ = server;
    using client = await visit(port);
    await client.pass();
    server.child.kill("SIGTERM");
    await server.stderr.until("the server stops");
    const start = performance.now();
    while (performance.now() - start < 1000) {
      await client.pass();
      await slowness(20);
    }
    assertEquals(await client.receiveAll(), []); // It is silent now, and is let go.
    assertEquals((await server.end())[0], 0);
  },
  UNIX_SIGNALS,
);

runTest("signals at once are one, whatever their kinds; a later one ends it", async () => {
  const [server, port] = await startServer();
  await using _ = server;
  using client = await visit(port);
  for (const signal of SIGNALS) server.child.kill(signal);
  await server.stderr.until("the server stops");
  await client.pass(); // it lives
  client.conn.close();
  assertEquals((await server.end())[0], 0);
  const [hurried, other] = await startServer("--request-timeout", "0");
  await using __ = hurried;
  using silent = await visit(other);
  hurried.child.kill("SIGINT");
  await hurried.stderr.until("the server stops");
  await slowness(110); // a person needs longer for a second ^C
  assertEquals((await hurried.stop("SIGTERM"))[0], 1);
  assertEquals(await silent.receive().catch(() => undefined), undefined);
}, UNIX_SIGNALS);

runTest("SIGTERM with a class in the queue: who is silent is let go at once", async () => {
  const [server, port] = await startServer("--keep-alive-timeout", "0");
  await using _ = server;
  using client = await visit(port);
  await client.pass();
  const queue = await Promise.all(Array.from({ length: 30 }, () => Client.connect(port)));
  const start = performance.now();
  server.child.kill("SIGTERM");
  assertEquals(await client.receiveAll(), []);
  const [code, out, err] = await server.end();
  assert(performance.now() - start < 4000); // not the 5 s of one who is half-way
  assertEquals([code, out, err.at(-1)], [0, [ALICE_LINE], "INFO Served 1 client and 1 request"]);
  assert(err.every((line) => line.startsWith("INFO ")), err.join("\n")); // it did nothing wrong
  for (const waiting of queue) {
    // As the README says of Python's ConnectionResetError.
    assertEquals(await waiting.receive().catch((error) => error.name), "ConnectionReset");
    waiting.conn.close();
  }
}, UNIX_SIGNALS);

// `deno task start` finds its packages itself; with an import map the same line is a task, too.
const quote = (args: string[]) => args.map((arg) => `'${arg}'`).join(" ");
const startTask = configFlags().includes("--import-map")
  ? ["task", "--eval", quote(["deno", ...mainCommand("--port", "0").slice(1)])]
  : ["task", "start", "--port", "0"];

for (const signal of SIGNALS) {
  runTest(`${signal} to all of deno task, which sends it on: one signal, not two`, async () => {
    // A process group of its own, as a terminal makes it.
    await using task = new Process("setsid", [Deno.execPath(), ...startTask]);
    const port = Number((await task.stdout.until("Listening")).split("/")[1]);
    using client = await visit(port);
    assert(await probe("kill", `-${signal.slice(3)}`, "--", `-${task.child.pid}`) !== undefined);
    await task.stderr.until("the server stops");
    await client.pass();
    client.conn.close();
    await task.stderr.until("INFO Served 1 client and 1 request");
  }, SETSID && UNIX_SIGNALS);
}

// --------------------------------------------------------------------------------- the client --

/** Our client against a server that sends these, and its failure. */
async function submitTo(greeting: Uint8Array, answer: Uint8Array, sid: Student["sid"] = 1) {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  let request: Uint8Array | undefined;
  const serving = (async () => {
    using conn = await listener.accept();
    if (greeting.length > 0) await conn.write(greeting);
    const space = new Uint8Array(1000);
    if (answer.length > 0) request = space.subarray(0, await conn.read(space) ?? 0);
    if (request) await conn.write(answer);
  })();
  const ids: unknown[] = [];
  const { port } = listener.addr as Deno.NetAddr;
  const failure = await submit({ ...ALICE, sid }, { port, onGreeting: (id) => ids.push(id) })
    .then(() => "", (error) => error instanceof Fault ? error.message : error);
  await serving.catch(() => {}); // our client may have left
  return { failure, ids, request };
}

const SMTP = '32 32 30 20 6d 61 69 6c 2e 65 78 61 6d 70 6c 65 ... "220 mail.example"';
const HELLO = encode({ clientid: 60644 });
const HELLO_64 = bytes(0x81, 0xa8, "clientid", 0xd3, 0, 0, 0, 0, 0, 0, 0xec, 0xe4);
// deno-fmt-ignore
const SERVERS: [name: string, greeting: Uint8Array, answer: Uint8Array, failure: string][] = [
  ["the lab's", HELLO, bytes(1), ""],
  ["integers of 64 bits", HELLO_64, bytes(0xd3, 0, 0, 0, 0, 0, 0, 0, 1), ""],
  ["unsigned ones", HELLO_64.with(10, 0xcf), bytes(0xcf, 0, 0, 0, 0, 0, 0, 0, 1), ""],
  ["the largest id", bytes(0x81, 0xa8, "clientid", 0xcf, new Array(8).fill(255)), bytes(1), ""],
  ["a negative id", encode({ clientid: -5 }), bytes(), "not the lab's server: its greeting is { clientid: -5 } (81 a8 63 6c 69 65 6e 74 69 64 fb \"..clientid.\")"],
  ["greets with None", bytes(0xc0), bytes(), "not the lab's server: its greeting is null (c0 \".\")"],
  ["greets with a list", encode(["clientid", 5]), bytes(), 'not the lab\'s server: its greeting is [ "clientid", 5 ] (92 a8 63 6c 69 65 6e 74 69 64 05 "..clientid.")'],
  ["a float as id", bytes(0x81, 0xa8, "clientid", 0xca, 0x40, 0xa0, 0, 0), bytes(), 'not the lab\'s server: its greeting is { clientid: 5 } (81 a8 63 6c 69 65 6e 74 69 64 ca 40 a0 00 00 "..clientid.@...")'],
  ["acknowledges before the request", bytes(HELLO, 1), bytes(), 'not the lab\'s server: its answer before the request is 1 (01 ".")'],
  ["refuses before the request", bytes(HELLO, encode({ error: "too late" })), bytes(), "the server refused: too late"],
  ["acknowledges with a float", HELLO, bytes(0xca, 0x3f, 0x80, 0, 0), "not the lab's server: its acknowledgement is 1 (ca 3f 80 00 00 \".?...\")"],
  ["greets in pickle", bytes(0x80, 4, framed), bytes(), "the server's greeting: this looks like a Python pickle"],
  ["acknowledges in pickle", HELLO, bytes(0x80, 4, "K\x01."), "the server's acknowledgement: this looks like a Python pickle"],
  ["a mail server", bytes("220 mail.example ESMTP\r\n"), bytes(), `not the lab's server: its greeting is 50 (${SMTP})`],
  ["a web server", bytes("HTTP/1.1 400 Bad Request\r\n"), bytes(), "the server's greeting: this looks like HTTP"],
  ["greets with text", encode("hello"), bytes(), 'not the lab\'s server: its greeting is "hello" (a5 68 65 6c 6c 6f ".hello")'],
  ["greets with a map of another kind", encode({ id: 5 }), bytes(), "not the lab's server: its greeting is { id: 5 } (81 a2 69 64 05 \"..id.\")"],
  ["greets with an error", encode({ error: "full" }), bytes(), "the server refused: full"],
  ["answers 2", HELLO, bytes(2), "not the lab's server: its acknowledgement is 2 (02 \".\")"],
  ["refuses", HELLO, encode({ error: "no" }), "the server refused: no"],
  ["closes at once", bytes(), bytes(), "the server has closed without a whole greeting"],
  ["answers half", HELLO, bytes(0xd3), "the server has closed without a whole acknowledgement"],
];

table("our client against other servers", SERVERS, async (_, greeting, answer, failure) => {
  const { failure: actual, ids } = await submitTo(greeting, answer);
  assertEquals(actual, failure);
  const id = greeting.at(-1) === 255 ? 2n ** 64n - 1n : 60644;
  assertEquals(ids, answer.length > 0 ? [id] : []);
});

table("our client sends an integer for an integer", [
  ["a small one", 7, 7n],
  ["5,000,000,000", 5_000_000_000, 5_000_000_000n],
  ["-1", -1, -1n],
  ["64 bits", 2n ** 64n - 1n, 2n ** 64n - 1n],
  ["text", "007", "007"],
], async (_, sid, expected) => {
  const { failure, request } = await submitTo(HELLO, bytes(1), sid as Student["sid"]);
  assertEquals(failure, "");
  const { sid: sent } = decode(request!) as unknown as Student;
  const isFloat = [0xca, 0xcb].includes(request!.at(-9)!) && typeof sid !== "string";
  assertEquals([typeof sent === "number" ? BigInt(sent) : sent, isFloat], [expected, false]);
});

netTest("our client sends a long request in as many writes as it takes", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const student = { ...ALICE, student_name: "x".repeat(4 << 20) }; // more than the kernel takes
  const submitting = submit(student, { port: (listener.addr as Deno.NetAddr).port });
  using conn = await listener.accept();
  await conn.write(HELLO);
  const framer = new Framer(8 << 20);
  let sent: Uint8Array | undefined;
  while (sent === undefined && await framer.read(conn) !== null) sent = framer.next();
  await conn.write(bytes(1));
  await submitting;
  const { student_name } = decode(sent!) as unknown as Student;
  assertEquals(student_name.length, student.student_name.length);
});

runTest("our client's --sid: digits are an integer, unless they would change", async () => {
  await using lab = new Lab();
  const rows: [string, Student["sid"]][] = [
    ["0", 0],
    ["-5", -5],
    ["123456789012345678", 123456789012345678n],
    ["007", "007"],
    ["99999999999999999999", "99999999999999999999"],
    ["x-1", "x-1"],
  ];
  for (const [typed, sid] of rows) {
    const port = String(lab.port);
    const client = Process.main("client", ...ALICE_ARGS, `--sid=${typed}`, "--port", port);
    await assertClientPasses(client, lab.port);
    assertEquals(lab.roster.at(-1)?.sid, sid);
  }
});

// The system's errors that a test cannot cause on loopback, as Deno gives them.
const NO_CONNECTION: Record<string, string> = {
  ECONNRESET: "The server at 127.0.0.1/1 has closed",
  EPERM: "This machine may not connect to 127.0.0.1/1: does a firewall forbid it?",
  EHOSTUNREACH: "No way to the machine of 127.0.0.1/1: is it on",
  ENETUNREACH: "No network leads to 127.0.0.1/1: is this machine connected",
  ETIMEDOUT: "Nobody answers at 127.0.0.1/1: is the server's machine on",
  ENOTCONN: "The server at 127.0.0.1/1 has closed",
  EINVAL: "127.0.0.1/1 is no address to connect to: one that begins with fe80: needs its zone",
  EACCES: "This machine may not connect to 127.0.0.1/1: does a firewall forbid it?",
};

runTest("our client without a connection: a sentence for each of the system's errors", async () => {
  for (const [code, says] of Object.entries(NO_CONNECTION)) {
    const error = `Object.assign(new Error("the system's words"), { code: "${code}" })`;
    const fake = `data:text/javascript,Deno.connect = () => Promise.reject(${error})`;
    const [program, run, ...args] = mainCommand("client", ...ALICE_ARGS, "--sid", "1", "--port=1");
    const [status, out, err] = await new Process(program, [run, "--preload", fake, ...args]).end();
    assertEquals([status, out, err.length], [1, [], 1], err.join("\n"));
    assert(err[0].startsWith(says), err[0]);
  }
});

runTest("our client without a connection: a name that nobody has", async () => {
  const [status, out, err] = await asClient(1, "--host", "nobody.invalid").end();
  assertEquals([status, out, err], [1, [], [
    "There is no machine of the name in nobody.invalid/1: see --host",
  ]]);
});

runTest("our client at a queue that is full: it says that it is not connected", async () => {
  await using lab = new Lab({ backlog: 1 });
  using _ = await lab.visit();
  const waiting = Array.from({ length: 4 }, () => asClient(lab.port));
  const hints = await Promise.all(waiting.map((client) => client.stderr.next()));
  assert(
    hints.some((hint) => hint?.startsWith("Not connected yet: nobody answers at that address, or")),
    hints.join(),
  );
  for (const client of waiting) await client[Symbol.asyncDispose]();
}, DROPPING_QUEUE);

netTest("our client says after a second what it waits for, and says it once", async () => {
  await using lab = new Lab();
  const first = await lab.visit();
  const told: string[] = [];
  const { promise: hint, resolve } = Promise.withResolvers<void>();
  const onWaiting = (waitingFor: string) => {
    told.push(waitingFor);
    resolve();
  };
  const start = performance.now();
  const submitting = submit(ALICE, { port: lab.port, onWaiting });
  await hint;
  const waited = performance.now() - start;
  assert(waited > 990 && waited < 2500, `${waited} ms`);
  await slowness(200);
  first.conn.close();
  await submitting;
  assertEquals(told, ["greeting"]);
});

netTest("our client that has failed says nothing later", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const told: string[] = [];
  const onWaiting = (waitingFor: string) => void told.push(waitingFor);
  const failing = submit(ALICE, { port: listener.addr.port, onWaiting }).catch(() => "failed");
  const conn = await listener.accept();
  conn.close();
  assertEquals(await failing, "failed");
  await slowness(1200); // It would have said so after a second.
  assertEquals(told, []);
});

runTest("our client waits its turn, and says so after a second", async () => {
  await using lab = new Lab();
  const first = await lab.visit();
  await using client = asClient(lab.port);
  const hint = await client.stderr.next();
  includes(hint, "Connected, no greeting yet", "another client");
  first.conn.close();
  await assertClientPasses(client, lab.port);
});

/** A server that takes the request and is silent: our client says so after 10 s. */
async function silentServerIsTold(): Promise<void> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await using client = asClient((listener.addr as Deno.NetAddr).port);
  using conn = await listener.accept();
  await conn.write(HELLO);
  const start = performance.now();
  const [code, out, err] = await client.end();
  assert(performance.now() - start > 9000);
  const says = "the server has the request, but no acknowledgement in 10 s";
  assertEquals([code, out.length, err], [1, 1, [says]]);
}

/** Our client is stopped while its acknowledgement comes: it is not told that it has failed. */
async function stoppedClientPasses(): Promise<void> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  await using client = asClient(port);
  using conn = await listener.accept();
  await conn.write(HELLO);
  await conn.read(new Uint8Array(1000));
  await slowness(8000);
  client.child.kill("SIGSTOP");
  await conn.write(bytes(1));
  await slowness(3000); // The 10 s pass.
  client.child.kill("SIGCONT");
  await assertClientPasses(client, port);
}

/** A client that sends nothing when the server stops: it is told so when its 5 s are over. */
async function silentClientIsToldAtTheStop(): Promise<void> {
  const [server, port] = await startServer("--request-timeout", "0");
  await using _ = server;
  using client = await visit(port);
  const start = performance.now();
  server.child.kill("SIGTERM");
  assertEquals(await client.receive(), { error: "the server stops" });
  assert(performance.now() - start >= 4900); // the time to finish is 5 s
  client.conn.close();
  const [code, , err] = await server.end();
  assertEquals(code, 0);
  assert(err.includes(`WARN ${client.name}: the server stops`), err.join("\n"));
}

runTest(
  "what takes long, side by side: no acknowledgement, a late one, a server that stops",
  async () => {
    const withSignals = UNIX_SIGNALS ? [stoppedClientPasses(), silentClientIsToldAtTheStop()] : [];
    await Promise.all([silentServerIsTold(), ...withSignals]);
  },
);

// -------------------------------------------------------------------------- Python's clients --

// Visits the server with each of these pieces of a student's code, and says for each who it was,
// what the server has answered, and with which exception it has died.
const TRY = `
import json, select, socket, struct, sys
import msgpack
from pickle import dumps, loads
d = {"student_name": "Alice Brown", "github_username": "abrown", "sid": 123456789}
raw = msgpack.packb
for code in sys.argv[2:]:
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    name = "127.0.0.1:%d" % s.getsockname()[1]
    answers, failure = msgpack.Unpacker(), ""
    try:
        exec(code)
        while data := s.recv(4096):
            answers.feed(data)
    except Exception as error:
        failure = type(error).__name__ + ": " + str(error)
    s.close()
    print(json.dumps([name, list(answers), failure]))
`;

type Mistake = [code: string, level: string, ...words: string[]];
const READS_FIRST = "loads(s.recv(4096)); ";
// deno-fmt-ignore
const MISTAKES: Mistake[] = [
  [`s.send(dumps({key.replace("student_", ""): value for key, value in d.items()}))`, "WARN", "student_name is missing", 'the dict has: "name", "github_username", "sid"'],
  [`s.send(dumps({"data": d}))`, "WARN", "student_name is missing", 'the dict has: "data"'],
  [`s.send(dumps({**d, "student_name": "Alice".encode()}))`, "WARN", "student_name must be a string, but it is bytes", "leave out .encode()"],
  [`s.send(dumps({**d, "sid": None}))`, "WARN", "sid must be an integer or a string, but it is None"],
  [`s.send(repr(d).encode())`, "WARN", "the text of a Python dict", "send msgpack.packb(d)", "not str() or repr()"],
  [`s.send(dumps(str(d)))`, "WARN", "a string came", "the text of a Python dict", "send msgpack.packb(d)", "not str() or repr()"],
  [`s.send(dumps(repr(d).encode()))`, "WARN", "bytes came", "the text of a Python dict"],
  [`s.send(json.dumps(d).encode())`, "WARN", "JSON text", "send msgpack.packb(d)", "not json.dumps()"],
  [`s.send(json.dumps(d, indent=4).encode())`, "WARN", "JSON text"],
  [`s.send(json.dumps([d]).encode())`, "WARN", "JSON text"],
  [`s.send(json.dumps([d], indent=4).encode())`, "WARN", "JSON text"],
  [`s.send(json.dumps(list(d.values())).encode())`, "WARN", "JSON text"],
  [`s.send(dumps(json.dumps(d)))`, "WARN", "a string came", "JSON text", "json.dumps()"],
  [`s.send(dumps(json.dumps(d).encode()))`, "WARN", "bytes came", "JSON text"],
  [`s.send(dumps(dumps(d)))`, "WARN", "bytes came", "packed once and alone", "student_"],
  [`s.send(dumps(list(d.values())))`, "WARN", "expected a dict with the keys student_name, github_username and sid", "a list came", "93 ab 41 6c 69 63 65"],
  [`[s.send(dumps(value)) for value in d.values()]`, "WARN", "expected a dict", "a string came", "Alice Brown"],
  [`s.send(dumps("Alice Brown"))`, "WARN", "expected a dict", "a string came", "Alice Brown"],
  [`s.send(b"Alice Brown")`, "WARN", "expected a dict", "a number, a length or plain text came", '(41 "A")', "msgpack.packb(d)"],
  [`b = dumps(d); s.send(struct.pack(">I", len(b)) + b)`, "WARN", "expected a dict", '(00 ".")', "packed once and alone"],
  [`b = dumps(d); s.send(b"%10d" % len(b) + b)`, "WARN", "expected a dict", '(20 " ")', "packed once and alone"],
  [`b = dumps(d); s.send(b"%-10d" % len(b) + b)`, "WARN", "expected a dict", '(35 "5")', "packed once and alone"],
  [`s.send(raw({key.encode(): value for key, value in d.items()}))`, "WARN", "a key must be a string, but it is bytes"],
  [`s.send(dumps(d)); select.select([s], [], []); s.close()`, "WARN", "the client broke the connection", "closed with something unread"],
  [`s.send(dumps(d)[:20]); s.shutdown(socket.SHUT_WR)`, "WARN", "the client closed after 20 bytes of a message"],
  [`s.close()`, "INFO", "left without sending"],
];
const PICKLES: Mistake[] = [
  [
    `loads(s.recv(4096)); s.send(dumps(d))`,
    "INFO",
    "left without sending",
    "put the lab's pickle.py beside it",
    "unpickling stack underflow",
  ],
  ...[0, 1, 2, 3, 4, 5].map((protocol): Mistake => [
    `s.send(dumps(d, ${protocol}))`,
    "WARN",
    "a Python pickle",
    "use msgpack, or put the lab's pickle.py beside the program",
  ]),
];

/** Makes each of these mistakes, one after the other, and looks at both ends. */
async function tryMistakes(mistakes: Mistake[], pickle: "msgpack" | "real", ...options: string[]) {
  const [server, port] = await startServer(...options);
  await using _ = server;
  const before = pickle === "real" ? "" : READS_FIRST;
  const code = mistakes.map(([code]) => before + code);
  const [status, lines, err] = await Process.python(["-c", TRY, `${port}`, ...code], pickle).end();
  assertEquals([status, err, lines.length], [0, [], mistakes.length]);
  const [, , console] = await server.stop();
  assertEquals(console.length, mistakes.length + 1, console.join("\n"));
  for (const [i, [code, level, ...words]] of mistakes.entries()) {
    const [name, answers, failure] = JSON.parse(lines[i]);
    assert(console[i].startsWith(`${level} ${name}: `), `${code}: ${console[i]}`);
    includes(console[i], ...words);
    if (failure === "") assertEquals(`${level} ${name}: ${answers.at(-1)?.error}`, console[i]);
    else if (pickle === "real") {
      assertEquals(failure, "UnpicklingError: unpickling stack underflow");
    } else includes(code, "s.close()");
  }
}

runTest(
  "Python: each usual mistake is told in words that help, at both ends",
  () => tryMistakes(MISTAKES, "msgpack"),
  PYTHON,
);

runTest(
  "the real pickle, in each protocol, is told at both ends",
  () => tryMistakes(PICKLES, "real"),
  PYTHON,
);

runTest("a student who types for too long is told which option gives more time", async () => {
  const code = "select.select([s], [], []); s.send(dumps(d))"; // sends when it has been told
  const words = ["no whole request within 0.3 s", "--request-timeout"];
  await tryMistakes([[code, "WARN", ...words]], "msgpack", "--request-timeout", "0.3");
}, PYTHON);

runTest("a client that never reads its answers cannot hold the server", async () => {
  // Answers are one byte each: with the least of buffers some 50,000 requests fill them.
  const script = `import msgpack, socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 88)
s.connect(("127.0.0.1", int(sys.argv[1])))
print(s.getsockname()[1], flush=True)
requests = msgpack.packb({"student_name": "a", "github_username": "b", "sid": 1}) * 1000
try:
    while True: s.sendall(requests)
except OSError: pass`;
  await using lab = new Lab({ requestTimeout: 300, turnTimeout: 0 });
  await using flood = new Process(PY, ["-c", script, String(lab.port)]);
  const name = `127.0.0.1:${await flood.stdout.next()}`;
  using next = await lab.connect();
  await next.greeting();
  const { level, client, message } = await lab.log.until("stalled");
  assertEquals([level, client], ["WARN", name]);
  assertEquals(message, `${name}: its answers were left unread for 0.3 s`);
  assertEquals((await flood.end())[0], 0);
}, PYTHON && SMALL_SEGMENTS);

// Students that connect at once, and never hang up by themselves.
const CLASS = `
import json, os, pickle, socket, sys, time
gate, opener = os.pipe()
for sid in range(int(sys.argv[2])):
    if os.fork() == 0:
        try:
            os.close(opener)
            os.read(gate, 1)  # until all are there
            s = socket.socket()
            before = time.monotonic()
            s.connect(("127.0.0.1", int(sys.argv[1])))
            after = time.monotonic()
            hello = pickle.loads(s.recv(4096))
            s.send(pickle.dumps({"student_name": "A", "github_username": "a", "sid": sid}))
            answer = pickle.loads(s.recv(4096))
            os.write(1, (json.dumps([sid, before, after, answer]) + "\\n").encode())
            s.recv(4096)
        except Exception as error:
            os.write(2, (repr(error) + "\\n").encode())
        os._exit(0)
os.close(opener)
for _ in range(int(sys.argv[2])): os.wait()
`;

async function serveClass(students: number, ...options: string[]): Promise<void> {
  const [server, port] = await startServer(...options);
  await using _ = server;
  await using python = Process.python(["-c", CLASS, String(port), String(students)]);
  const [, lines, err] = await python.end();
  assertEquals(err, []);
  const connected = new Map<number, [before: number, after: number]>();
  for (const line of lines) {
    const [sid, before, after, answer] = JSON.parse(line);
    assertEquals(answer, ACK);
    connected.set(sid, [before, after]);
  }
  const [code, out, log] = await server.stop();
  assertEquals([code, out.length, connected.size], [0, students, students]);
  assertEquals(
    log.filter((line) => /^INFO 127.*silent for .*next client's turn$/.test(line)).length,
    students,
  );
  assertEquals(log.at(-1), `INFO Served ${students} clients and ${students} requests`);
  // Who was connected before another one began to connect is served before that one.
  const order = out.map((line) => connected.get(Number(line.split("sid: ")[1]))!);
  for (const [i, [before]] of order.entries()) {
    for (const [, after] of order.slice(i + 1)) assert(after + 0.002 > before, `place ${i}`);
  }
}

runTest(
  "thirty at once that never hang up, with the default queue: in order",
  () => serveClass(30, "--keep-alive-timeout", "0.1"),
  PYTHON,
);

// --------------------------------------------------------------- several servers behind HAProxy --

/** A port that nobody uses at the moment. */
function unusedPort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** The README's configuration of HAProxy with these ports: its own first, then the servers'. */
async function haproxyConfig(ports: number[]): Promise<string> {
  const config = firstBlock(await readProjectFile("README.md"), "haproxy");
  return config.replace(/127\.0\.0\.1:1200(\d)/g, (_, digit) => {
    const port = ports[Number(digit)];
    assert(port !== undefined, `the README has one server too many: 1200${digit}`);
    return `127.0.0.1:${port}`;
  });
}

/** HAProxy with a configuration in a file; disposing of it ends it and removes the file. */
class Haproxy {
  readonly #process: Process;

  private constructor(readonly file: string) {
    this.#process = new Process("haproxy", ["-db", "-f", file]);
  }

  static async start(config: string): Promise<Haproxy> {
    const file = await Deno.makeTempFile();
    await Deno.writeTextFile(file, config);
    return new Haproxy(file);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
    await Deno.remove(this.file);
  }
}

/** Waits until HAProxy listens, and serves one student whose id is no number. */
async function untilItServes(port: number): Promise<void> {
  for (;;) {
    try {
      await submit({ ...ALICE, sid: "ready" }, { port });
      return;
    } catch (error) {
      if (!(error instanceof Deno.errors.ConnectionRefused)) throw error;
      await slowness(5); // HAProxy's own
    }
  }
}

/** What became of a class. */
interface Outcome {
  /** The ids of those who were acknowledged. */
  passed: number[];
  /** The errors of the others. */
  failed: unknown[];
}

/** 200 students at once, with their ids from this one on; each who passes is told with the count. */
async function submitClass(
  port: number,
  firstSid: number,
  onPass: (count: number) => void = () => {},
): Promise<Outcome> {
  const outcome: Outcome = { passed: [], failed: [] };
  const submitOne = async (sid: number) => {
    try {
      await submit({ ...ALICE, sid }, { port });
      outcome.passed.push(sid);
      onPass(outcome.passed.length);
    } catch (error) {
      outcome.failed.push(error);
    }
  };
  await Promise.all(Array.from({ length: 200 }, (_, i) => submitOne(firstSid + i)));
  return outcome;
}

/** Ends the servers, one of which was killed, and gives the ids that are numbers on all rosters. */
async function endedRosters(servers: Process[], killed: Process): Promise<number[]> {
  const roster: string[] = [];
  for (const server of servers) {
    if (server !== killed) server.child.kill("SIGTERM");
    const [, out, err] = await server.end();
    roster.push(...out);
    assertEquals(err.filter((line) => /^(WARN|ERROR)/.test(line)), []); // a health check is none
  }
  return roster.map((line) => Number(line.split("sid: ")[1])).filter((sid) => sid >= 0);
}

runTest("HAProxy as in the README: four servers, none lost; one is killed", async () => {
  await using started = new AsyncDisposableStack();
  const backends = await Promise.all([1, 2, 3, 4].map(() => startServer()));
  const servers = backends.map(([server]) => started.use(server));
  const [victim] = servers;
  const port = unusedPort();
  const config = await haproxyConfig([port, ...backends.map(([, backendPort]) => backendPort)]);
  await using _ = await Haproxy.start(config);
  await untilItServes(port);

  const before = await submitClass(port, 0);
  assertEquals([before.passed.length, before.failed], [200, []]);
  const meanwhile = await submitClass(port, 200, (count) => {
    if (count === 100) victim.child.kill("SIGKILL");
  });
  const { failed } = meanwhile;
  assert(failed.length <= 4, `${failed}`); // those whom the killed server had accepted
  assertEquals(meanwhile.passed.length + failed.length, 200);

  const sids = await endedRosters(servers, victim);
  assertEquals(new Set(sids).size, sids.length);
  for (const sid of [...before.passed, ...meanwhile.passed]) {
    assert(sids.includes(sid), `${sid} is on no roster`);
  }
}, HAPROXY);

runTest(
  "npm's packages and @std's: a thousand streams get the same answers and the same roster",
  async () => {
    const random = randomizer(SEEDS[1]);
    const streams = Array.from({ length: 1000 }, () => randomStream(random));
    const npm = ["run", "--config", "npm/deno.json", "--allow-net", "main.ts", "--port", "0"];
    await using ours = Process.main("--port", "0");
    await using theirs = new Process(Deno.execPath(), npm);
    const results = await Promise.all([ours, theirs].map(async (server) => {
      const port = Number((await server.stdout.next())?.split("/")[1]);
      const printed = Promise.all([server.stdout.rest(), server.stderr.rest()]); // lest a pipe fills up
      const answers: unknown[][] = [];
      for (const stream of streams) {
        using client = await Client.connect(port);
        await client.greeting();
        await client.send(stream).then(() => client.conn.closeWrite()).catch(() => {});
        answers.push(await client.receiveAll());
      }
      server.child.kill("SIGTERM");
      await server.child.status;
      const [roster] = await printed;
      return { answers, roster };
    }));
    assertEquals(results[0], results[1]);
    assert(results[0].roster.length > 100);
  },
  !configFlags().includes("npm/deno.json"),
);

// ------------------------------------------------------------------------------- the README --

function readProjectFile(file: string): Promise<string> {
  return Deno.readTextFile(new URL(file, ROOT));
}

/** The first block of code in this language. */
function firstBlock(markdown: string, language: string): string {
  const block = markdown.match(new RegExp("```" + language + "\n([^`]+)```"))?.[1];
  assert(block !== undefined, `there is no block in ${language}`);
  return block;
}

/** The cells of the tables in a section, row by row, without the head of the first table. */
function tableRows(markdown: string, title: string): string[][] {
  const section = markdown.split(`\n## ${title}\n`)[1].split("\n## ")[0];
  const rows = section.split("\n").filter((line) => line.startsWith("|")).slice(2);
  return rows.map((row) => row.slice(1, -1).split("|").map((cell) => cell.trim()));
}

/** The README has the options of `--help`, with the same words. */
async function assertOptionsAgree(readme: string): Promise<void> {
  const [, help] = await Process.main("--help").end();
  const options = help.flatMap((line) => [...line.matchAll(/^ {2}(--\S+ \S+) +(.+)$/g)]);
  const expected = options.map(([, option, meaning]) => [`\`${option}\``, meaning]);
  assertEquals(tableRows(readme, "Options"), expected);
}

/** The README has the events that the code logs, and no other. */
function assertEventsAgree(readme: string, code: string): void {
  // The ends of a visit stand in a table; what else is logged has its event in the record.
  const endings = code.split("const ENDINGS")[1].split("\n};")[0];
  const logged = new Set<string>();
  for (const [, event] of endings.matchAll(/^ {2}"?([\w-]+)"?: /gm)) logged.add(event);
  for (const [, event] of code.matchAll(/event: "([\w-]+)"/g)) logged.add(event);
  assert(logged.size > 15);
  const rows = tableRows(readme, "What it withstands");
  const named = rows.flatMap(([, events]) => events.split(", "));
  assertEquals(named.toSorted(), [...logged].map((event) => `\`${event}\``).toSorted());
}

/** The first commands of the README are the ones that are tested for each change. */
async function assertCommandsAgree(readme: string): Promise<void> {
  const ci = await readProjectFile(".ci/run");
  const commands = firstBlock(readme, "sh").trim().split("\n");
  assertEquals(commands, ["npx deno task start", "npx deno task test"]);
  for (const command of commands) includes(ci, command);
}

/** Each task that the README names is in `deno.json`. */
async function assertTasksExist(readme: string): Promise<void> {
  const { tasks } = JSON.parse(await readProjectFile("deno.json"));
  for (const [, task] of readme.matchAll(/deno task ([\w:]+)/g)) assert(task in tasks, task);
}

/** The names in the last column of the README's table of hints: places in the code. */
function placesOfHints(readme: string): string[] {
  const rows = readme.split("| hint ")[1].split("\n\n")[0].split("\n").slice(2);
  const places: string[] = [];
  for (const row of rows) {
    const cell = row.split("|").at(-2);
    assert(cell !== undefined, row);
    for (const [, name] of cell.matchAll(/`(#?\w+)`/g)) places.push(name);
  }
  return places;
}

/** Each place that the README names is a class, a function or a method of the code. */
function assertPlacesExist(readme: string, code: string): void {
  const places = placesOfHints(readme);
  assert(places.length > 6);
  for (const name of places) {
    const definition = new RegExp(`(class|function) ${name}\\b|^  async ${name}\\(`, "m");
    assert(definition.test(code), name);
  }
}

/** Each file that the README names can be read. */
async function assertFilesExist(readme: string): Promise<void> {
  const names = readme.matchAll(/`([\w./]+\.(?:ts|py|json|lock))`/g);
  for (const [, file] of names) await readProjectFile(file);
}

runTest("the README: its options, events, commands and names are those of the code", async () => {
  const readme = await readProjectFile("README.md");
  const code = await readProjectFile("main.ts");
  await assertOptionsAgree(readme);
  assertEventsAgree(readme, code);
  await assertCommandsAgree(readme);
  await assertTasksExist(readme);
  assertPlacesExist(readme, code);
  await assertFilesExist(readme);
});

// ------------------------------------------------------------------------------ fuzz and soak --

/** Random numbers below `n`, the same for the same seed (mulberry32). */
function randomizer(seed: number): (n: number) => number {
  return (n) => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), seed | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % n;
  };
}

type Random = ReturnType<typeof randomizer>;
const SMALL = everyType().filter((message) => message.length < 300);

function randomStream(random: Random): Uint8Array<ArrayBuffer> {
  const noise = () => Uint8Array.from({ length: random(30) }, () => random(256));
  const variant = () =>
    rawRequest({ [Object.keys(ALICE)[random(3)]]: SMALL[random(SMALL.length)] });
  const part = () =>
    [() => REQUEST, () => SMALL[random(SMALL.length)], noise, variant][random(4)]();
  const stream = [...bytes(...Array.from({ length: 1 + random(6) }, part))];
  for (let mutations = random(3); mutations > 0 && stream.length > 0; mutations--) {
    const at = random(stream.length);
    if (random(3) === 0) stream.splice(at, 1 + random(5));
    else if (random(2) === 0) stream.splice(at, 0, random(256));
    else stream[at] = random(256);
  }
  return bytes(stream);
}

function randomPieces(random: Random, stream: Uint8Array): Uint8Array[] {
  const pieces = [];
  for (let at = 0; at < stream.length;) {
    const end = at + 1 + random(random(2) ? 3 : stream.length);
    pieces.push(stream.subarray(at, end));
    at = end;
  }
  return pieces;
}

const NOT_UTF8 = Symbol("text that is not UTF-8");
type Plain =
  | null
  | boolean
  | number
  | bigint
  | string
  | symbol
  | Uint8Array
  | Plain[]
  | Map<Plain, Plain>;

/** How a stream goes on after its last whole value; the framing has the same names. */
type Continuation = "end" | "more" | "too-long" | "malformed";

/** What a plain reading finds in a stream. */
interface Reading {
  /** The whole values. */
  values: Plain[];
  /** Where each of them ends, in bytes from the beginning of the stream. */
  ends: number[];
  /** How it goes on after the last one. */
  then: Continuation;
}

/** Ends a plain reading before the end of the stream. */
class CannotGoOn extends Error {
  constructor(readonly then: Continuation) {
    super(then);
  }
}

/** Where a value stands among the containers around it. */
interface Place {
  /** How many containers it is in. */
  depth: number;
  /** How many values follow it in these containers. Each of them is a byte at least. */
  after: number;
}

const OUTSIDE: Place = { depth: 0, after: 0 };
const DEEPEST = 64;
const isTextType = (type: number) => type >= 0xa0 && type <= 0xbf || type >= 0xd9 && type <= 0xdb;

/**
 * A second opinion: the whole stream at once, byte by byte and recursive, straight from the
 * specification's table.
 */
class PlainReader {
  /** Where the next byte is. */
  #at = 0;
  /** Where the message around it begins. */
  #start = 0;

  constructor(readonly stream: Uint8Array, readonly limit: number) {}

  readAll(): Reading {
    const values: Plain[] = [];
    const ends: number[] = [];
    try {
      while (this.#at < this.stream.length) {
        this.#start = this.#at;
        values.push(this.#value(OUTSIDE));
        ends.push(this.#at);
      }
      return { values, ends, then: "end" };
    } catch (error) {
      if (!(error instanceof CannotGoOn)) throw error;
      return { values, ends, then: error.then };
    }
  }

  #value(place: Place): Plain {
    const type = this.#length(1, place);
    return this.#ofType(type, place);
  }

  #key(place: Place): Plain {
    const type = this.#length(1, place);
    if (!isTextType(type)) throw new CannotGoOn("malformed");
    return this.#ofType(type, place);
  }

  #ofType(type: number, place: Place): Plain {
    if (type <= 0x7f) return BigInt(type);
    if (type <= 0xbf) return this.#withLengthInType(type, place);
    if (type <= 0xc9) return this.#constantOrBytes(type, place);
    if (type <= 0xd3) return this.#number(type, place);
    if (type <= 0xdf) return this.#withLengthBehindType(type, place);
    return BigInt(type - 256);
  }

  /** The types from 80 to bf: fixmap, fixarray, fixstr. */
  #withLengthInType(type: number, place: Place): Plain {
    if (type <= 0x8f) return this.#map(type - 0x80, place);
    if (type <= 0x9f) return this.#array(type - 0x90, place);
    return this.#text(type - 0xa0, place);
  }

  /** The types from c0 to c9: nil, the type that is never used, false and true, bin, ext. */
  #constantOrBytes(type: number, place: Place): Plain {
    if (type === 0xc0) return null;
    if (type === 0xc1) throw new CannotGoOn("malformed");
    if (type <= 0xc3) return type === 0xc3;
    if (type <= 0xc6) {
      const length = this.#length(2 ** (type - 0xc4), place);
      return this.#take(length, place);
    }
    throw new CannotGoOn("malformed");
  }

  /** The types from ca to d3: float, uint, int. */
  #number(type: number, place: Place): Plain {
    if (type === 0xca) return new DataView(this.#take(4, place).buffer).getFloat32(0);
    if (type === 0xcb) return new DataView(this.#take(8, place).buffer).getFloat64(0);
    if (type <= 0xcf) return this.#unsigned(2 ** (type - 0xcc), place);
    const size = 2 ** (type - 0xd0);
    return BigInt.asIntN(8 * size, this.#unsigned(size, place));
  }

  /** The types from d4 to df: fixext, str, array, map. */
  #withLengthBehindType(type: number, place: Place): Plain {
    if (type <= 0xd8) throw new CannotGoOn("malformed");
    if (type <= 0xdb) return this.#text(this.#length(2 ** (type - 0xd9), place), place);
    if (type <= 0xdd) return this.#array(this.#length(2 ** (type - 0xdb), place), place);
    return this.#map(this.#length(2 ** (type - 0xdd), place), place);
  }

  #array(count: number, place: Place): Plain[] {
    this.#enter(count, place);
    const depth = place.depth + 1;
    const items: Plain[] = [];
    for (let left = count - 1; left >= 0; left--) {
      items.push(this.#value({ depth, after: place.after + left }));
    }
    return items;
  }

  #map(count: number, place: Place): Map<Plain, Plain> {
    this.#enter(2 * count, place);
    const depth = place.depth + 1;
    const map = new Map<Plain, Plain>();
    for (let left = 2 * count - 1; left >= 0; left -= 2) {
      const key = this.#key({ depth, after: place.after + left });
      const value = this.#value({ depth, after: place.after + left - 1 });
      map.set(key, value);
    }
    return map;
  }

  /** Refuses a container of so many values that is too deep, or in which they have no room. */
  #enter(count: number, { depth, after }: Place): void {
    if (count > 0 && depth === DEEPEST) throw new CannotGoOn("malformed");
    this.#assertRoom(count + after);
  }

  #text(length: number, place: Place): string | typeof NOT_UTF8 {
    const taken = this.#take(length, place);
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(taken);
    } catch {
      return NOT_UTF8;
    }
  }

  #length(size: number, place: Place): number {
    return Number(this.#unsigned(size, place));
  }

  #unsigned(size: number, place: Place): bigint {
    const taken = this.#take(size, place);
    return taken.reduce((number, byte) => number * 256n + BigInt(byte), 0n);
  }

  #take(count: number, { after }: Place): Uint8Array {
    this.#assertRoom(count + after);
    const end = this.#at + count;
    if (end > this.stream.length) throw new CannotGoOn("more");
    const taken = this.stream.slice(this.#at, end);
    this.#at = end;
    return taken;
  }

  /** Refuses a message that goes over the limit when so many bytes follow. */
  #assertRoom(count: number): void {
    if (this.#at + count - this.#start > this.limit) throw new CannotGoOn("too-long");
  }
}

/** Whether a text in it, or in what it holds, is not UTF-8 or begins with a byte order mark. */
function hasBadText(value: Plain): boolean {
  if (value === NOT_UTF8) return true;
  if (typeof value === "string") return value.startsWith("\ufeff");
  if (value instanceof Map) return [...value.entries()].flat().some(hasBadText);
  return Array.isArray(value) && value.some(hasBadText);
}

const isVisible = (char: string) =>
  /[\p{L}\p{M}\p{N}\p{P}\p{S}]/u.test(char) &&
  !/[\p{Default_Ignorable_Code_Point}\u2800]/u.test(char);

/** The second opinion on a request: the roster's entry, or nothing. */
function readStudent(value: Plain): Student | undefined {
  if (!(value instanceof Map) || hasBadText(value)) return undefined;
  const [student_name, github_username, id] = Object.keys(ALICE).map((key) => value.get(key));
  const isText = (each: unknown): each is string =>
    typeof each === "string" && [...each].some(isVisible);
  const isFloat = typeof id === "number" && Number.isSafeInteger(id);
  const isInteger = typeof id === "bigint";
  const sid = isInteger && Number.isSafeInteger(Number(id)) ? Number(id) : id;
  if (!isText(student_name) || !isText(github_username)) return undefined;
  if (!isText(sid) && !isInteger && !isFloat) return undefined;
  return { student_name, github_username, sid: sid as Student["sid"] };
}

// The same cases each time, and new ones: a failure shows the seed, `-- seed=N` runs it again.
const given = Deno.args.find((arg) => arg.startsWith("seed="))?.slice(5);
const SEEDS = [20261124, Number(given ?? crypto.getRandomValues(new Uint32Array(1))[0])];

async function withSeeds(body: (random: Random) => Promise<void>): Promise<void> {
  for (const seed of SEEDS) {
    try {
      await body(randomizer(seed));
    } catch (error) {
      throw new Error(`with seed=${seed}: ${error}`, { cause: error });
    }
  }
}

/** Where the messages end, and how it goes on, in one line. */
async function framesAsText(pieces: Uint8Array[], limit: number): Promise<string> {
  const [found, then] = await frames(pieces, limit);
  const ends: number[] = [];
  let end = 0;
  for (const message of found) {
    end += message.length;
    ends.push(end);
  }
  return [...ends, then].join(" ");
}

Deno.test("fuzz: the framing agrees with a plain reading, however it is split", () =>
  withSeeds(async (random) => {
    for (let i = 0; i < 2000; i++) {
      const stream = randomStream(random);
      const limit = random(2) ? 4096 : 1 + random(100);
      const { ends, then } = new PlainReader(stream, limit).readAll();
      for (const pieces of [[stream], randomPieces(random, stream), oneByOne(stream)]) {
        const expected = [...ends, then].join(" ");
        assertEquals(await framesAsText(pieces, limit), expected, `${stream.toHex()} at ${limit}`);
      }
    }
  }));

/** Prints a line for each stream: where its values end, as Python's msgpack reads them. */
const UNPACKER = `
import msgpack, sys

def refuse(code, data):
    raise TypeError("extension type")

def refuse_timestamps(value):  # msgpack knows this extension type itself, and asks no hook
    if isinstance(value, msgpack.Timestamp):
        raise TypeError("extension type")
    if isinstance(value, (list, tuple)):
        for each in value:
            refuse_timestamps(each)

def pairs(items):
    if not all(isinstance(key, str) for key, _ in items):
        raise TypeError("a key that is no text")
    return items

for line in sys.argv[1].split(","):
    unpacker = msgpack.Unpacker(
        ext_hook=refuse,
        strict_map_key=False,
        unicode_errors="replace",
        object_pairs_hook=pairs,
    )
    unpacker.feed(bytes.fromhex(line))
    ends = []
    try:
        while True:
            refuse_timestamps(unpacker.unpack())
            ends.append(str(unpacker.tell()))
    except Exception as error:
        print(" ".join(ends))
`;

runTest("fuzz: the framing agrees with Python's Unpacker", async () => {
  const random = randomizer(SEEDS[1]);
  const streams = Array.from({ length: 300 }, () => randomStream(random));
  const hex = streams.map((stream) => stream.toHex()).join(",");
  const lines = (await probe(PY, "-c", UNPACKER, hex))?.split("\n") ?? [];
  for (const [i, stream] of streams.entries()) {
    const found = (await framesAsText([stream], 2 ** 20)).replace(/ ?\S+$/, "");
    assertEquals(found, lines[i], `seed=${SEEDS[1]}: ${stream.toHex()}`);
  }
}, PYTHON);

/** Sends this and is gone at once, by a reset or by a close. */
async function sendAndVanish(port: number, stream: Uint8Array, random: Random): Promise<void> {
  const socket = createConnection(port, "127.0.0.1");
  await once(socket, "connect");
  socket.write(stream);
  if (random(2)) socket.resetAndDestroy();
  else socket.destroy();
  await once(socket, "close");
}

/** What the server has promised to a stream. */
interface Promised {
  /** Its answers; each refusal is `error` here. */
  answers: unknown[];
  /** Who comes on the roster. */
  students: Student[];
}

function promisedFor(stream: Uint8Array): Promised {
  const { values, then } = new PlainReader(stream, 4096).readAll();
  const readings = values.map(readStudent);
  const firstFault = readings.indexOf(undefined);
  const good = firstFault === -1 ? readings : readings.slice(0, firstFault);
  const students = good.filter((student) => student !== undefined);
  const isFault = students.length < values.length || then !== "end";
  const refusals = isFault ? ["error"] : [];
  return { answers: [...students.map(() => ACK), ...refusals], students };
}

/** Sends the pieces and ends the stream. After a fault nobody listens any more. */
async function sendPieces(client: Client, pieces: Uint8Array[]): Promise<void> {
  try {
    for (const piece of pieces) await client.send(piece);
    await client.conn.closeWrite();
  } catch { // It was refused.
  }
}

async function assertKeepsPromise(lab: Lab, stream: Uint8Array, random: Random): Promise<void> {
  const promised = promisedFor(stream);
  const before = lab.roster.length;
  using client = await lab.visit();
  const sending = sendPieces(client, randomPieces(random, stream));
  const answers = (await client.receiveAll()).map((each) => isError(each) ? "error" : each);
  await sending;
  assertEquals(answers, promised.answers, stream.toHex());
  assertEquals(lab.roster.slice(before), promised.students, stream.toHex());
}

netTest(
  "fuzz: whatever comes, in whatever pieces, answers and roster are as promised",
  () =>
    withSeeds(async (random) => {
      await using lab = new Lab();
      for (let i = 0; i < 300; i++) {
        const stream = randomStream(random);
        if (random(8) === 0) {
          await sendAndVanish(lab.port, stream, random);
          await lab.check();
        } else {
          await assertKeepsPromise(lab, stream, random);
        }
      }
      await lab.check();
      assertEquals(lab.log.of("ERROR"), []);
    }),
);

const soakTest = Deno.args.includes("soak") ? runTest : () => {};

soakTest("soak: thirty students that never hang up, all defaults: served within 70 s", async () => {
  const start = performance.now();
  await serveClass(30);
  assert(performance.now() - start < 70_000);
}, PYTHON);

/**
 * A server whose young generation stays small. V8 lets it grow with all that has ever survived in
 * it, and that growth would hide what is ours.
 */
function startWithSmallHeap(): Process {
  const [program, run, ...args] = mainCommand("--port", "0", "--request-timeout", "0.2");
  return new Process(program, [run, "--v8-flags=--max-semi-space-size=1", ...args]);
}

/** What a client does wrong. */
interface Misbehaviour {
  act: (client: Client, port: number) => Promise<void>;
  /** Whether the client is told. */
  isRefused: boolean;
}

const MISBEHAVIOURS: Misbehaviour[] = [
  { act: (client) => client.send(0xc1), isRefused: true },
  { act: (client) => client.send(encode({})), isRefused: true },
  { act: (client) => client.send(0x80, 4, framed), isRefused: true },
  { act: (client) => client.send("GET / HTTP/1.1\r\n"), isRefused: true },
  { act: (client) => client.send(0xdb, 255, 255, 255, 255), isRefused: true },
  { act: sendHalf, isRefused: true },
  { act: closeAndReset, isRefused: false },
];
const SILENCE: Misbehaviour = { act: async () => {}, isRefused: true };

async function sendHalf(client: Client): Promise<void> {
  await client.send(REQUEST.subarray(0, 20));
  await client.conn.closeWrite();
}

async function closeAndReset(client: Client, port: number): Promise<void> {
  client.conn.close();
  await reset(port, encode([]));
}

/** The client with this number misbehaves: one in a hundred of these is silent. */
async function misbehave(port: number, number: number): Promise<void> {
  const isSilent = number % 1000 === 0;
  const next = MISBEHAVIOURS[(number / 10) % MISBEHAVIOURS.length];
  const { act, isRefused } = isSilent ? SILENCE : next;
  using client = await visit(port);
  await act(client, port);
  if (isRefused) assert(isError(await client.receive()));
}

/** A good client is acknowledged, and is the next one on the roster. */
async function passWithLine(server: Process, port: number, sid: number): Promise<void> {
  using client = await visit(port);
  await client.pass(encode({ ...ALICE, sid }));
  const line = await server.stdout.next();
  assertEquals(Number(line?.split("sid: ")[1]), sid);
}

/** The clients with the numbers from `first` to `last`; gives how many were acknowledged. */
async function visitOneByOne(
  server: Process,
  port: number,
  first: number,
  last: number,
): Promise<number> {
  let acknowledged = 0;
  for (let number = first; number <= last; number++) {
    if (number % 10 === 0) {
      await misbehave(port, number);
    } else {
      await passWithLine(server, port, number);
      acknowledged++;
    }
  }
  return acknowledged;
}

/** What a process uses: its memory in MB, and its open files. */
interface Usage {
  resident: number;
  files: number;
}

async function usageOf({ child }: Process): Promise<Usage> {
  const rss = await probe("ps", "-o", "rss=", "-p", String(child.pid));
  const open = await probe("ls", `/proc/${child.pid}/fd`);
  return { resident: Number(rss) / 1024, files: open?.trim().split("\n").length ?? 0 };
}

soakTest("soak: 100,000 clients, one in ten misbehaves; nothing grows", async () => {
  await using server = startWithSmallHeap();
  const port = await portOf(server);
  const warnings = server.stderr.rest();
  const early = await visitOneByOne(server, port, 1, 20_000);
  const before = await usageOf(server);
  const late = await visitOneByOne(server, port, 20_001, 100_000);
  const after = await usageOf(server);
  server.child.kill("SIGTERM");
  assertEquals([(await server.child.status).code, await server.stdout.rest()], [0, []]);
  const expected = early + late;
  console.log(`${expected} acknowledged; ${Deno.inspect({ before, after })}`);
  assertEquals((await warnings).at(-1), `INFO Served ${expected} clients and ${expected} requests`);
  assert(Math.abs(after.resident - before.resident) < 10);
  assert(Math.abs(after.files - before.files) <= 1);
}, UNIX_SIGNALS);
