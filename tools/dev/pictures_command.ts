/**
 * The command of the pictures in `docs/`: the runs, the sessions, and their files.
 *
 * @module
 */

import { encode } from "@std/msgpack";
import { fileURLToPath } from "node:url";
import type { Plan } from "../class/options.ts";
import { picture } from "../class/page.ts";
import { type Run, runClass } from "../class/run.ts";
import { draw } from "../ladder/command.ts";
import { readLog } from "../ladder/records.ts";
import { Client } from "../shared/client.ts";
import { ROOT } from "../shared/config.ts";
import { Process } from "../shared/process.ts";
import { UsageError } from "../shared/tool.ts";

/** How large the classes are. */
export interface Size {
  /** The clients of a usual class. */
  readonly clients: number;
  /** The clients that meet a short queue. */
  readonly crowd: number;
  /** When the run with the short queue is stopped, in ms. */
  readonly crowdMs: number;
  /** More options for our server. */
  readonly serverOptions: string[];
}

const SIZE: Size = { clients: 30, crowd: 20, crowdMs: 60_000, serverOptions: [] };
const ARRIVE_MS = 1000;
const LIMIT_MS = 120_000;
const PATIENCE_MS = 5000; // for an answer in a session of the ladder
const PYTHON = "/usr/bin/python3";
const TRACED = ["--log-level", "DEBUG", "--log-format", "json"];
const STUDENTS = [
  { student_name: "Alice Brown", github_username: "abrown", sid: 123456789 },
  { student_name: "Bob Green", github_username: "bgreen", sid: 123456790 },
  { student_name: "Eve White", github_username: "ewhite", sid: 123456791 },
];

/** All pictures: the names of their files, and the SVG documents. */
export async function makePictures(size: Size = SIZE): Promise<Map<string, string>> {
  const [iterative, crowd] = await Promise.all([
    runIterative(size.clients, size.serverOptions, LIMIT_MS),
    runIterative(size.crowd, ["--backlog", "1", ...size.serverOptions], size.crowdMs),
  ]);
  const threaded = await runThreaded(size.clients);
  return new Map([
    ["class.svg", await picture([iterative])],
    ["backlog.svg", await picture([crowd])],
    ["threaded.svg", await picture([iterative, threaded])],
    ["pieces.svg", await drawPieces()],
    ["together.svg", await drawTogether()],
  ]);
}

function planOf(clients: number, limitMs: number): Plan {
  return { kinds: Array(clients).fill("good"), arriveMs: ARRIVE_MS, limitMs };
}

async function runIterative(clients: number, options: string[], limitMs: number): Promise<Run> {
  await using server = await Process.main(...options);
  const title = ["main.ts", ...options].join(" ");
  return await visit(clients, title, server, limitMs);
}

async function runThreaded(clients: number): Promise<Run> {
  const file = fileURLToPath(new URL("tools/class/fixtures/threaded.py", ROOT));
  await using server = await Process.server(PYTHON, [file, "0"]);
  return await visit(clients, "a server with threads", server, LIMIT_MS);
}

async function visit(
  clients: number,
  title: string,
  { port }: Process,
  limitMs: number,
): Promise<Run> {
  const plan = planOf(clients, limitMs);
  const stop = AbortSignal.timeout(limitMs);
  return await runClass(plan, { title, host: "127.0.0.1", port }, stop);
}

/** The ladder of a request that comes in three pieces. */
export async function drawPieces(): Promise<string> {
  return await drawSession(async (client, untilRead) => {
    const request = encode(STUDENTS[0]);
    const cuts = [0, 1, 20, request.length];
    for (let piece = 1; piece < cuts.length; piece++) {
      client.send(request.subarray(cuts[piece - 1], cuts[piece]));
      await untilRead();
    }
    await client.receive(PATIENCE_MS);
  });
}

/** The ladder of three requests that come in one piece. */
export async function drawTogether(): Promise<string> {
  return await drawSession(async (client) => {
    const requests = STUDENTS.flatMap((student) => [...encode(student)]);
    client.send(Uint8Array.from(requests));
    for (const _ of STUDENTS) await client.receive(PATIENCE_MS);
  });
}

/** The ladder of a session in which the client does this after the greeting, and then closes. */
async function drawSession(
  act: (client: Client, untilRead: () => Promise<void>) => Promise<void>,
): Promise<string> {
  await using server = await Process.main(...TRACED);
  const log: string[] = [];
  const readUpTo = async (words: string) => void log.push(...await server.stderr.upTo(words));
  const client = await Client.connect("127.0.0.1", server.port, PATIENCE_MS);
  await client.receive(PATIENCE_MS);
  await act(client, () => readUpTo('"step":"recv"'));
  client.closeWrite();
  await client.untilEnd(PATIENCE_MS);
  client.close();
  await readUpTo('"by":"server"');
  return await draw(readLog(log.join("\n")));
}

/** Runs the command line. */
export async function run(args: string[]): Promise<number> {
  if (args.length > 0) throw new UsageError(`Unknown option ${args[0]} (see --help)`);
  for (const [name, svg] of await makePictures()) {
    await Deno.writeTextFile(new URL(`docs/${name}`, ROOT), svg);
    console.log(`docs/${name}`);
  }
  return 0;
}
