/**
 * Tests of the hand-out in `lab/`, with each Python that is found here: `pickle.py` holds what it
 * promises, and the client speaks to our server and to others.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { decode, encode } from "@std/msgpack";
import { Process } from "../shared/process.ts";
import { freePort } from "../shared/testing.ts";
import {
  ALICE,
  ALICE_LINE,
  assertPassed,
  FIXTURES,
  Folder,
  LAB,
  type Python,
  pythons,
  pythonTest,
  type Result,
  run,
  runClient,
  TRANSCRIPT,
} from "./testing.ts";

/** Runs a file of Python tests beside these files, and shows what it says if it fails. */
async function passes(python: Python, fixture: string, ...files: URL[]): Promise<void> {
  await using folder = await Folder.with(new URL(fixture, FIXTURES), ...files);
  await using elsewhere = await Folder.with(); // as in an editor, which starts it from anywhere
  const { code, err } = await run(python.program, [folder.file(fixture)], { cwd: elsewhere.path });
  assertEquals([code, /^Ran \d\d* tests? in /m.test(err)], [0, true], err);
}

// ---------------------------------------------------------------------------------- pickle.py --

const PICKLE = new URL("pickle.py", LAB);

pythonTest("lab/pickle.py: values, errors, streams", (python) => {
  return passes(python, "codec_test.py", PICKLE);
});

pythonTest("lab/pickle.py: no code from the wire, in any way", (python) => {
  return passes(python, "security_test.py", PICKLE);
});

pythonTest("the same ways with Python's own pickle: the code runs", (python) => {
  return passes(python, "security_test.py");
});

pythonTest("lab/pickle.py: Python's own modules and packages work, or say why not", (python) => {
  return passes(python, "library_test.py", PICKLE);
});

const withMsgpack = pythons.find(({ hasMsgpack }) => hasMsgpack);
const whyNot = withMsgpack ? "" : " (ignored: no Python here has msgpack)";
Deno.test({
  name: `lab/pickle.py against Python's msgpack${whyNot}`,
  ignore: withMsgpack === undefined,
  fn: async () => {
    assert(withMsgpack);
    await passes(withMsgpack, "msgpack_test.py", PICKLE);
  },
});

// --------------------------------------------------------------------------------- the client --

/** It has failed: nothing but this on standard error, in one line. */
function assertFailed({ code, err }: Result, words: RegExp): void {
  assertEquals([code, err.trim().split("\n").length], [1, 1], err);
  assert(words.test(err), err);
}

pythonTest("lab/client.py is served by our server, and ends by itself", async (python) => {
  await using folder = await Folder.handOut();
  await using server = await Process.main("--keep-alive-timeout", "0");
  assertPassed(await runClient(python, folder, server.port));
  assertPassed(await runClient(python, folder, server.port, ["Zoë 李小龙", "zoe", "00123"]));
  assertEquals(await server.stdout.next(), ALICE_LINE);
  await server.stdout.until("Zoë 李小龙, Github Username: zoe, sid: 00123");
});

pythonTest("lab/client.py asks for what is not given, on standard error", async (python) => {
  await using folder = await Folder.handOut();
  await using server = await Process.main();
  const all = await runClient(
    python,
    folder,
    server.port,
    [],
    "Alice Brown\n\nabrown\n123456789\n",
  );
  assertEquals(all.code, 0, all.err);
  assert(TRANSCRIPT.test(all.out), all.out);
  assertEquals(all.err.split(": ").length - 1, 4, all.err); // one answer was empty
  const one = await runClient(python, folder, server.port, ALICE.slice(0, 2), "123456789\n");
  assertEquals([one.code, one.err], [0, "Your student id: "]);
  for (let i = 0; i < 2; i++) assertEquals(await server.stdout.next(), ALICE_LINE);
});

/** What a server of a test does with its client. */
type Serve = (conn: Deno.TcpConn) => Promise<void>;

/** What runs a client, or several, at this port. */
type RunClient = (port: number) => Promise<Result>;

/** Serves so many clients in this way, and returns what they did. */
async function serveClients(count: number, serve: Serve, client: RunClient): Promise<Result> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const serving = (async () => {
    for (let served = 0; served < count; served++) {
      using conn = await listener.accept();
      await serve(conn);
    }
  })();
  const result = await client(listener.addr.port);
  await serving;
  return result;
}

/** Serves one client in this way, and returns what it did. */
const serveOne = (serve: Serve, client: RunClient) => serveClients(1, serve, client);

const GREETING = encode({ clientid: 5 });
const REAL_GREETING = Uint8Array.fromHex("80049514000000000000007d94");

/** Sends these bytes, then reads the request, then sends the answer. */
const answering = (greeting: Uint8Array, answer?: Uint8Array): Serve => async (conn) => {
  await conn.write(greeting);
  if (answer === undefined) return;
  await conn.read(new Uint8Array(4096));
  await conn.write(answer);
};

/** Reads the request and closes. */
const closesAfterTheRequest: Serve = async (conn) => {
  await conn.write(GREETING);
  await conn.read(new Uint8Array(4096));
};

/** Answers with one byte a write. */
const inPieces: Serve = async (conn) => {
  conn.setNoDelay();
  for (const byte of GREETING) await conn.write(new Uint8Array([byte]));
  await conn.read(new Uint8Array(4096));
  await conn.write(encode(1));
};

const FAILURES: [name: string, serve: Serve, words: RegExp][] = [
  ["closes at once", async () => {}, /^No greeting from the server: .*its own terminal/i],
  ["closes after the request", closesAfterTheRequest, /^No acknowledgement from the server/],
  ["refuses", answering(GREETING, encode({ error: "sid\nis" })), /^The server refused: sid\?is\n/],
  ["greets in pickle", answering(REAL_GREETING), /^This is not the lab's server: its greeting is/],
  [
    "greets with a text",
    answering(encode("Hi")),
    /^This is not the lab's server: .* greeting is Hi/,
  ],
  ["greets with no value", answering(new Uint8Array([0xc1])), /^No greeting .* cannot be read: /],
  ["greets with a part", answering(GREETING.slice(0, 5)), /^No greeting .* incomplete/],
  ["acknowledges with 2", answering(GREETING, encode(2)), /its acknowledgement is 2\n/],
  ["acknowledges with true", answering(GREETING, encode(true)), /its acknowledgement is True\n/],
];

async function failsWithServer(
  python: Python,
  folder: Folder,
  serve: Serve,
  words: RegExp,
): Promise<void> {
  assertFailed(await serveOne(serve, (port) => runClient(python, folder, port)), words);
}

async function failsWithoutServer(python: Python, folder: Folder): Promise<void> {
  const result = await runClient(python, folder, freePort());
  assertFailed(result, /^No server at 127\.0\.0\.1\/\d+: start it first/);
}

async function failsWithUnknownMachine(python: Python, folder: Folder): Promise<void> {
  const result = await runClient(python, folder, 1, ["--host", "no.such.invalid", ...ALICE]);
  assertFailed(result, /^There is no machine called no\.such\.invalid: say where with --host/);
}

async function failsWithLongRequest(python: Python, folder: Folder): Promise<void> {
  await using server = await Process.main();
  for (const args of [["A".repeat(5000), "a", "1"], ["Alice", "a", "9".repeat(5000)]]) {
    const result = await runClient(python, folder, server.port, args);
    assertFailed(result, /^The server refused: .*4096/);
  }
}

async function failsWithoutInput(python: Python, folder: Folder): Promise<void> {
  const { code, err } = await runClient(python, folder, 1, []);
  const lines = err.trimEnd().split("\n"); // the question is the first
  assertEquals([code, lines.length], [1, 2], err);
}

pythonTest("lab/client.py: each failure is one line, and status 1", async (python, t) => {
  await using folder = await Folder.handOut();
  for (const [name, serve, words] of FAILURES) {
    await t.step(`a server that ${name}`, () => failsWithServer(python, folder, serve, words));
  }
  const others: Record<string, (python: Python, folder: Folder) => Promise<void>> = {
    "no server": failsWithoutServer,
    "a machine that does not exist": failsWithUnknownMachine,
    "a request that our server refuses": failsWithLongRequest,
    "no answer to a question": failsWithoutInput,
  };
  for (const [name, fails] of Object.entries(others)) {
    await t.step(name, () => fails(python, folder));
  }
});

/** Command lines that are wrong, and what is said about them. */
const WRONG_COMMANDS: [args: string[], words: RegExp][] = [
  [["Alice", "Brown"], /write a name in quotes .*"Alice Brown" abrown/],
  [["Alice", "Brown", "abrown"], /an id with digits/],
  [["Alice", "Brown", "abrown", "123456789"], /write a name in quotes/],
  [["“Alice", "Brown”", "abrown", "123456789"], /it has “, which is not the "/],
  [["—port", "12000"], /it has —, which is not the " or the -/],
  [["Ana\x1b[D", "ab", "1"], /'Ana\\x1b\[D' cannot be taken: a key such as an arrow/],
  [["Ana", "ab", "\u200e1"], /a sign that cannot be seen \('\\u200e'\)/],
  [["--host", "\u200e127.0.0.1"], /must be a name or an address, .*'\\u200e127\.0\.0\.1'/],
  [["--host", "127.0.0.1/12000"], /the port stands behind --port/],
  [["--host", "127.0.0.1:12000"], /the port stands behind --port/],
  [["--host", ""], /must be a name or an address/],
  [["--port", "70000"], /must be a number from 1 to 65535/],
  [["--port", "9".repeat(5000)], /must be a number from 1 to 65535, not '9{40}'\n/],
];

pythonTest(
  "lab/client.py says what is wrong with a command, and connects to nobody",
  async (python) => {
    await using folder = await Folder.handOut();
    for (const [args, words] of WRONG_COMMANDS) {
      const { code, out, err } = await run(python.program, [folder.file("client.py"), ...args]);
      assertEquals([code, out, err.split("\n").length, words.test(err)], [2, "", 3, true], err);
    }
  },
);

function hasIPv6(): boolean {
  try {
    Deno.listen({ hostname: "::1", port: 0 }).close();
    return true;
  } catch { // A container, for example, may be without.
    return false;
  }
}

pythonTest("lab/client.py finds a server at an IPv6 address, and at a name", async (python) => {
  await using folder = await Folder.handOut();
  for (const host of hasIPv6() ? ["::1", "localhost"] : ["localhost"]) {
    await using server = await Process.main("--host", host);
    const result = await runClient(python, folder, server.port, ["--host", host, ...ALICE]);
    assertEquals([result.code, result.err], [0, ""]);
  }
});

if (Deno.build.os !== "windows") { // which has no pseudo-terminals
  pythonTest("lab/client.py: what people type and paste at a terminal", (python) => {
    const names = ["pickle.py", "client.py", "clienthelper.py"];
    return passes(python, "typing_test.py", ...names.map((name) => new URL(name, LAB)));
  });
}

pythonTest("lab/ without its pickle.py: both ends say so", async (python) => {
  const names = ["client.py", "clienthelper.py", "server.py"];
  await using folder = await Folder.with(...names.map((name) => new URL(name, LAB)));
  const words = /^This is Python's own pickle: .*pickle\.py /;
  assertFailed(await runClient(python, folder, 1), words);
  assertFailed(await run(python.program, [folder.file("server.py")]), words);
});

/** Ways to start Python such that it does not look into the folder of the program. */
const BLIND: [option: string, oldest: number][] = [["-I", 6], ["-P", 11]];

pythonTest("lab/client.py where Python does not look beside it: it says so", async (python) => {
  await using folder = await Folder.handOut();
  for (const [option, oldest] of BLIND) {
    if (Number(python.version.split(".")[1]) < oldest) continue;
    const result = await run(python.program, [option, folder.file("client.py"), ...ALICE]);
    assertFailed(result, /this Python does not look there \(python3 -I, PYTHONSAFEPATH\)/);
  }
});

/** A debugger that has loaded Python's own pickle, and runs the client twice in one process. */
const DEBUGGER = `
import pickle, runpy, sys
folder = sys.argv.pop(1)
sys.path.insert(0, folder)
for _ in range(2):
    try:
        runpy.run_path(folder + "/client.py", run_name="__main__")
    except SystemExit as end:
        print(end.code, file=sys.stderr)
`;

pythonTest("lab/client.py under a debugger that has loaded Python's own pickle", async (python) => {
  await using folder = await Folder.handOut();
  const debug = (port: number) =>
    run(python.program, ["-c", DEBUGGER, folder.path, "--port", String(port), ...ALICE]);
  await using server = await Process.main();
  const { out, err } = await debug(server.port);
  assertEquals(err, "0\n0\n");
  assertEquals(out.match(/you passed the test/g)?.length, 2, out);
  const refused = await serveClients(2, answering(new Uint8Array([0xc1])), debug);
  assert(/^(No greeting .* cannot be read: .*\n1\n){2}$/.test(refused.err), refused.err);
});

pythonTest("lab/client.py: a message in pieces; a server that closes at once", async (python) => {
  await using folder = await Folder.handOut();
  assertPassed(await serveOne(inPieces, (port) => runClient(python, folder, port)));
  const atOnce = answering(GREETING, encode(1));
  assertPassed(await serveOne(atOnce, (port) => runClient(python, folder, port)));
});

pythonTest("lab/client.py: a number is sent as one, unless it would change", async (python) => {
  await using folder = await Folder.handOut();
  const sids: [typed: string, sent: number | bigint | string][] = [
    ["0", 0],
    ["123456789", 123456789],
    ["18446744073709551615", 18446744073709551615n],
    ["18446744073709551616", "18446744073709551616"],
    ["00123", "00123"],
    ["A-17", "A-17"],
  ];
  for (const [typed, sent] of sids) {
    const serve: Serve = async (conn) => {
      await conn.write(GREETING);
      const space = new Uint8Array(4096);
      const count = await conn.read(space);
      const request = decode(space.slice(0, count ?? 0));
      assertEquals(request, { student_name: "Alice", github_username: "a", sid: sent });
      await conn.write(encode(1));
    };
    const args = ["Alice", "a", typed];
    assertPassed(await serveOne(serve, (port) => runClient(python, folder, port, args)));
  }
});

pythonTest("lab/client.py says why it waits, and is served when it is its turn", async (python) => {
  await using folder = await Folder.handOut();
  await using server = await Process.main("--request-timeout", "0");
  using other = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
  await other.read(new Uint8Array(100)); // the other one is being served
  const args = [folder.file("client.py"), "--port", String(server.port), ...ALICE];
  const env = { PYTHONDONTWRITEBYTECODE: "1" };
  const io = { stdout: "piped", stderr: "piped" } as const;
  const client = new Deno.Command(python.program, { args, env, ...io }).spawn();
  const errors = client.stderr.pipeThrough(new TextDecoderStream()).getReader();
  let err = "";
  while (!err.includes("\n")) err += (await errors.read()).value ?? "\nend";
  assertEquals(err.trimEnd(), "Connected, no greeting yet: is another client being served?");
  other.close();
  const out = await new Response(client.stdout).text();
  for (let end = false; !end;) {
    const { value, done } = await errors.read();
    err += value ?? "";
    end = done;
  }
  assertEquals([(await client.status).code, TRANSCRIPT.test(out)], [0, true], err + out);
});

/** A client of lab 2 as most students have written it: after its answer it waits for more. */
const OLD_CLIENT = `
import pickle, socket, sys
s = socket.socket()
s.connect(("127.0.0.1", int(sys.argv[1])))
print(pickle.loads(s.recv(4096)), "has successfully connected to 127.0.0.1/" + sys.argv[1])
s.send(pickle.dumps({"student_name": "Alice", "github_username": "a", "sid": 1}))
while True:
    if pickle.loads(s.recv(4096)) == 1:
        print("Data acknowledged by server and you passed the test")
`;

pythonTest("an old client that waits for more is told that all is well", async (python) => {
  await using folder = await Folder.with(PICKLE);
  const script = await folder.write("client.py", OLD_CLIENT);
  await using server = await Process.main("--keep-alive-timeout", "0.1");
  const { code, out, err } = await run(python.program, [script, String(server.port)]);
  assertEquals([code, TRANSCRIPT.test(out)], [1, true], out);
  const last = err.trimEnd().split("\n").at(-1) ?? "";
  const words = "EOFError: no more bytes: the other end has closed the connection. For a client " +
    "that is no fault if the server had acknowledged before";
  assert(last.startsWith(words), last);
});

const IMPATIENT = `
import sys, clienthelper, client
clienthelper.ANSWER_SECONDS = 0.2
sys.exit(client.main())
`;

pythonTest("lab/client.py does not wait for ever for the acknowledgement", async (python) => {
  await using folder = await Folder.handOut();
  const script = await folder.write("impatient.py", IMPATIENT);
  const silent: Serve = async (conn) => {
    await conn.write(GREETING);
    const space = new Uint8Array(4096);
    while (await conn.read(space).catch(() => null) !== null); // until the client has left
  };
  const result = await serveOne(silent, (port) => {
    return run(python.program, [script, "--port", String(port), ...ALICE]);
  });
  assertFailed(result, /^No acknowledgement from the server: it has the request, but is silent/);
});
