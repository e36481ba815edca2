/**
 * Tests of the grader: a good server passes every check, and a server with one fault misses the one
 * check that is meant for it, so no check is there for show.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { fileURLToPath } from "node:url";
import { configFlags, ROOT } from "./config.ts";
import { csvLine } from "./grade.ts";

const PYTHON = "/usr/bin/python3";
const AT_ONCE = 3; // tests: a grader mostly waits, but some of its limits are short
const pathOf = (name: string) => fileURLToPath(new URL(name, ROOT));

/** A server in Python without a fault, or with the one that is its argument or its folder's name. */
const SERVER = `
import os, pickle, signal, socket, sys, threading, time
import msgpack

fault = sys.argv[1] if len(sys.argv) > 1 else os.path.basename(os.path.dirname(__file__))
port = int(sys.argv[2]) if len(sys.argv) > 2 else 12000

def say(*words):  # in one piece, else the lines of two threads mix
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def line(student):
    text = "Connected: Student: %s, Github Username: %s, sid: %s" % (
        student["student_name"], student["github_username"], student["sid"])
    if fault == "other text":
        text = text.replace("Github Username", "Github")
    if fault == "ascii":
        text.encode("ascii")
    return text if fault == "forges" else text.replace("\\n", "\\\\n")

def serve(conn, client):
    conn.settimeout(None if fault == "patient" else 1)
    greeting = pickle.dumps({"clientid": client + (fault == "wrong id")})
    if fault == "text greeting":
        greeting = b"Welcome"
    if fault == "real pickle":
        greeting = bytes.fromhex("80049514000000000000007d94")
    if fault != "late greeting":
        conn.sendall(greeting)
    unpacker, fed, asked = msgpack.Unpacker(strict_map_key=False), 0, 0
    while True:
        data = conn.recv(1024 if fault == "short" else 4096)
        if not data:
            if unpacker.tell() < fed:
                raise EOFError("left in the middle")
            if asked == 0 and fault != "unaware":
                say("left without a request")
            if asked == 0 and fault == "dies on leaving":
                sys.exit("nothing came")
            return
        if fault == "echoes":
            say("received", data)
        unpacker.feed(data)
        fed += len(data)
        if fault == "late greeting" and len(data) == fed:
            conn.sendall(greeting)
        answers = []
        for student in unpacker:
            say(line(student))
            answers.append(pickle.dumps("ok" if fault == "says ok" else 1))
        asked += len(answers)
        for answer in answers[:1] if fault == "answers once" else answers:
            conn.sendall(answer)
        if fault == "no queue":
            throw_out_those_waiting()
        if unpacker.tell() < fed and (fault == "one recv" or fault == "short" and len(data) == 1024):
            raise ValueError("this is no whole request")

def throw_out_those_waiting():
    listener.setblocking(False)
    try:
        while True:
            listener.accept()[0].close()
    except BlockingIOError:
        listener.setblocking(True)

def tick():
    while True:
        say("tick", time.time())
        time.sleep(0.01)

DEADLY = {"dies in the middle": EOFError, "dies on a reset": ConnectionResetError,
          "dies on garbage": msgpack.FormatError, "dies on a missing key": KeyError}

listener = socket.socket()
if fault == "ends at once":
    sys.exit("no time today")
if fault == "never listens":
    time.sleep(1000)
if fault == "ignores ^C":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
if fault != "no reuse":
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", port))
listener.listen(10)
if fault == "forks" and os.fork() == 0:
    time.sleep(1000)
if fault != "says nothing":
    say("Listening at 127.0.0.1/%d" % (port + 7000 * (fault == "another port")))
while fault == "prints without end":
    print("tick")
if fault == "ticks":
    threading.Thread(target=tick, daemon=True).start()
while True:
    conn, (_, client) = listener.accept()
    say("New client", client, object())  # with its address in memory
    try:
        serve(conn, client)
    except DEADLY.get(fault, ()):
        raise
    except Exception as error:
        if fault not in ("mute", "echoes", "ticks") or isinstance(error, TimeoutError):
            say("Exception:", repr(error))
    conn.close()
    if fault == "one client":
        break
`;

/** The faults, and the check that each of them misses. */
const FAULTS: [fault: string, missed: string][] = [
  ["none", "nothing"],
  ["forks", "nothing"],
  ["says nothing", "says where"],
  ["another port", "says where"],
  ["wrong id", "greets"],
  ["late greeting", "greets"],
  ["text greeting", "greets"],
  ["real pickle", "greets"],
  ["says ok", "acknowledges"],
  ["other text", "prints"],
  ["one client", "serves the next"],
  ["no queue", "two at once"],
  ["dies on leaving", "leaves at once"],
  ["dies in the middle", "leaves in the middle"],
  ["dies on a reset", "resets"],
  ["dies on garbage", "garbage"],
  ["dies on a missing key", "missing key"],
  ["mute", "reports exceptions"],
  ["echoes", "reports exceptions"], // what has come is no report, where nothing has come
  ["ticks", "reports exceptions"], // a line now and then is none
  ["unaware", "reports leaving"],
  ["one recv", "two pieces"],
  ["answers once", "two in one"],
  ["ascii", "other script"],
  ["short", "long name"],
  ["patient", "silent client"],
  ["forges", "forged line"],
  ["no reuse", "starts again"],
  ["ignores ^C", "^C"],
];
const BEYOND = FAULTS.slice(FAULTS.findIndex(([fault]) => fault === "unaware"));

/** Runs a program; returns its exit status and what it has printed. */
async function run(program: string, ...args: string[]) {
  const command = new Deno.Command(program, { args, cwd: ROOT, stdin: "null" });
  const { code, stdout, stderr } = await command.output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { code, out, err };
}

const ALLOWED = ["net=127.0.0.1,[::1]", "run", "read", "write", "env=PYTHONPATH"];
const GRADER = ["run", ...configFlags(), ...ALLOWED.map((what) => `--allow-${what}`)]
  .concat(new URL("tools/grade.ts", ROOT).href);
const grade = (...args: string[]) => run(Deno.execPath(), ...GRADER, ...args);
const missedIn = (out: string) => out.match(/missed: ([^;\n]*)/)?.[1];

let lastPort = 20_000 + Deno.pid % 5000; // below those that the system gives to connections
function freePort(): string {
  for (;;) {
    try {
      Deno.listen({ hostname: "127.0.0.1", port: ++lastPort }).close();
      return String(lastPort);
    } catch { // in use
    }
  }
}

/** Calls with a folder of servers, each in a folder of its name; then no process of it is left. */
async function withServers(port: string, names: string[], use: (folder: string) => Promise<void>) {
  const folder = await Deno.makeTempDir();
  for (const name of names) {
    await Deno.mkdir(`${folder}/${name}`);
    await Deno.writeTextFile(`${folder}/${name}/server.py`, SERVER.replace("12000", port));
  }
  try {
    await use(folder);
    await ends(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const isRunning = async (words: string) => (await run("pgrep", "-f", words)).code === 0;

/** The kernel may take a moment to end what was killed. */
async function ends(words: string): Promise<void> {
  for (let tries = 0; await isRunning(words); tries++) assert(tries < 500, `${words} still runs`);
}

function assertIncludes(text: string, part: string): void {
  assert(text.includes(part), `${part} is not in: ${text}`);
}

/** All tests that run a grader: see the end of this file. */
const tests: [name: string, fn: () => Promise<void>][] = [];
const test = (name: string, fn: () => Promise<void>) => tests.push([name, fn]);

test("a folder of servers: each is graded, whatever the others do", async () => {
  const port = freePort();
  const missed = {
    "dies on garbage": "garbage",
    "ends at once": "says where",
    "never listens": "says where",
    "none": "nothing",
    "prints without end": "greets, acknowledges",
  };
  await withServers(port, Object.keys(missed), async (folder) => {
    const csv = `${folder}/grades.csv`;
    const scripts = Object.keys(missed).map((fault) => `${folder}/${fault}/server.py`);
    const { code, out, err } = await grade("--port", port, "--csv", csv, PYTHON, ...scripts);
    const lines = out.trim().split("\n");
    assertEquals([code, lines.map(missedIn)], [1, Object.values(missed)]);
    const progress = lines.map((line, i) => `${i + 1}/5 ${line.split(", missed")[0]}\n`);
    assertEquals(err, progress.join(""));
    const rows = (await Deno.readTextFile(csv)).split("\r\n");
    assertIncludes(rows[0], "server,lab (of 12),beyond (of 9),says where,greets,acknowledges,");
    assertEquals(rows[4], `${scripts[3]},12,9${",pass".repeat(21)}`);
    assertIncludes(rows[1], `${scripts[0]},11,9${",pass".repeat(9)},miss: `);
    assertIncludes(rows[1], "the server ended: msgpack.exceptions.FormatError,pass,");
    assertIncludes(rows[2], ",miss: nobody accepts");
    assertIncludes(rows[2], "the server ended: no time today,not tested: nobody accepts");
    assertIncludes(lines[1], "lab 0/12, beyond 0/9, missed: says where; not tested: 20");
  });
});

test("the project's own server passes every check", async () => {
  const port = freePort();
  const flags = configFlags().map((flag) => flag.endsWith(".json") ? pathOf(flag) : flag);
  const command = [Deno.execPath(), "run", "--allow-net", ...flags, pathOf("main.ts")];
  const { code, out } = await grade("--port", port, ...command, "--port", port);
  assertEquals([code, missedIn(out), out.includes("not tested")], [0, "nothing", false]);
});

for (const [fault, missed] of FAULTS) {
  test(`a server with the fault "${fault}" misses ${missed}`, async () => {
    const port = freePort();
    await withServers(port, ["bob"], async (folder) => {
      const command = [PYTHON, `${folder}/bob/server.py`, fault, port];
      const { code, out } = await grade("--port", port, "--silence", "3", ...command);
      const isRequired = missed !== "nothing" && BEYOND.every(([name]) => name !== fault);
      assertEquals([missedIn(out), code], [missed, isRequired ? 1 : 0]);
    });
  });
}

for (const [fault, missed] of [["none", "nothing"], ["dies on garbage", "garbage"]]) {
  test(`--port alone: the fault "${fault}" of a server that runs`, async () => {
    const port = freePort();
    await withServers(port, ["bob"], async (folder) => {
      const args = [`${folder}/bob/server.py`, fault, port];
      const env = { PYTHONPATH: pathOf("python") };
      const command = new Deno.Command(PYTHON, { args, env, stdout: "piped", stderr: "null" });
      await using server = command.spawn();
      const reader = server.stdout.getReader();
      await reader.read(); // it listens
      const { code, out } = await grade("--port", port, "--silence", "3");
      await reader.cancel();
      assertEquals([code, missedIn(out)], [missed === "nothing" ? 0 : 1, missed]);
      const untested = out.match(/^- +.*: not tested \(it was not started here\)$/gm);
      assertEquals(untested?.length, 7);
      assertEquals(await isRunning(folder), missed === "nothing");
    });
  });
}

test("^C while it grades ends the server, too", async () => {
  await withServers("12000", ["never listens"], async (folder) => {
    const script = `${folder}/never listens/server.py`;
    const args = [...GRADER, "--port", freePort(), PYTHON, script];
    await using grader = new Deno.Command(Deno.execPath(), { args, cwd: ROOT }).spawn();
    for (let tries = 0; !(await isRunning(`^${PYTHON} ${script}`)); tries++) assert(tries < 1000);
    grader.kill("SIGINT");
    assertEquals((await grader.status).code, 130);
  });
});

test("what a server leaves behind ends the grading: the next one could not be graded", async () => {
  const port = freePort();
  await withServers(port, ["none", "patient"], async (folder) => {
    const [first, second] = ["none", "patient"].map((name) => `${folder}/${name}/server.py`);
    const command = `[sys.executable, "${second}"]`;
    const daemon = `import subprocess, sys; subprocess.Popen(${command}, start_new_session=True)`;
    await Deno.writeTextFile(first, daemon);
    const args = ["--port", port, "--csv", `${folder}/grades.csv`, PYTHON, first, second];
    const { code, err } = await grade(...args);
    await run("pkill", "-f", folder);
    assertEquals([code, err.includes(`Port ${port} is in use`)], [1, true], err);
  });
});

test("a Python without msgpack: the teacher's mistake, not the student's", async () => {
  await withServers("12000", ["bob"], async (folder) => {
    const script = `${folder}/bob/server.py`;
    await Deno.writeTextFile(script, "import pickle\npickle.dumps(1)");
    const { code, err } = await grade("--port", freePort(), PYTHON, "-S", script);
    assertEquals([code, err.split("\n").length], [1, 2]);
    assertIncludes(err, "Python's msgpack is missing");
  });
});

test("what cannot be graded: said in a line", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const port = String(listener.addr.port);
  const taken = await grade("--port", port, PYTHON, "server.py");
  assertEquals([taken.code, taken.out], [1, ""]);
  assertIncludes(taken.err, `Port ${port} is in use by another program`);
  const { code, out, err } = await grade("--port", freePort(), "no-such-program");
  assertEquals([code, out, err.split("\n").length], [1, "", 2]);
  assertIncludes(err, "no-such-program");
  const gone = await grade("--port", freePort());
  assertEquals([gone.code, gone.err.endsWith("start the server first\n")], [1, true]);
});

test("a wrong command line: one line, exit status 2; --help in one screen", async () => {
  const wrong: [words: string, ...args: string[]][] = [
    ["Name a command"],
    ["Name a command", "--silence", "3"],
    ["Unknown option --prot", "--prot", "12000", PYTHON, "server.py"],
    ["There is no file ../nobody/server.py", PYTHON, "../nobody/server.py"],
    ["--csv has to come before", PYTHON, "main.ts", "--csv", "grades.csv"],
    ["--csv needs a name", "--csv", PYTHON, "main.ts"],
    ["--csv needs a name", "--csv"],
    ["--port must be", "--port=0", PYTHON, "main.ts"],
    ["--port must be", "--port", "x", PYTHON, "server.py"],
    ["--silence must be", "--silence", "99", PYTHON, "server.py"],
    ["--port must be", "--port"],
    ["--csv needs an interpreter and servers", "--csv", "grades.csv", PYTHON],
  ];
  for (const [words, ...args] of wrong) {
    const { code, out, err } = await grade(...args);
    assertEquals([code, out, err.split("\n").length, err.startsWith(words)], [2, "", 2, true]);
  }
  const { code, out } = await grade("--help");
  assert(code === 0 && out.split("\n").length <= 24);
});

const names = ["net", "run", "read", "write"] as const;
const granted = await Promise.all(names.map((name) => Deno.permissions.query({ name })));
const isAllowed = granted.every(({ state }) => state === "granted");
const has = async (program: string, ...args: string[]) =>
  isAllowed && (await run(program, ...args).catch(() => ({ code: 1 }))).code === 0;
const ignore = !(await has(PYTHON, "-c", "import msgpack") && await has("pgrep", "-V"));
if (ignore) console.log(`Ignored: this needs --allow-all, ${PYTHON} with msgpack, and pgrep`);

Deno.test({ name: "grade", ignore }, async (t) => {
  const left = [...tests];
  const options = { sanitizeOps: false, sanitizeResources: false, sanitizeExit: false };
  const work = async () => {
    for (let next; (next = left.shift()) !== undefined;) {
      await t.step({ name: next[0], fn: next[1], ...options });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
});

Deno.test("grade: a CSV line, with nothing that a spreadsheet would run", () => {
  assertEquals(csvLine(["a", 'b "c"', "d,e", "f\ng"]), 'a,"b ""c""","d,e","f\ng"\r\n');
  const cells = ["=1+1", "+1", "-1", "@a", "\ta", "\ra", "a=1"];
  assertEquals(csvLine(cells), `'=1+1,'+1,'-1,'@a,'\ta,"'\ra",a=1\r\n`);
});
