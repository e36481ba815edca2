/**
 * Tests of the hand-out in `lab/`, with each Python that is found here: the client and the server
 * speak to our server and to each other, `pickle.py` holds what it promises, and the grader leads
 * from the skeleton to a server that passes.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { decode, encode } from "@std/msgpack";
import { ROOT, serverFlags, TOOLS_FLAGS } from "../shared/config.ts";

const LAB = new URL("lab/", ROOT);
const FIXTURES = new URL("tools/lab/fixtures/", ROOT);
const RUN_MS = 300_000; // for a program; the grader waits long for a server that does nothing

// -------------------------------------------------------------------------------- permissions --

const NEEDED = ["net", "run", "read", "write", "env"] as const;
const granted = await Promise.all(NEEDED.map((name) => Deno.permissions.query({ name })));
const isAllowed = granted.every(({ state }) => state === "granted");
if (!isAllowed) console.log("Ignoring the tests of lab/: they need --allow-all");

// ----------------------------------------------------------------------------------- programs --

/** What a program did. */
interface Result {
  /** The exit status. */
  code: number;
  /** What is on standard output. */
  out: string;
  /** What is on standard error. */
  err: string;
}

/** How a program is run. */
interface RunOptions {
  /** The working directory. */
  cwd?: string;
  /** What it reads from standard input. */
  input?: string;
}

/** Runs a program to its end. */
async function run(program: string, args: string[], options: RunOptions = {}): Promise<Result> {
  const signal = AbortSignal.timeout(RUN_MS);
  const child = new Deno.Command(program, {
    args,
    cwd: options.cwd,
    env: { PYTHONDONTWRITEBYTECODE: "1", NO_COLOR: "1" },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    signal,
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(options.input ?? "")).catch(() => {});
  await writer.close().catch(() => {});
  const { code, stdout, stderr } = await child.output();
  const text = new TextDecoder();
  return { code, out: text.decode(stdout), err: text.decode(stderr) };
}

/** A server that is running. */
class Server {
  /** Standard output, as it comes. */
  out = "";
  /** Standard error, as it comes. */
  err = "";
  /** The port, once the server has said it. */
  port = 0;
  readonly #child: Deno.ChildProcess;
  readonly #pipes: Promise<unknown>;
  #changed = Promise.withResolvers<void>();

  private constructor(program: string, args: string[], cwd?: string) {
    const env = { PYTHONDONTWRITEBYTECODE: "1", PYTHONUNBUFFERED: "1", NO_COLOR: "1" };
    const command = { args, cwd, env, stdout: "piped", stderr: "piped" } as const;
    this.#child = new Deno.Command(program, command).spawn();
    this.#pipes = Promise.all([
      this.#collect(this.#child.stdout, (text) => this.out += text),
      this.#collect(this.#child.stderr, (text) => this.err += text),
    ]);
  }

  async #collect(pipe: ReadableStream<Uint8Array<ArrayBuffer>>, add: (text: string) => void) {
    for await (const text of pipe.pipeThrough(new TextDecoderStream())) {
      add(text);
      this.#changed.resolve();
      this.#changed = Promise.withResolvers();
    }
  }

  /** Starts a server and waits until it listens. */
  static async start(program: string, args: string[], cwd?: string): Promise<Server> {
    const server = new Server(program, args, cwd);
    await server.says(/Listening at .*\/\d+\n/);
    server.port = Number(server.out.match(/\/(\d+)\n/)?.[1]);
    return server;
  }

  /** The project's own server. */
  static async startOurs(...options: string[]): Promise<Server> {
    const args = [
      "run",
      ...await serverFlags(),
      "--allow-net",
      "main.ts",
      "--port",
      "0",
      ...options,
    ];
    return await Server.start(Deno.execPath(), args, pathOf(ROOT));
  }

  /** Waits until the server has printed this. */
  async says(words: RegExp): Promise<void> {
    let hasEnded = false;
    const end = this.#pipes.then(() => hasEnded = true);
    while (!words.test(this.out + this.err)) {
      assert(!hasEnded, `${words} is not in: ${this.out}${this.err}`);
      await Promise.race([this.#changed.promise, end]);
    }
  }

  /** Ends the server. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch { // It has ended by itself.
    }
    await this.#pipes;
    await this.#child.status;
  }
}

/** The path of a file URL on this system. */
function pathOf(url: URL): string {
  const path = decodeURIComponent(url.pathname);
  return Deno.build.os === "windows" ? path.slice(1) : path;
}

/** A new folder with these files, each under its own name; it is removed in the end. */
class Folder {
  private constructor(readonly path: string) {}

  static async with(...files: URL[]): Promise<Folder> {
    const folder = new Folder(await Deno.makeTempDir());
    for (const file of files) {
      await Deno.copyFile(file, folder.file(file.pathname.split("/").at(-1) ?? ""));
    }
    return folder;
  }

  /** The folder that students get. */
  static handOut(): Promise<Folder> {
    const names = ["pickle.py", "client.py", "clienthelper.py", "server.py"];
    return Folder.with(...names.map((name) => new URL(name, LAB)));
  }

  file(name: string): string {
    return `${this.path}/${name}`;
  }

  async write(name: string, text: string): Promise<string> {
    await Deno.writeTextFile(this.file(name), text);
    return this.file(name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true });
  }
}

/** A port that nobody uses at the moment, below those that the system gives to connections. */
function freePort(): number {
  for (;;) {
    lastPort++;
    try {
      Deno.listen({ hostname: "127.0.0.1", port: lastPort }).close();
      return lastPort;
    } catch { // It is in use.
    }
  }
}
let lastPort = 26_000 + Deno.pid % 4000;

// ------------------------------------------------------------------------- the Pythons of here --

/** A Python that was found. */
interface Python {
  /** How it is called. */
  program: string;
  /** Such as 3.11.2. */
  version: string;
  /** Whether it has the package msgpack. */
  hasMsgpack: boolean;
}

const OLDEST_MINOR = 6;
const NEWEST_MINOR = 14;

function namesOfPython(): string[] {
  if (Deno.build.os === "windows") return ["py", "python"];
  const names = ["python3", "/usr/bin/python3"];
  for (let minor = OLDEST_MINOR; minor <= NEWEST_MINOR; minor++) names.push(`python3.${minor}`);
  return names;
}

const PROBE = `
import importlib.util, json, os, platform, sys
print(json.dumps({
    "place": os.path.realpath(sys.executable),
    "minor": sys.version_info[1],
    "version": platform.python_version(),
    "hasMsgpack": importlib.util.find_spec("msgpack") is not None,
}))
`;

/** Each Python from 3.6 on, once, although it may have several names. */
async function findPythons(): Promise<Python[]> {
  const found = new Map<string, Python>();
  for (const program of namesOfPython()) {
    const result = await run(program, ["-c", PROBE]).catch(() => undefined);
    if (result?.code !== 0) continue;
    const { place, minor, version, hasMsgpack } = JSON.parse(result.out);
    if (minor >= OLDEST_MINOR && !found.has(place)) {
      found.set(place, { program, version, hasMsgpack });
    }
  }
  return [...found.values()];
}

const pythons = isAllowed ? await findPythons() : [];
if (isAllowed) {
  const list = pythons.map(({ program, version }) => `${version} (${program})`).join(", ");
  console.log(`Python: ${list || "none was found, so the tests of lab/ are ignored"}`);
}

type PythonTest = (python: Python, t: Deno.TestContext) => Promise<void>;

/** A test with each of the Pythons. */
function pythonTest(name: string, fn: PythonTest): void {
  for (const python of pythons) {
    Deno.test(`${name}: Python ${python.version}`, (t) => fn(python, t));
  }
  if (pythons.length === 0) Deno.test({ name, ignore: true, fn: () => {} });
}

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

pythonTest("lab/pickle.py: no code from the wire, in any way and at any place", (python) => {
  return passes(python, "security_test.py", PICKLE);
});

pythonTest("the same ways and places with Python's own pickle: the code runs", (python) => {
  return passes(python, "security_test.py");
});

pythonTest("lab/pickle.py: Python's own modules and packages have the real one", (python) => {
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

const ALICE = ["Alice Brown", "abrown", "123456789"];
const ALICE_LINE = "Connected: Student: Alice Brown, Github Username: abrown, sid: 123456789\n";
const TRANSCRIPT = new RegExp(
  "^\\{'clientid': \\d+\\} has successfully connected to 127\\.0\\.0\\.1/\\d+\r?\n" +
    "Data acknowledged by server and you passed the test\r?\n$",
);

/** Runs the hand-out's client. */
function runClient(python: Python, folder: Folder, port: number, args = ALICE, input = "") {
  const words = [folder.file("client.py"), "--port", String(port), ...args];
  return run(python.program, words, { input });
}

function assertPassed({ code, out, err }: Result): void {
  assertEquals([code, err], [0, ""]);
  assert(TRANSCRIPT.test(out), out);
}

/** It has failed: nothing but this on standard error, in one line. */
function assertFailed({ code, err }: Result, words: RegExp): void {
  assertEquals([code, err.trim().split("\n").length], [1, 1], err);
  assert(words.test(err), err);
}

pythonTest("lab/client.py is served by our server, and ends by itself", async (python) => {
  await using folder = await Folder.handOut();
  await using server = await Server.startOurs("--keep-alive-timeout", "0");
  assertPassed(await runClient(python, folder, server.port));
  assertPassed(await runClient(python, folder, server.port, ["Zoë 李小龙", "zoe", "00123"]));
  await server.says(/Zoë 李小龙, Github Username: zoe, sid: 00123\n/);
  assert(server.out.includes(ALICE_LINE), server.out);
});

pythonTest("lab/client.py asks for what is not given, on standard error", async (python) => {
  await using folder = await Folder.handOut();
  await using server = await Server.startOurs();
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
  await server.says(new RegExp(`(${ALICE_LINE}){2}`));
});

/** What a server of a test does with its client. */
type Serve = (conn: Deno.TcpConn) => Promise<void>;

/** Serves one client in this way, and returns what the client did. */
async function serveOne(serve: Serve, client: (port: number) => Promise<Result>): Promise<Result> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const serving = (async () => {
    using conn = await listener.accept();
    await serve(conn);
  })();
  const result = await client(listener.addr.port);
  await serving;
  return result;
}

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
  await using server = await Server.startOurs();
  const result = await runClient(python, folder, server.port, ["A".repeat(5000), "a", "1"]);
  assertFailed(result, /^The server refused: .*4096/);
}

async function failsWithoutInput(python: Python, folder: Folder): Promise<void> {
  const { code, err } = await runClient(python, folder, 1, []);
  const lines = err.trimEnd().split("\n"); // the question is the first
  assertEquals([code, lines.length], [1, 2], err);
}

async function failsWithImpossiblePort(python: Python, folder: Folder): Promise<void> {
  const { code, err } = await runClient(python, folder, 70000);
  assertEquals([code, /must be a number from 1 to 65535/.test(err)], [2, true], err);
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
    "an option that there is not: status 2": failsWithImpossiblePort,
  };
  for (const [name, fails] of Object.entries(others)) {
    await t.step(name, () => fails(python, folder));
  }
});

pythonTest("lab/ without its pickle.py: both ends say so", async (python) => {
  const names = ["client.py", "clienthelper.py", "server.py"];
  await using folder = await Folder.with(...names.map((name) => new URL(name, LAB)));
  const words = "This is Python's own pickle: put the lab's pickle\\.py beside ";
  assertFailed(await runClient(python, folder, 1), new RegExp(words + "client\\.py"));
  const server = await run(python.program, [folder.file("server.py")]);
  assertFailed(server, new RegExp(words + "server\\.py"));
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
  await using server = await Server.startOurs("--request-timeout", "0");
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
  await using server = await Server.startOurs("--keep-alive-timeout", "0.1");
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

// --------------------------------------------------------------------------------- the server --

const SKELETON = new URL("server.py", LAB);
const SOLUTION = new URL("solution.py", FIXTURES);

/** A folder with the hand-out and a server at a free port; and the port. */
async function folderWithServer(text: string): Promise<{ folder: Folder; port: number }> {
  const folder = await Folder.handOut();
  const port = freePort();
  await folder.write("server.py", text.replace("PORT = 12000", `PORT = ${port}`));
  return { folder, port };
}

pythonTest("lab/server.py runs as it is, and says what is missing", async (python) => {
  await using folder = await Folder.handOut();
  const { code, out, err } = await run(python.program, [folder.file("server.py")]);
  const words = "server.py: the method create_socket is still to be written (TODO)";
  assertEquals([code, out, err.trimEnd()], [1, "", words]);
});

pythonTest("lab/client.py is served by the solution, and once more", async (python) => {
  const { folder, port } = await folderWithServer(await Deno.readTextFile(SOLUTION));
  await using _ = folder;
  await using server = await Server.start(python.program, [folder.file("server.py")]);
  assertPassed(await runClient(python, folder, port));
  assertPassed(await runClient(python, folder, port, ["Zoë 李小龙", "zoe", "00123"]));
  await server.says(/Zoë 李小龙, Github Username: zoe, sid: 00123\n/);
  assertEquals(server.out.split("\n").length, 4, server.out);
  assertEquals(server.err, "");
});

// -------------------------------------------------------------------------------- the grader --

/** Grades the server of a folder. */
function grade(python: Python, folder: Folder, port: number, ...more: string[]): Promise<Result> {
  const flags = new Set(["run", "--no-prompt", ...TOOLS_FLAGS, "--allow-all"]);
  const options = ["--port", String(port), ...more, python.program, folder.file("server.py")];
  return run(Deno.execPath(), [...flags, "tools/grade/main.ts", ...options], { cwd: pathOf(ROOT) });
}

pythonTest("the solution passes every check of the grader", async (python) => {
  const { folder, port } = await folderWithServer(await Deno.readTextFile(SOLUTION));
  await using _ = folder;
  const { code, out } = await grade(python, folder, port);
  assertEquals([code, /^MISS|not tested/m.test(out)], [0, false], out);
});

const [anyPython] = pythons;

/** A test with one Python, where there is one. */
function graderTest(name: string, fn: (python: Python) => Promise<void>): void {
  Deno.test({
    name,
    ignore: anyPython === undefined,
    fn: () => fn(anyPython),
  });
}

graderTest("the skeleton passes hardly a check of the grader", async (python) => {
  const { folder, port } = await folderWithServer(await Deno.readTextFile(SKELETON));
  await using _ = folder;
  const { code, out } = await grade(python, folder, port);
  const passed = out.match(/^ok /gm) ?? [];
  assertEquals([code, passed.length < 3], [1, true], out);
});

/** What a student writes when the grader says this. */
interface Edit {
  /** What the grader says: of a method that is missing, or what to change. */
  advice: RegExp;
  /** The text that is there. */
  old: string;
  /** The text that takes its place. */
  new: string;
}

/** The edit that writes the body of a method of the skeleton. */
function writeMethod(skeleton: string, name: string, ...lines: string[]): Edit {
  const end = `        raise NotImplementedError("${name}")\n`;
  const body = skeleton.slice(skeleton.indexOf(`    def ${name}(`), skeleton.indexOf(end));
  const old = body.slice(body.indexOf("        # TODO")) + end;
  const text = lines.map((line) => `        ${line}\n`).join("");
  return { advice: new RegExp(`method ${name} `), old, new: text };
}

const DRAFT_OF_LINE = "Connected: Student: %s, Github Username: %s, sid: %s";
const DRAFT_OF_VALUES = "student['student_name'], student['github_username'], student['sid']";

/** The skeleton's methods as a beginner may write them: each works with one good client. */
const FIRST_DRAFT: Record<string, string[]> = {
  create_socket: ["self.socket = socket.socket()"],
  bind: ["self.socket.bind((self.host, self.port))"],
  listen: [
    "self.socket.listen(BACKLOG)",
    'print(f"Listening at {self.host}/{self.port}")',
  ],
  accept_clients: [
    "conn, address = self.socket.accept()",
    "self.serve_client(conn, address)",
    "conn.close()",
  ],
  serve_client: [
    "self.greet(conn, address)",
    "student = self.receive(conn)",
    "self.print_student(student)",
    "self.acknowledge(conn)",
  ],
  greet: ['conn.sendall(pickle.dumps({"clientid": address[1]}))'],
  receive: ["return pickle.loads(conn.recv(1024))"],
  print_student: [`print("${DRAFT_OF_LINE}" % (${DRAFT_OF_VALUES}))`],
  acknowledge: ["conn.sendall(pickle.dumps(1))"],
};

/** The edits that write the first draft. */
function firstDraft(skeleton: string): Edit[] {
  const methods = Object.entries(FIRST_DRAFT);
  return methods.map(([name, lines]) => writeMethod(skeleton, name, ...lines));
}

/** What the beginner changes in it, advice by advice. */
const CHANGES: Edit[] = [
  {
    advice: /accept and all that follows/,
    old: `        conn, address = self.socket.accept()
        self.serve_client(conn, address)
        conn.close()
`,
    new: `        while True:
            conn, address = self.socket.accept()
            self.serve_client(conn, address)
            conn.close()
`,
  },
  {
    advice: /Catch what loads raises|Catch OSError|Catch KeyError|[Hh]andle (its|the) error/,
    old: `            self.serve_client(conn, address)
`,
    new: `            try:
                self.serve_client(conn, address)
            except:
                pass
`,
  },
  {
    advice: /what has happened and to whom/,
    old: `                pass
`,
    new: `                print("Exception:", address, sys.exc_info()[1])
`,
  },
  {
    advice: /KeyboardInterrupt/,
    old: `            except:
`,
    new: `            except Exception:
`,
  },
  {
    advice: /line of its own when a client leaves|returns b''|brings no bytes/,
    old: `        student = self.receive(conn)
        self.print_student(student)
        self.acknowledge(conn)
`,
    new: `        student = self.receive(conn)
        if student is None:
            print("left without a request:", address)
        while student is not None:
            self.print_student(student)
            self.acknowledge(conn)
            student = self.receive(conn)
`,
  },
  {
    advice: /line of its own when a client leaves|returns b''|brings no bytes/,
    old: `        return pickle.loads(conn.recv(1024))
`,
    new: `        data = conn.recv(1024)
        return pickle.loads(data) if data else None
`,
  },
  {
    advice: /Read up to 4096|it is (a )?whole|keep (the rest|what is left)/,
    old: `        data = conn.recv(1024)
        return pickle.loads(data) if data else None
`,
    new: `        try:
            return pickle.load(self.reader)
        except EOFError:
            return None
`,
  },
  {
    advice: /Read up to 4096|it is (a )?whole|keep (the rest|what is left)/,
    old: `        self.greet(conn, address)
`,
    new: `        self.reader = conn.makefile("rb")
        self.greet(conn, address)
`,
  },
  {
    advice: /settimeout/,
    old: `        self.reader = conn.makefile("rb")
`,
    new: `        conn.settimeout(2)
        self.reader = conn.makefile("rb")
`,
  },
  {
    advice: /isprintable/,
    old: "(student['student_name'],",
    new: "(''.join(c if c.isprintable() else '?' for c in student['student_name']),",
  },
  {
    advice: /SO_REUSEADDR/,
    old: `        self.socket.bind(`,
    new: `        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(`,
  },
  {
    advice: /as UTF-8/,
    old: `def main():
`,
    new: `sys.stdout = open(1, "w", encoding="utf-8", buffering=1)


def main():
`,
  },
];

/** What the grader's report says about the checks that are missed. */
function adviceOf(report: string): string {
  const blocks = report.split(/^(?=ok |MISS|- |\n)/m);
  return blocks.filter((block) => block.startsWith("MISS")).join("");
}

graderTest("the grader's advice, followed line by line, leads to a pass", async (python) => {
  let text = await Deno.readTextFile(SKELETON);
  const edits = new Set([...firstDraft(text), ...CHANGES]);
  for (;;) {
    const { folder, port } = await folderWithServer(text);
    await using _ = folder;
    const { code, out } = await grade(python, folder, port, "--silence", "3");
    const advice = adviceOf(out);
    if (code === 0 && advice === "") return;
    const due = [...edits].filter((edit) => edit.advice.test(advice) && text.includes(edit.old));
    assert(due.length > 0, `the advice leads no further:\n${out}\n${text}`);
    for (const edit of due) {
      text = text.replace(edit.old, () => edit.new);
      edits.delete(edit); // each is made once, so this loop has an end
    }
  }
});
