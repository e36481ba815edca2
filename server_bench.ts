/**
 * Benchmarks: the lab server beside a raw socket loop, in one run, on one machine. `deno task bench`.
 *
 * Each server is a process of its own; the clients are here. First come the figures that count:
 * CPU time of the server's process, all threads, the raw loop and ours in turn. The wall times of
 * `Deno.bench` below them carry whatever else the machine does.
 *
 * @module
 */

import { decode, encode } from "@std/msgpack";
import { cpuUsage, memoryUsage } from "node:process";
import { Framer, serve } from "./main.ts";

const REQUEST = encode({ student_name: "Alice Brown", github_username: "abrown", sid: 123456789 });

// ---------------------------------------------------------------------- the servers' side --

/** The least that a server can do: an id at once, and a byte for whatever a read brings. */
async function serveRaw(): Promise<void> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0, tcpBacklog: 10 });
  console.error((listener.addr as Deno.NetAddr).port);
  const buffer = new Uint8Array(65536);
  const byte = new Uint8Array([1]);
  for await (const conn of listener) {
    conn.setNoDelay();
    await conn.write(byte);
    while (await conn.read(buffer) !== null) await conn.write(byte);
    conn.close();
  }
}

/** For each byte that comes in: the CPU time (us) and the resident size (bytes) of this process. */
async function report(): Promise<void> {
  for await (const _ of Deno.stdin.readable) {
    const { user, system } = cpuUsage();
    console.error(user + system, memoryUsage.rss());
  }
  Deno.exit();
}

// ---------------------------------------------------------------------- the clients' side --

/** What a child needs to find the packages where this process finds them. */
function configFlags(): string[] {
  const own = import.meta.resolve("@std/msgpack");
  if (own.startsWith("jsr:")) return [];
  if (own.startsWith(import.meta.resolve("./npm/"))) return ["--config", "npm/deno.json"];
  const names = ["cli/parse-args", "log/base-handler", "log/logger", "msgpack", "bytes/concat"];
  const imports = names.map((name) => [`@std/${name}`, import.meta.resolve(`@std/${name}`)]);
  const map = JSON.stringify({ imports: Object.fromEntries(imports) });
  return ["--no-lock", "--import-map", `data:application/json,${encodeURIComponent(map)}`];
}

/** Whether servers and clients have a processor each: one that they share hides the wake-ups. */
function pin(): boolean {
  if (Deno.build.os !== "linux" || navigator.hardwareConcurrency < 2) return false;
  const args = ["-a", "-p", "-c", "0", String(Deno.pid)];
  return new Deno.Command("taskset", { args }).outputSync().success;
}

/** A server in a process of its own, its roster in a file that nobody reads. */
class Server {
  readonly #child: Deno.ChildProcess;
  readonly #lines: ReadableStreamDefaultReader<string>;
  readonly #asking: WritableStreamDefaultWriter<Uint8Array>;

  private constructor(isPinned: boolean, kind: string) {
    const run = [Deno.execPath(), "run", ...configFlags(), "--allow-net", "server_bench.ts", kind];
    const command = isPinned ? ["taskset", "-c", "1", ...run] : run;
    this.#child = new Deno.Command("sh", {
      args: ["-c", 'f=$(mktemp) && exec 3> "$f" && rm "$f" && exec "$@" >&3', "sh", ...command],
      cwd: new URL(".", import.meta.url),
      stdin: "piped",
      stderr: "piped",
    }).spawn();
    this.#lines = this.#child.stderr.pipeThrough(new TextDecoderStream()).getReader();
    this.#asking = this.#child.stdin.getWriter();
  }

  port = 0;

  static async start(isPinned: boolean, kind: "raw" | "ours"): Promise<Server> {
    const server = new Server(isPinned, kind);
    server.port = Number((await server.#lines.read()).value);
    return server;
  }

  /** Its CPU time so far, us, and its resident size, bytes. */
  async usage(): Promise<[cpu: number, rss: number]> {
    await this.#asking.write(new Uint8Array(1));
    const [cpu, rss] = ((await this.#lines.read()).value ?? "").split(" ");
    return [Number(cpu), Number(rss)];
  }

  /** CPU time of the server for each of `count` units of this work, us. */
  async cpu(work: (port: number, count: number) => Promise<void>, count: number): Promise<number> {
    const [before] = await this.usage();
    await work(this.port, count);
    const [after] = await this.usage();
    return (after - before) / count;
  }
}

const buffer = new Uint8Array(65536);

async function send(conn: Deno.TcpConn, bytes: Uint8Array): Promise<void> {
  for (let sent = 0; sent < bytes.length;) sent += await conn.write(bytes.subarray(sent));
}

async function connect(port: number): Promise<Deno.TcpConn> {
  const conn = await Deno.connect({ port });
  conn.setNoDelay();
  await conn.read(buffer); // the id
  return conn;
}

async function request(conn: Deno.TcpConn): Promise<void> {
  await send(conn, REQUEST);
  await conn.read(buffer);
}

/** One client, one request at a time. */
async function closedLoop(port: number, count: number): Promise<void> {
  using conn = await connect(port);
  for (let i = 0; i < count; i++) await request(conn);
}

/** One client after another: connect, id, request, answer, close. */
async function turnover(port: number, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    using conn = await connect(port);
    await request(conn);
  }
}

const BLOCK = new Uint8Array(REQUEST.length * 500).map((_, i) => REQUEST[i % REQUEST.length]);

/** One client that does not wait; `count` is a multiple of 500. */
async function pipelined(port: number, count: number): Promise<void> {
  using conn = await connect(port);
  const answers = (async () => {
    while (await conn.read(buffer) !== null);
  })();
  for (let sent = 0; sent < count; sent += 500) await send(conn, BLOCK);
  await conn.closeWrite();
  await answers;
}

/** Time of one call, us. */
function timeOf(body: () => unknown, count: number): number {
  const start = performance.now();
  for (let i = 0; i < count; i++) body();
  return (performance.now() - start) * 1000 / count;
}

// ------------------------------------------------------------------------- the figures --

const median = (numbers: number[]) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1];

/** A line: the medians of ours and theirs, their ratio, and how far the ratios spread. */
function print(name: string, ours: number[], theirs: number[], unit: string, digits = 1): void {
  const ratios = ours.map((value, i) => value / theirs[i]);
  const [least, most] = [Math.min(...ratios), Math.max(...ratios)].map((ratio) => ratio.toFixed(2));
  console.log(
    `${name.padEnd(34)} ${median(ours).toFixed(digits).padStart(7)} and ${
      median(theirs).toFixed(digits).padStart(6)
    } ${unit}, ${median(ratios).toFixed(2)} x (${least} to ${most})`,
  );
}

/** Ours and theirs in turn, so that both meet the same moods of the machine; two rounds warm up. */
async function compare(
  name: string,
  ours: () => Promise<number> | number,
  theirs: () => Promise<number> | number,
  unit = "us of CPU",
  digits = 1,
): Promise<void> {
  const all: [number, number][] = [];
  for (let round = 0; round < 9; round++) all.push([await ours(), await theirs()]);
  const kept = all.slice(2);
  print(name, kept.map(([ours]) => ours), kept.map(([, theirs]) => theirs), unit, digits);
}

/** Time from the start of a program to its first output, ms. */
async function startUp(...args: string[]): Promise<number> {
  const start = performance.now();
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", ...configFlags(), "--allow-net", ...args],
    cwd: new URL(".", import.meta.url),
    stdout: "piped",
    stderr: "null",
  });
  const child = command.spawn();
  const reader = child.stdout.getReader();
  await reader.read();
  const time = performance.now() - start;
  child.kill("SIGKILL");
  await reader.cancel();
  await child.status;
  return time;
}

/** Feeds a framer in pieces of this length, and has it find the messages; or only feeds it. */
function frame(stream: Uint8Array, length: number, isFeedOnly = false): void {
  for (let at = 0; at < stream.length; at += length) {
    const piece = stream.subarray(at, at + length);
    framer.free.set(piece);
    framer.filled(piece.length);
    while (!isFeedOnly && framer.next() !== undefined);
  }
  framer.reset();
}

const framer = new Framer();
const LONG = encode(new Array(3997).fill(7)); // 4000 bytes, a header each
const SMALL = encode({ sid: 123456789 });
const SMALLS = new Uint8Array(1000 * SMALL.length).map((_, i) => SMALL[i % SMALL.length]);

const WORK: [name: string, work: typeof closedLoop, count: number][] = [
  ["a request, one at a time", closedLoop, 4000],
  ["a client: connect to close", turnover, 1000],
];

async function printFigures(ours: Server, raw: Server): Promise<void> {
  console.log(
    "Ours and the raw loop, in turn: medians of 7 rounds, and how far the ratio spreads\n",
  );
  for (const [name, work, count] of WORK) {
    await compare(name, () => ours.cpu(work, count), () => raw.cpu(work, count));
  }
  await compare(
    "a request, not waiting; decode alone",
    () => ours.cpu(pipelined, 50_000),
    () => timeOf(() => decode(REQUEST), 50_000),
    "us of CPU",
    2,
  );
  await compare(
    "4000 bytes in 4000 pieces; in one",
    () => timeOf(() => frame(LONG, 1), 500) - timeOf(() => frame(LONG, 1, true), 500),
    () => timeOf(() => frame(LONG, LONG.length), 500),
    "us, feeding left out",
  );
  await compare(
    "start to first line; empty script",
    () => startUp("main.ts", "--port", "0"),
    () => startUp("data:text/javascript,console.log()"),
    "ms",
  );
  const sizes: string[] = [];
  for (const count of [20_000, 180_000]) {
    await closedLoop(ours.port, count);
    sizes.push(((await ours.usage())[1] / 2 ** 20).toFixed(1));
  }
  console.log(`resident size: ${sizes[0]} MB, and ${sizes[1]} MB after 180,000 requests more`);
}

const [role] = Deno.args;
if (role !== undefined) {
  report();
  if (role === "raw") await serveRaw();
  else serve({ port: 0, idleTimeout: 600_000, onListen: ({ port }) => console.error(port) });
} else {
  const isPinned = pin();
  const [ours, raw] = [await Server.start(isPinned, "ours"), await Server.start(isPinned, "raw")];
  await printFigures(ours, raw);

  const kept = [await Server.start(isPinned, "ours"), await Server.start(isPinned, "raw")];
  const [oursKept, rawKept] = await Promise.all(kept.map(({ port }) => connect(port)));
  const bench = (group: string, name: string, fn: () => Promise<void> | void, baseline = false) =>
    Deno.bench({ group, name: `${group}: ${name}`, baseline, fn: async () => await fn() });
  bench("a request", "raw", () => request(rawKept), true);
  bench("a request", "ours", () => request(oursKept));
  bench("a client", "raw", () => turnover(raw.port, 1), true);
  bench("a client", "ours", () => turnover(ours.port, 1));
  bench("5000 requests", "decode alone", () => void timeOf(() => decode(REQUEST), 5000), true);
  bench("5000 requests", "ours, pipelined", () => pipelined(ours.port, 5000));
  bench("framing", "4000 bytes in one piece", () => frame(LONG, LONG.length), true);
  bench("framing", "4000 bytes in 4000 pieces", () => frame(LONG, 1));
  bench("framing", "the same pieces, not scanned", () => frame(LONG, 1, true));
  bench("framing", "1000 small messages in one piece", () => frame(SMALLS, SMALLS.length));
}
