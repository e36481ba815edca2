/**
 * Tests of the signals: a stop at any moment, and a server that was paused.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { encode } from "@std/msgpack";
import { Process } from "../tools/shared/process.ts";
import {
  ACK,
  ALICE_LINE,
  Client,
  includes,
  isError,
  isHere,
  mainArgs,
  probe,
  PYTHON,
  python,
  REQUEST,
  runTest,
  slowness,
  startServer,
  UNIX_SIGNALS,
  visit,
} from "./shared.ts";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

for (const signal of SIGNALS) {
  runTest(`${signal}, while idle, while a client is silent or half-way: status 0`, async () => {
    await Promise.all([undefined, 0, 10].map(async (half) => {
      await using server = await startServer();
      const { port } = server;
      if (half === undefined) {
        const last = "INFO Served 0 clients and 0 requests";
        return assertEquals(await server.stop(signal), { code: 0, out: [], err: [last] });
      }
      using client = await visit(port);
      await client.send(REQUEST.subarray(0, half));
      server.child.kill(signal);
      includes(
        await server.stderr.next(),
        "INFO The server stops: the current client has up to 5 s to finish",
      );
      await client.pass(REQUEST.subarray(half)); // it may finish
      assertEquals(await client.receiveAll(), []); // and is let go
      const { code, out, err } = await server.end();
      const last = "INFO Served 1 client and 1 request";
      assertEquals([code, out, err.at(-1)], [0, [ALICE_LINE], last]);
    }));
  }, UNIX_SIGNALS);
}

runTest("a stop while a client is at work: it has its time to finish", async () => {
  await using server = await startServer();
  using client = await visit(server.port);
  await client.send(REQUEST.subarray(0, 10));
  server.child.kill("SIGTERM");
  await server.stderr.until("The server stops");
  await client.pass(REQUEST.subarray(10));
  for (let i = 0; i < 300; i++) await client.pass(); // far more than one read brings
  assertEquals(await client.receiveAll(), []); // It is silent now, and is let go,
  const { code, err } = await server.end(); // without the wait for a silent client.
  assertEquals([code, err], [0, ["INFO Served 1 client and 301 requests"]]);
}, UNIX_SIGNALS);

runTest("signals at once are one, whatever their kinds", async () => {
  await using server = await startServer();
  const { port } = server;
  using client = await visit(port);
  for (const signal of SIGNALS) server.child.kill(signal);
  await server.stderr.until("The server stops");
  await client.pass(); // it lives
  client.close();
  assertEquals((await server.end()).code, 0);
}, UNIX_SIGNALS);

runTest("a second signal ends the server at once", async () => {
  await using server = await startServer("--request-timeout", "0");
  using silent = await visit(server.port);
  server.child.kill("SIGINT");
  await server.stderr.until("The server stops");
  await slowness(110); // a person needs longer for a second ^C
  assertEquals((await server.stop("SIGTERM")).code, 1);
  assertEquals(await silent.receive().catch(() => undefined), undefined);
}, UNIX_SIGNALS);

runTest("the 100 ms of one signal are counted from the first one, however many come", async () => {
  await using server = await startServer("--request-timeout", "0");
  using _silent = await visit(server.port);
  server.child.kill("SIGINT");
  await server.stderr.until("The server stops");
  await slowness(60);
  server.child.kill("SIGINT"); // A busy machine may deliver it so late that it ends the server.
  await slowness(60);
  assertEquals((await server.stop("SIGINT")).code, 1);
}, UNIX_SIGNALS);

runTest("SIGTERM with a class in the queue: who is silent is let go at once", async () => {
  await using server = await startServer("--keep-alive-timeout", "0");
  const { port } = server;
  using client = await visit(port);
  await client.pass();
  const queue = await Promise.all(Array.from({ length: 30 }, () => Client.connect(port)));
  server.child.kill("SIGTERM");
  assertEquals(await client.receiveAll(), []); // Who is half-way would be told an error.
  const { code, out, err } = await server.end();
  assertEquals([code, out, err.at(-1)], [0, [ALICE_LINE], "INFO Served 1 client and 1 request"]);
  assert(err.every((line) => line.startsWith("INFO ")), err.join("\n")); // it did nothing wrong
  for (const waiting of queue) {
    // As the README says of Python's ConnectionResetError.
    includes(await waiting.receive().catch((error) => error), "ECONNRESET");
    waiting.close();
  }
}, UNIX_SIGNALS);

for (const signal of SIGNALS) {
  runTest(`${signal} to all of deno task, which sends it on: one signal, not two`, async () => {
    // A process group of its own, as a terminal makes it.
    const start = [Deno.execPath(), "task", "start", "--port", "0"];
    await using task = await Process.server("setsid", start);
    const killAll = (name: string) => probe("kill", `-${name}`, "--", `-${task.child.pid}`);
    try {
      using client = await visit(task.port);
      assert(await killAll(signal.slice(3)) !== undefined);
      await task.stderr.until("The server stops");
      await client.pass();
      client.close();
      await task.stderr.until("INFO Served 1 client and 1 request");
    } finally {
      await killAll("KILL");
    }
  }, UNIX_SIGNALS && await isHere("setsid", "--version"));
}

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
  await using server = await startServer(option, "0.8");
  const { port } = server;
  using client = await visit(port);
  await before(client);
  server.child.kill("SIGSTOP");
  await during(client);
  await slowness(1500); // The server does not run, and its limit passes.
  server.child.kill("SIGCONT");
  for (const expected of answers) {
    const answer = await client.receive();
    assertEquals(isError(answer) ? "error" : answer, expected);
  }
  client.close();
  const { err: log } = await server.stop();
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
  await using server = await startServer("--request-timeout", "1");
  const { port } = server;
  using client = await visit(port);
  await client.send(REQUEST.subarray(0, 9));
  server.child.kill("SIGSTOP");
  await slowness(1500); // longer than the limit
  server.child.kill("SIGCONT");
  await slowness(100); // The limit has not passed in the server's own time.
  await client.pass(REQUEST.subarray(9));
}, UNIX_SIGNALS);

runTest(
  "a client that sends nothing when the server stops is told when its 5 s are over",
  async () => {
    await using server = await startServer("--request-timeout", "0");
    const { port } = server;
    using client = await visit(port);
    const start = performance.now();
    server.child.kill("SIGTERM");
    assertEquals(await client.receive(), { error: "the server stops" });
    assert(performance.now() - start >= 4900); // the time to finish is 5 s
    client.close();
    const { code, err } = await server.end();
    assertEquals(code, 0);
    assert(err.includes(`WARN ${client.name}: the server stops`), err.join("\n"));
  },
  UNIX_SIGNALS,
);

// Starts a program at a terminal of its own, and types ^C when it asks for a permission; and again
// and again, as a person does: a ^C that is typed at the moment of the question can be lost in Deno.
const INTERRUPT = `
import os, pty, select, sys
pid, terminal = pty.fork()
if pid == 0: os.execv(sys.argv[1], sys.argv[1:])
shown = b""
try:
    while b"Allow?" not in shown and b"Listening" not in shown: shown += os.read(terminal, 1000)
    while True:
        os.write(terminal, b"\\x03")
        while select.select([terminal], [], [], 0.5)[0]: shown += os.read(terminal, 1000)
except OSError: pass  # It has ended.
print(shown.decode().count("Allow?"), os.waitpid(pid, 0)[1])
`;

runTest("^C at Deno's question for a permission ends the program", async () => {
  const [run, ...args] = mainArgs("--port", "0").filter((arg) => arg !== "--allow-net");
  await using terminal = python(["-c", INTERRUPT, Deno.execPath(), run, ...args]);
  const guard = setTimeout(() => terminal.child.kill("SIGKILL"), 15_000); // if it does not end
  const { out } = await terminal.end();
  clearTimeout(guard);
  const SIGINT = 2; // Nobody has taken it.
  assertEquals(out, [`1 ${SIGINT}`]);
}, PYTHON && UNIX_SIGNALS);
