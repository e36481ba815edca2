/**
 * Tests of clients that send without end: a limit and a signal hold however busy the server is. How soon
 * depends on what else the machine does: server_test.ts shows that with a kernel of its own.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { Process } from "../tools/shared/process.ts";
import {
  ACK,
  Client,
  includes,
  isHere,
  mainArgs,
  PYTHON,
  python,
  REQUEST,
  runTest,
  slowness,
  startServer,
  UNIX_SIGNALS,
  visit,
} from "./shared.ts";

// Sends the beginning, and then requests without end, so many bytes in each segment. Reads nothing
// after the greeting, which says that it was accepted: in the queue a stop would end it at once.
const SENDER = `
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
s.recv(100)
print(s.getsockname()[1], flush=True)
size, start, request = int(sys.argv[2]), *map(bytes.fromhex, sys.argv[3:])
requests = request * 1000
try:
    s.sendall(start)
    while True:
        for at in range(0, len(requests), size): s.send(requests[at:at + size])
except OSError: pass
`;

const SENDS = PYTHON && await isHere("bash", "--version");

/** A client that never stops to send. It prints its port. */
function sender(port: number, segmentBytes: number, start = new Uint8Array()): Process {
  const bytes = [start, REQUEST].map((each) => each.toHex());
  return python(["-c", SENDER, String(port), String(segmentBytes), ...bytes]);
}

// The server as this process, its lines on standard output to nobody but the first one: else it would
// wait for a test that reads them slowly.
const FIRST_LINE = 'exec "$@" > >(read -r line; echo "$line"; exec cat > /dev/null)';

/** A server on a free port that waits for nobody to read its lines. */
function startUnread(...options: string[]): Promise<Process> {
  const server = [Deno.execPath(), ...mainArgs("--port", "0", ...options)];
  return Process.server("bash", ["-c", FIRST_LINE, "bash", ...server]);
}

/** One byte, a part of a request, and whole requests, which come one after the other at once. */
const SEGMENTS = [1, 7, REQUEST.length];

runTest("who sends without end and never reads: its turn ends", async () => {
  for (const size of SEGMENTS) {
    await using server = await startUnread("--turn-timeout", "0.5");
    await using client = sender(server.port, size);
    const name = `127.0.0.1:${await client.stdout.next()}`;
    assertEquals(await server.stderr.next(), `WARN ${name}: its turn of 0.5 s is over`);
  }
}, SENDS);

/** Sends SIGTERM, and returns when it is heard: then nobody is in the server's queue any more. */
async function stopAndHear(server: Process): Promise<void> {
  using queued = await Client.connect(server.port);
  server.child.kill("SIGTERM");
  includes(await queued.receive().catch((error) => error), "ECONNRESET");
}

runTest("who sends without end and never reads: SIGTERM is heard", async () => {
  for (const size of SEGMENTS) {
    await using server = await startUnread();
    await using client = sender(server.port, size);
    const name = `127.0.0.1:${await client.stdout.next()}`;
    await stopAndHear(server);
    // If the signal comes between two requests, there is no word before the 5 s are over.
    const said = await server.stderr.next() ?? "";
    const isTold = said === "INFO The server stops: the current client has up to 5 s to finish";
    assert(isTold || said === `WARN ${name}: the server stops`, said);
  }
}, SENDS && UNIX_SIGNALS);

runTest("who sends without end after an error: SIGTERM is heard, and the server ends", async () => {
  await using server = await startUnread();
  await using client = sender(server.port, REQUEST.length, new Uint8Array([0xc1]));
  await client.stdout.next();
  includes(await server.stderr.next(), "WARN", "no MessagePack");
  await stopAndHear(server);
  const { code, out, err } = await server.end();
  assertEquals([code, out, err], [0, [], ["INFO Served 0 clients and 0 requests"]]);
}, SENDS && UNIX_SIGNALS);

runTest(
  "who goes on sending when the server stops has 5 s, though it was silent then",
  async () => {
    await using server = await startServer();
    using client = await visit(server.port);
    await client.pass();
    const start = performance.now();
    await stopAndHear(server);
    const half = REQUEST.subarray(0, 9);
    await client.send(REQUEST, half);
    let answer = await client.receive();
    while (answer === ACK && performance.now() - start < 9000) {
      await slowness(20);
      await client.send(REQUEST.subarray(9), half);
      answer = await client.receive();
    }
    assertEquals(answer, { error: "the server stops" });
    assert(performance.now() - start >= 4900);
    client.close();
    assertEquals((await server.end()).code, 0);
  },
  UNIX_SIGNALS,
);
