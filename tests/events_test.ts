/**
 * A test that causes every event which the server can log, and finds the same ones in
 * docs/protocol.md.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { encode } from "@std/msgpack";
import { submit } from "../main.ts";
import type { Process } from "../tools/shared/process.ts";
import { flood } from "./python.ts";
import {
  ACK,
  ALICE,
  Client,
  isHere,
  LINUX,
  probe,
  PYTHON,
  readProjectFile,
  REQUEST,
  runTest,
  slowness,
  startServer,
  visit,
  visitAndReset,
} from "./shared.ts";

const PRLIMIT = await isHere("prlimit", "--version");

function startWithJson(...options: string[]): Promise<Process> {
  return startServer("--log-format", "json", ...options);
}

/** The events of these lines. A line that is no record is Deno's own. */
function eventsOf(lines: string[]): string[] {
  return lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line).event);
}

/** What one client does, after it was greeted, to be told an error. */
const FAULTS: ((client: Client) => unknown)[] = [
  (client) => client.send(encode({})), // refused
  (client) => client.send(encode(null)), // not-a-map
  (client) => client.send(0xc1), // malformed
  (client) => client.send(0xdb, 255, 255, 255, 255), // too-long
  (client) => client.send("GET / HTTP/1.1\r\n"), // stranger
  (client) => client.send(REQUEST.subarray(0, 9)).then(() => client.closeWrite()), // truncated
  () => {}, // timeout
  (client) => client.pass(), // idle
  async (client) => { // turn
    do {
      await client.send(REQUEST);
      await slowness(50);
    } while (await client.receive() === ACK);
  },
];

/** Visits a server, and leaves in each way. */
async function leave(port: number): Promise<void> {
  (await visit(port)).close(); // left
  await submit(ALICE, { port }); // closed
  await visitAndReset(port, REQUEST); // reset
  const first = await visit(port);
  const second = await Client.connect(port);
  await second.reset(); // gone
  first.close();
  await submit(ALICE, { port });
}

/** The events of a server that is visited, and is stopped while a client is half-way. */
async function visitedEvents(): Promise<string[]> {
  const limits = ["--request-timeout", "0.5", "--keep-alive-timeout", "0.5", "--turn-timeout", "1"];
  await using server = await startWithJson("--log-level", "DEBUG", ...limits);
  const printed = Promise.all([server.stdout.rest(), server.stderr.rest()]);
  for (const act of FAULTS) {
    using client = await visit(server.port);
    await act(client);
    await client.receiveAll();
  }
  await leave(server.port);
  using client = await visit(server.port);
  await client.send(REQUEST.subarray(0, 9));
  server.child.kill("SIGTERM"); // stopping, stopped
  return eventsOf((await printed).flat());
}

/** The events of a server whose answers are not read, and that may open no more files. */
async function starvedEvents(): Promise<string[]> {
  await using server = await startWithJson("--request-timeout", "0.3", "--turn-timeout", "0");
  const roster = server.stdout.rest();
  await using client = flood(server.port);
  const stalled = await server.stderr.until("its answers"); // stalled
  await client.end();
  await probe("prlimit", "--pid", String(server.child.pid), "--nofile=3:4096");
  const waiting = await Client.connect(server.port);
  const failed = await server.stderr.until("No accept"); // accept
  waiting.close();
  server.child.kill("SIGKILL");
  await roster;
  return eventsOf([stalled, failed]);
}

/** The events of a server that is stopped while a client is silent after its answer. */
async function stoppedEvents(): Promise<string[]> {
  await using server = await startWithJson("--log-level", "DEBUG");
  using client = await visit(server.port);
  await client.pass();
  server.child.kill("SIGTERM"); // dismissed
  return eventsOf((await server.end()).err);
}

/** The events of a server whose standard output is gone. */
async function brokenEvents(): Promise<string[]> {
  await using server = await startWithJson();
  await server.stdout.cancel();
  using client = await visit(server.port);
  await client.send(REQUEST);
  await client.receiveAll();
  return eventsOf([await server.stderr.next() ?? ""]); // bug
}

runTest("every event of docs/protocol.md is caused, and no other one", async () => {
  const causes = [visitedEvents(), stoppedEvents(), starvedEvents(), brokenEvents()];
  const caused = await Promise.all(causes);
  const events = new Set(["listening", ...caused.flat()]); // The first line is where the port is.
  const page = await readProjectFile("docs/protocol.md");
  const rows = page.split("\n| what happens")[1].split("\n\n")[0].split("\n").slice(2);
  const named = rows.flatMap((row) => [...row.split("|")[2].matchAll(/`([\w-]+)`/g)]);
  assertEquals([...events].toSorted(), named.map(([, name]) => name).toSorted());
}, LINUX && PYTHON && PRLIMIT);
