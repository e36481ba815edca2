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
const GRADE = new URL("tools/grade.ts", ROOT).href;
const pathOf = (name: string) => fileURLToPath(new URL(name, ROOT));
const decoder = new TextDecoder();

async function run(program: string, ...args: string[]) {
  const command = new Deno.Command(program, { args, cwd: ROOT, stdin: "null" });
  const { code, stdout, stderr } = await command.output();
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
}

async function isGranted(name: "run" | "read" | "write" | "net"): Promise<boolean> {
  return (await Deno.permissions.query({ name })).state === "granted";
}

const RUN = await isGranted("run") && await isGranted("read") && await isGranted("write") &&
  await isGranted("net");
const has = async (program: string, ...args: string[]) =>
  RUN && (await run(program, ...args).catch(() => ({ code: 1 }))).code === 0;
const HAS_TOOLS = await has(PYTHON, "-c", "import msgpack") && await has("pgrep", "-V");
if (!RUN) console.log("Ignoring what needs --allow-net --allow-run --allow-read --allow-write");
const test = (name: string, fn: () => Promise<void>, ignore = !HAS_TOOLS) =>
  Deno.test({ name: `grade: ${name}`, ignore, fn });

/** The grader, as `deno task grade` runs it. */
const grade = (...args: string[]) =>
  run(Deno.execPath(), "run", ...configFlags(), ...PERMISSIONS, GRADE, ...args);
const PERMISSIONS = [
  "--allow-net=127.0.0.1,[::1]",
  "--allow-run",
  "--allow-read",
  "--allow-write",
  "--allow-env=PYTHONPATH",
];

/** A server in Python without a fault, or with the one that is named. */
const SERVER = `
import _pickle, os, pickle, signal, socket, struct, sys, threading, time
import msgpack

fault = sys.argv[1] if len(sys.argv) > 1 else os.path.basename(os.path.dirname(__file__))
port = int(sys.argv[2]) if len(sys.argv) > 2 else 12000

def say(*words):
    print(*words, flush=True)

def line(student):
    text = "Connected: Student: %s, Github Username: %s, sid: %s" % (
        student["student_name"], student["github_username"], student["sid"])
    if fault == "other text":
        text = text.replace("Github Username", "Github")
    if fault == "ascii":
        text.encode("ascii")
    return text if fault == "forges" else text.replace("\\n", "\\\\n")

listener = socket.socket(socket.AF_INET6 if fault == "ipv6" else socket.AF_INET)
host = "::1" if fault == "ipv6" else "127.0.0.1"

def serve(conn, client):
    conn.settimeout(None if fault == "patient" else 0.5)
    greeting = {"clientid": client + (fault == "wrong id")}
    encode = {"text greeting": lambda value: b"Welcome", "real pickle": _pickle.dumps,
              "wide": lambda value: b"\\x81\\xa8clientid\\xd3" + struct.pack(">q", client),
              }.get(fault, pickle.dumps)
    if fault != "late greeting":
        conn.sendall(encode(greeting))
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
        unpacker.feed(data)
        fed += len(data)
        if fault == "late greeting" and len(data) == fed:
            conn.sendall(encode(greeting))
        answers = []
        for student in unpacker:
            text = line(student)
            if fault == "prints to stderr":
                print(text, file=sys.stderr, flush=True)
            elif fault != "prints nothing":
                say(text)
            answers.append({"says ok": pickle.dumps("ok"), "wide": b"\\xd3" + struct.pack(">q", 1),
                            }.get(fault, pickle.dumps(1)))
            asked += 1
        for answer in answers[:1] if fault == "answers once" else answers:
            conn.sendall(answer)
        if fault == "no queue":
            throw_out_those_waiting()
        is_full = fault == "short" and len(data) == 1024
        if unpacker.tell() < fed and (fault == "one recv" or is_full):
            raise ValueError("this is no whole request")

def tick():
    while True:
        say("tick", time.time())
        time.sleep(0.01)

def throw_out_those_waiting():
    listener.setblocking(False)
    try:
        while True:
            listener.accept()[0].close()
    except BlockingIOError:
        listener.setblocking(True)

DEADLY = {"dies in the middle": EOFError, "dies on a reset": ConnectionResetError,
          "dies on garbage": msgpack.FormatError, "dies on a missing key": KeyError}

def main():
    if fault == "ends at once":
        sys.exit("no time today")
    if fault == "never listens":
        time.sleep(1000)
    if fault == "ignores ^C":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if fault != "no reuse":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(10)
    if fault in ("forks", "daemon") and os.fork() == 0:
        if fault == "daemon":
            os.setsid() # out of the process group, and the port is still its own
        time.sleep(1000)
    if fault != "says nothing":
        shown = port + 1 if fault == "another port" else port
        say("Listening at %s/%d" % (host, shown))
    while fault == "prints without end":
        print("tick")
    if fault == "ticks":
        threading.Thread(target=tick, daemon=True).start()
    while True:
        conn, (_, client, *_) = listener.accept()
        say("New client", client)
        try:
            serve(conn, client)
        except DEADLY.get(fault, ()):
            raise
        except Exception as error:
            if fault not in ("mute", "ticks") or isinstance(error, TimeoutError):
                say("Exception:", repr(error))
        conn.close()
        if fault == "one client":
            return

try:
    main()
except KeyboardInterrupt:
    sys.exit(130)
`;

let nextPort = 20_000 + Deno.pid % 5000; // below those that the system gives to connections
function freePort(): string {
  for (;;) {
    try {
      Deno.listen({ hostname: "127.0.0.1", port: ++nextPort }).close();
      return String(nextPort);
    } catch { // in use
    }
  }
}

/** A folder with a server of each of these faults, in a folder of its name. */
async function servers(port: string, ...faults: string[]): Promise<string> {
  const folder = await Deno.makeTempDir();
  for (const fault of faults) {
    await Deno.mkdir(`${folder}/${fault}`);
    await Deno.writeTextFile(`${folder}/${fault}/server.py`, SERVER.replace("12000", port));
  }
  return folder;
}

/** What the grader says of the server with this fault, and which processes are left. */
async function graded(fault: string) {
  const port = freePort();
  const folder = await servers(port, "bob");
  try {
    const script = `${folder}/bob/server.py`;
    const { code, out, err } = await grade(
      "--port",
      port,
      "--silence",
      "3",
      PYTHON,
      script,
      fault,
      port,
    );
    const missed = out.match(/^Missed: (.*)$/m)?.[1] ?? "";
    return { code, missed, out, err, left: (await run("pgrep", "-f", script)).out };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const FAULTS: [fault: string, missed: string, code: number][] = [
  ["none", "", 0],
  ["wide", "", 0], // integers of 64 bits
  ["ipv6", "", 0],
  ["forks", "", 0],
  ["says nothing", "says where", 1],
  ["another port", "says where", 1],
  ["wrong id", "greets", 1],
  ["late greeting", "greets", 1],
  ["text greeting", "greets", 1],
  ["says ok", "acknowledges", 1],
  ["other text", "prints", 1],
  ["prints nothing", "prints", 1],
  ["prints to stderr", "prints", 1],
  ["one client", "serves the next", 1],
  ["no queue", "two at once", 1],
  ["dies on leaving", "leaves at once", 1],
  ["dies in the middle", "leaves in the middle", 1],
  ["dies on a reset", "resets", 1],
  ["dies on garbage", "garbage", 1],
  ["dies on a missing key", "missing key", 1],
  ["mute", "reports exceptions", 1],
  ["ticks", "reports exceptions", 1], // and is not saved by a line now and then
  ["unaware", "reports leaving", 0],
  ["one recv", "two pieces", 0],
  ["answers once", "two in one", 0],
  ["ascii", "other script", 0],
  ["short", "long name", 0],
  ["patient", "silent client", 0],
  ["forges", "forged line", 0],
  ["no reuse", "starts again", 0],
  ["ignores ^C", "^C", 0],
];

for (const [fault, missed, code] of FAULTS) {
  test(`a server with the fault "${fault}" misses ${missed || "nothing"}`, async () => {
    const result = await graded(fault);
    assertEquals([result.missed, result.code, result.left], [missed, code, ""]);
  });
}

test("the project's own server passes every check, started as any other command", async () => {
  const port = freePort();
  const main = pathOf("main.ts");
  const flags = configFlags().map((flag) => flag.endsWith(".json") ? pathOf(flag) : flag);
  const command = [Deno.execPath(), "run", "--allow-net", ...flags, main, "--port", port];
  const { code, out } = await grade("--port", port, ...command);
  assertEquals([out.match(/^(Missed|Not tested): .*$/gm), code], [null, 0]);
}, !RUN);

test("a server that greets in pickle is told so", async () => {
  const { code, missed, out, left } = await graded("real pickle");
  assertEquals([missed, code, left], ["greets", 1, ""]);
  assert(out.includes("a Python pickle: 80 04"));
  assert(out.includes("-> Speak MessagePack"));
});

test("a folder of servers: each is graded, whatever the others do, and nothing is left", async () => {
  const port = freePort();
  const missed = {
    "daemon": "",
    "dies on garbage": "garbage",
    "ends at once": "says where",
    "never listens": "says where",
    "none": "",
    "prints without end": "greets, acknowledges",
  };
  const folder = await servers(port, ...Object.keys(missed));
  const csv = `${folder}/grades.csv`;
  const since = performance.now();
  try {
    const scripts = Object.keys(missed).map((fault) => `${folder}/${fault}/server.py`);
    const { code, out, err } = await grade("--port", port, "--csv", csv, PYTHON, ...scripts);
    assertEquals(code, 1);
    const summary = out.trimEnd().split("\n").slice(1).map((row) =>
      row.split("server.py")[1].trim()
    );
    assertEquals(summary, Object.values(missed));
    assertEquals(err.match(/^\d\/6 .*server\.py: \d+\/12 /gm)?.length, 6);
    const rows = (await Deno.readTextFile(csv)).split("\r\n");
    assert(rows[0].startsWith("server,asked,beyond,says where,greets,acknowledges,"));
    assertEquals(rows[5], `${scripts[4]},12,9,${"pass,".repeat(21)}`);
    const verdicts = `${"pass,".repeat(9)}miss,${"pass,".repeat(11)}`;
    assert(rows[2].startsWith(`${scripts[1]},11,9,${verdicts}garbage: the next client: `));
    assert(rows[2].endsWith("; the server ended: msgpack.exceptions.FormatError"));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  assert(performance.now() - since < 60_000);
  assertEquals((await run("pgrep", "-f", folder)).out, "");
});

/** A server that a person has started, graded by its port alone. */
async function gradedRunning(fault: string) {
  const port = freePort();
  const folder = await servers(port, "bob");
  const args = [`${folder}/bob/server.py`, fault, port];
  const env = { PYTHONPATH: pathOf("python") };
  const server = new Deno.Command(PYTHON, { args, env, stdout: "piped", stderr: "null" }).spawn();
  try {
    const reader = server.stdout.getReader();
    await reader.read(); // it listens
    const { code, out } = await grade("--port", port, "--silence", "3");
    await reader.cancel();
    try {
      server.kill("SIGTERM");
    } catch { // it has ended
    }
    return { port, code, out, signal: (await server.status).signal };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

test("--port alone grades a server that runs, and leaves it running", async () => {
  const { code, out, signal } = await gradedRunning("none");
  assertEquals([code, signal, out.match(/^Missed:.*$/m)], [0, "SIGTERM", null]);
  const untested = "says where, prints, reports exceptions, reports leaving, forged line, ";
  assertEquals(out.match(/^Not tested: (.*)$/m)?.[1], `${untested}starts again, ^C`);
  assert(out.includes("the server was not started"));
});

test("--port alone, and the server dies: what comes after is not tested", async () => {
  const { port, code, out, signal } = await gradedRunning("dies on garbage");
  assertEquals([code, signal, out.match(/^Missed: (.*)$/m)?.[1]], [1, null, "garbage"]);
  assert(out.replaceAll(/\s+/g, " ").includes(`No server accepts at port ${port}`));
});

test("a port that another program has: one line, and it is not graded", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const port = String(listener.addr.port);
  const { code, out, err } = await grade("--port", port, PYTHON, "server.py");
  assertEquals([code, out, err.split("\n").length], [1, "", 2]);
  assert(err.startsWith(`Port ${port} is in use`));
}, !RUN);

test("a program that is not there: one line", async () => {
  const { code, out, err } = await grade("--port", freePort(), "no-such-program", "server.py");
  assertEquals([code, out, err.split("\n").length], [1, "", 2]);
  assert(err.startsWith("no-such-program cannot be started"));
}, !RUN);

test("^C while it grades ends the server, too", async () => {
  const folder = await servers("0", "bob");
  const script = `${folder}/bob/server.py`;
  const args = ["run", ...configFlags(), ...PERMISSIONS, GRADE, PYTHON, script, "never listens"];
  const command = new Deno.Command(Deno.execPath(), { args, cwd: ROOT, stdout: "null" });
  const grader = command.spawn();
  const find = async () => (await run("pgrep", "-f", `^${PYTHON} ${script}`)).out;
  try {
    for (let tries = 0; tries < 1000 && await find() === ""; tries++) { /* not started yet */ }
    assert(await find() !== "");
    grader.kill("SIGINT");
    assertEquals((await grader.status).code, 130);
    for (let tries = 0; tries < 100 && await find() !== ""; tries++) { /* the kernel is at it */ }
    assertEquals(await find(), "");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

test("a wrong command line: one line, exit status 2; --help in one screen", async () => {
  const wrong: [args: string[], words: string][] = [
    [[], "Say what to grade"],
    [["--prot", "12000", PYTHON, "server.py"], "Unknown option --prot"],
    [["--port", "x", PYTHON, "server.py"], "--port must be an integer"],
    [["--silence", "99", PYTHON, "server.py"], "--silence must be an integer"],
    [["--port"], "--port needs a value"],
    [["--csv", "grades.csv", PYTHON], "--csv needs an interpreter and servers"],
    [["--csv", "grades.csv", PYTHON, "main.ts", "mian.ts"], "mian.ts is no file"],
  ];
  for (const [args, words] of wrong) {
    const { code, out, err } = await grade(...args);
    assertEquals([code, out, err.split("\n").length, err.startsWith(words)], [2, "", 2, true]);
  }
  const { code, out } = await grade("--help");
  assert(code === 0 && out.split("\n").length <= 30);
}, !RUN);

Deno.test("grade: a CSV line, with nothing that a spreadsheet would run", () => {
  assertEquals(csvLine(["a", 'b "c"', "d,e", "f\ng"]), 'a,"b ""c""","d,e","f\ng"\r\n');
  const cells = ["=1+1", "+1", "-1", "@a", "\ta", "\ra", "a=1"];
  assertEquals(csvLine(cells), `'=1+1,'+1,'-1,'@a,'\ta,"'\ra",a=1\r\n`);
});
