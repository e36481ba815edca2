/**
 * Soak: a class with all defaults, and 100,000 clients. They take minutes, so they run only where they
 * are asked for: `deno task soak`.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { encode } from "@std/msgpack";
import { Process } from "../tools/shared/process.ts";
import { serveClass } from "./python.ts";
import {
  ALICE,
  type Client,
  isError,
  mainArgs,
  PICKLED_FRAME,
  probe,
  PYTHON,
  REQUEST,
  runTest,
  UNIX_SIGNALS,
  visit,
  visitAndReset,
} from "./shared.ts";

const soakTest = Deno.args.includes("soak") ? runTest : () => {};

soakTest(
  "soak: thirty students that never hang up, all defaults: each is served",
  () => serveClass(30),
  PYTHON,
);

/**
 * A server whose young generation stays small. V8 lets it grow with all that has ever survived in
 * it, and that growth would hide what is ours.
 */
function startWithSmallHeap(): Promise<Process> {
  const [run, ...args] = mainArgs("--port", "0", "--request-timeout", "2");
  return Process.server(Deno.execPath(), [run, "--v8-flags=--max-semi-space-size=1", ...args]);
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
  { act: (client) => client.send(0x80, 4, PICKLED_FRAME), isRefused: true },
  { act: (client) => client.send("GET / HTTP/1.1\r\n"), isRefused: true },
  { act: (client) => client.send(0xdb, 255, 255, 255, 255), isRefused: true },
  { act: sendHalf, isRefused: true },
  { act: closeAndReset, isRefused: false },
];
const SILENCE: Misbehaviour = { act: async () => {}, isRefused: true };

async function sendHalf(client: Client): Promise<void> {
  await client.send(REQUEST.subarray(0, 20));
  client.closeWrite();
}

async function closeAndReset(client: Client, port: number): Promise<void> {
  client.close();
  await visitAndReset(port, encode([]));
}

/** The client with this number misbehaves: one in five hundred of these is silent. */
async function misbehave(port: number, number: number): Promise<void> {
  const isSilent = number % 5000 === 0;
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

/** What a process uses: its memory in bytes, and its open files. */
interface Usage {
  resident: number;
  files: number;
}

async function usageOf({ child }: Process): Promise<Usage> {
  const rss = await probe("ps", "-o", "rss=", "-p", String(child.pid));
  const open = await probe("ls", `/proc/${child.pid}/fd`);
  return { resident: Number(rss) * 1024, files: open?.trim().split("\n").length ?? 0 };
}

/** After so many clients the memory is looked at again. */
const LEG = 20_000;

soakTest("soak: 100,000 clients, one in ten misbehaves; nothing grows", async () => {
  await using server = await startWithSmallHeap();
  const warnings = server.stderr.rest();
  let acknowledged = 0;
  const usages: Usage[] = [];
  for (let first = 1; first <= 5 * LEG; first += LEG) {
    acknowledged += await visitOneByOne(server, server.port, first, first + LEG - 1);
    usages.push(await usageOf(server));
  }
  server.child.kill("SIGTERM");
  assertEquals([(await server.child.status).code, await server.stdout.rest()], [0, []]);
  console.log(`${acknowledged} acknowledged; ${Deno.inspect(usages)}`);
  const last = `INFO Served ${acknowledged} clients and ${acknowledged} requests`;
  assertEquals((await warnings).at(-1), last);
  // Memory comes and goes in steps. What each client leaves behind shows in nearly every leg.
  const growths = usages.slice(1).map(({ resident }, i) => (resident - usages[i].resident) / LEG);
  const [, usual] = growths.toSorted((a, b) => a - b); // three of the four are at least this
  assert(usual < 50, `${usual} bytes a client`);
  assert(Math.abs(usages[4].files - usages[0].files) <= 1);
}, UNIX_SIGNALS);
