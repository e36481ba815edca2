/**
 * Benchmarks: the lab server beside the smallest loop that does the lab's work, in one run, on one
 * machine: `deno task bench`.
 *
 * @module
 */

import { decode, encode } from "@std/msgpack";
import { cpuUsage, memoryUsage } from "node:process";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import type { ReadableStream as NodeReadableStream } from "node:stream/web";
import { ROOT, serverFlags } from "../shared/config.ts";

const HELP = `Usage: deno task bench [FILE...]

Measures the server beside the smallest loop that does the lab's work, and beside Python: for each kind
of work the CPU time of the server's process (all its threads) for one request or one client, ours and
the other in turn. Wall time would carry what else the machine does. Each FILE is a main.ts of another
version, which is measured, too: deno task bench ../other/main.ts

It takes about 2 minutes, and a minute more for each FILE.`;

const REQUEST = encode({ student_name: "Alice Brown", github_username: "abrown", sid: 123456789 });

// ---------------------------------------------------------------------- the servers' side --

/** What a request has. */
interface Student {
  student_name: string;
  github_username: string;
  sid: number;
}

/**
 * The smallest loop that does the lab's work: it takes each read for one whole request, decodes it,
 * prints its line and acknowledges it. It has no limits, and the first wrong client ends it.
 */
async function serveLoop(): Promise<void> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  console.error((listener.addr as Deno.NetAddr).port);
  const encoder = new TextEncoder();
  const space = new Uint8Array(16384);
  for await (const conn of listener) {
    conn.setNoDelay();
    await conn.write(encode({ clientid: conn.remoteAddr.port }));
    let count = await conn.read(space);
    while (count !== null) {
      const request = decode(space.subarray(0, count)) as unknown as Student;
      const { student_name, github_username, sid } = request;
      const line =
        `Connected: Student: ${student_name}, Github Username: ${github_username}, sid: ${sid}\n`;
      Deno.stdout.writeSync(encoder.encode(line));
      await conn.write(encode(1));
      count = await conn.read(space);
    }
    conn.close();
  }
}

/** The server of a main.ts, with no limit on a client: its line at the start goes to standard error. */
async function serveOurs(main: string): Promise<void> {
  const { serve } = await import(main);
  serve({
    port: 0,
    requestTimeout: 0,
    keepAliveTimeout: 0,
    turnTimeout: 0,
    onListen: ({ port }: Deno.NetAddr) => console.error(port),
  });
}

/** For each byte that comes in: the CPU time (us) and the resident size (bytes) of this process. */
async function report(): Promise<void> {
  for await (const _ of Deno.stdin.readable) {
    const { user, system } = cpuUsage();
    console.error(user + system, memoryUsage.rss());
  }
  Deno.exit();
}

const PYTHON = "/usr/bin/python3";
/** The same work in Python: its C unpacker, a line for each request, one send for each recv. */
const PYTHON_SERVER = `
import msgpack, resource, socket, sys, threading
def report():
    while sys.stdin.buffer.read(1):
        u = resource.getrusage(resource.RUSAGE_SELF)
        print((u.ru_utime + u.ru_stime) * 1e6, u.ru_maxrss * 1024, file=sys.stderr, flush=True)
threading.Thread(target=report, daemon=True).start()
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], file=sys.stderr, flush=True)
while True:
    conn, (host, port) = server.accept()
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    conn.sendall(msgpack.packb({"clientid": port}))
    unpacker = msgpack.Unpacker()
    while data := conn.recv(16384):
        unpacker.feed(data)
        answers = 0
        for r in unpacker:
            print(f"Connected: Student: {r['student_name']}, Github Username: "
                  f"{r['github_username']}, sid: {r['sid']}", flush=True)
            answers += 1
        conn.sendall(b"\\x01" * answers)
    conn.close()
`;

// ---------------------------------------------------------------------- the clients' side --

/** Whether servers and clients have a processor each: one that they share hides the wake-ups. */
function pin(): boolean {
  if (Deno.build.os !== "linux" || navigator.hardwareConcurrency < 2) return false;
  const args = ["-a", "-p", "-c", "0", String(Deno.pid)];
  return new Deno.Command("taskset", { args }).outputSync().success;
}

/** A server in a process of its own, its roster in a file that nobody reads. */
class Server {
  readonly #child: Deno.ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #asking: WritableStreamDefaultWriter<Uint8Array>;
  /** Where it listens. */
  port = 0;

  private constructor(command: string[]) {
    this.#child = new Deno.Command("sh", {
      args: ["-c", 'f=$(mktemp) && exec 3> "$f" && rm "$f" && exec "$@" >&3', "sh", ...command],
      cwd: ROOT,
      stdin: "piped",
      stderr: "piped",
    }).spawn();
    const stderr = Readable.fromWeb(this.#child.stderr as unknown as NodeReadableStream);
    this.#lines = createInterface({ input: stderr })[Symbol.asyncIterator]();
    this.#asking = this.#child.stdin.getWriter();
  }

  /** Starts one of this kind: "loop", "python", or the address of a main.ts. */
  static async start(kind: string, isPinned: boolean): Promise<Server> {
    const run = kind === "python" ? [PYTHON, "-c", PYTHON_SERVER] : [
      Deno.execPath(),
      "run",
      ...await serverFlags(),
      "-A",
      "tools/dev/bench.ts",
      "--serve",
      kind,
    ];
    const server = new Server(isPinned ? ["taskset", "-c", "1", ...run] : run);
    server.port = Number((await server.#lines.next()).value);
    return server;
  }

  /** What it has used so far. */
  async usage(): Promise<Usage> {
    await this.#asking.write(new Uint8Array(1));
    const [cpuUs, residentBytes] = String((await this.#lines.next()).value).split(" ").map(Number);
    return { cpuUs, residentBytes };
  }

  /** CPU time of the server for each of `count` units of this work, in us. */
  async cpuOf(work: Work, count: number): Promise<number> {
    const before = await this.usage();
    await work(this.port, count);
    const after = await this.usage();
    return (after.cpuUs - before.cpuUs) / count;
  }

  /** Ends it. */
  async stop(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.status;
  }
}

/** What a server's process has used. */
interface Usage {
  /** CPU time of all its threads, in us. */
  readonly cpuUs: number;
  /** Its resident size, in bytes. */
  readonly residentBytes: number;
}

type Work = (port: number, count: number) => Promise<void>;

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
async function visits(port: number, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    using conn = await connect(port);
    await request(conn);
  }
}

const BLOCK = new Uint8Array(REQUEST.length * 500).map((_, i) => REQUEST[i % REQUEST.length]);

/** One client that does not wait for answers; `count` is a multiple of 500. */
async function pipelined(port: number, count: number): Promise<void> {
  using conn = await connect(port);
  const answers = (async () => {
    while (await conn.read(buffer) !== null);
  })();
  for (let sent = 0; sent < count; sent += 500) await send(conn, BLOCK);
  await conn.closeWrite();
  await answers;
}

// ------------------------------------------------------------------------- the figures --

const ROUNDS = 9;
const WARM_UP_ROUNDS = 2;

/** Two measurements that were made one after the other. */
interface Pair {
  readonly ours: number;
  readonly theirs: number;
}

/** Measures something once. */
type Measure = () => Promise<number> | number;

function median(numbers: number[]): number {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1];
}

/** Measures both in turn, so that both meet the same moods of the machine, and prints the result. */
async function compare(name: string, measureOurs: Measure, measureTheirs: Measure): Promise<void> {
  const pairs: Pair[] = [];
  for (let round = 0; round < WARM_UP_ROUNDS + ROUNDS; round++) {
    pairs.push({ ours: await measureOurs(), theirs: await measureTheirs() });
  }
  const kept = pairs.slice(WARM_UP_ROUNDS);
  const ratios = kept.map(({ ours, theirs }) => ours / theirs);
  const ours = median(kept.map((pair) => pair.ours)).toFixed(2).padStart(7);
  const theirs = median(kept.map((pair) => pair.theirs)).toFixed(2).padStart(7);
  const spread = `${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)}`;
  const ratio = median(ratios).toFixed(2);
  console.log(`${name.padEnd(46)} ${ours} and ${theirs} us, ${ratio} x (${spread})`);
}

/** Time of one call, in us. */
function timeOf(body: () => unknown, count: number): number {
  const start = performance.now();
  for (let i = 0; i < count; i++) body();
  return (performance.now() - start) * 1000 / count;
}

function hasPython(): boolean {
  try {
    return new Deno.Command(PYTHON, { args: ["-c", "import msgpack"] }).outputSync().success;
  } catch {
    return false; // There is no such program.
  }
}

const REQUESTS = 4000; // of one round, one at a time
const VISITS = 1000;
const PIPELINED = 50_000;

/** Our server beside another one, in the kinds of work that both can do. */
async function compareServers(ours: Server, theirs: Server, name: string): Promise<void> {
  const pair = (work: Work, count: number): [Measure, Measure] => [
    () => ours.cpuOf(work, count),
    () => theirs.cpuOf(work, count),
  ];
  await compare(`a request, one at a time; ${name}`, ...pair(closedLoop, REQUESTS));
  await compare(`a client, connect to close; ${name}`, ...pair(visits, VISITS));
  if (name === SMALLEST_LOOP) return; // It takes each read for one request.
  await compare(`a request that does not wait; ${name}`, ...pair(pipelined, PIPELINED));
}

const SMALLEST_LOOP = "smallest loop";

async function comparePipelined(ours: Server, isPinned: boolean): Promise<void> {
  const measureOurs = () => ours.cpuOf(pipelined, PIPELINED);
  const decodeAlone = () => timeOf(() => decode(REQUEST), PIPELINED);
  await compare("a request that does not wait; decode alone", measureOurs, decodeAlone);
  if (!hasPython()) return;
  const python = await Server.start("python", isPinned);
  const measurePython = () => python.cpuOf(pipelined, PIPELINED);
  await compare("a request that does not wait; Python", measureOurs, measurePython);
  await python.stop();
}

async function printMemory(server: Server, name: string): Promise<void> {
  await closedLoop(server.port, 20_000);
  const before = await server.usage();
  await closedLoop(server.port, 200_000);
  const after = await server.usage();
  const [first, last] = [before, after].map(({ residentBytes }) => inMegabytes(residentBytes));
  console.log(`resident size of ${name}: ${first} MB, and ${last} MB after 200,000 requests more`);
}

function inMegabytes(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(1);
}

/** All comparisons; `others` are the files of other versions of main.ts. */
async function main(others: string[]): Promise<void> {
  const isPinned = pin();
  console.log(`CPU time of the server, ours and the other: medians of ${ROUNDS} rounds, in turn\n`);
  const ours = await Server.start(new URL("main.ts", ROOT).href, isPinned);
  const loop = await Server.start("loop", isPinned);
  await compareServers(ours, loop, SMALLEST_LOOP);
  await loop.stop();
  for (const other of others) {
    const address = new URL(other, `file://${Deno.cwd()}/`).href;
    const server = await Server.start(address, isPinned);
    await compareServers(ours, server, other);
    await printMemory(server, other);
    await server.stop();
  }
  await comparePipelined(ours, isPinned);
  await printMemory(ours, "ours");
  await ours.stop();
}

const [flag, kind] = Deno.args;
if (flag === "--serve") {
  report();
  await (kind === "loop" ? serveLoop() : serveOurs(kind));
} else if (Deno.args.includes("--help")) {
  console.log(HELP);
} else {
  await main(Deno.args);
  Deno.exit();
}
