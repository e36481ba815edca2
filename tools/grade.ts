/**
 * Grades a server of the lab, in whatever language: visits it with good and bad clients, and says
 * what it did and what to change. It runs the server with the rights of the person who grades.
 *
 * @module
 */

import { decode, encode } from "@std/msgpack";
import { statSync } from "node:fs";
import { createConnection, type Socket } from "node:net"; // Deno's own cannot send a reset
import { delimiter, dirname, resolve } from "node:path";

const START_MS = 8000; // until a server accepts
const ANSWER_MS = 2000; // for a greeting, an answer, or the end after ^C
const CHECK_MS = 25_000;
const RUN_MS = 60_000; // for all checks of a server
const ENDING_MS = 200; // for a server that an error ends
const WORDS_MS = 500; // for printed words, which may arrive after the answer
const FIRST_MS = 20; // in which a server may close before its client
const MOMENT_MS = 100; // to greet, to close after a client, to read the first of two pieces
const MAX_LINES = 10_000; // kept of what a server prints, maybe without end
const MAX_BYTES = 1000; // looked at of what it sends

/** What the server did wrong. */
class Miss extends Error {}
/** Why a check was not made. Any other error ends the whole grading: it is not this server's. */
class NotTested extends Error {}
class UsageError extends Error {}
// What a server says must not move the cursor or look like a line of the grader.
const escape = (text: string) => text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, "\ufffd");
const show = (value: unknown) =>
  JSON.stringify(value, (_, v) => typeof v === "bigint" ? Number(v) : v) ?? "nothing";
const statusOf = (path: string) => statSync(path, { throwIfNoEntry: false });
const isFile = (path: string) => statusOf(path)?.isFile() ?? false;
const delay = (ms: number) => new Promise<void>((wake) => setTimeout(wake, ms));
let deadline = Infinity; // of the current check: no wait goes beyond it
let endRunning = () => {}; // ends the server of the moment

/** Whether it becomes true in time. Sockets, pipes and processes have no event in common. */
async function until(condition: () => unknown, ms: number): Promise<boolean> {
  for (const end = Math.min(performance.now() + ms, deadline); !(await condition());) {
    if (performance.now() > end) return false;
    await delay(4);
  }
  return true;
}
// ---------------------------------------------------------------- clients and the server --
class Client {
  end = ""; // how the server has ended the connection
  bytes = new Uint8Array(); // that have come and were not taken
  text = ""; // the first of those that were looked at last

  constructor(readonly socket: Socket) {
    socket.setNoDelay().on("data", (chunk: Uint8Array) => {
      if (this.bytes.length < MAX_BYTES) this.bytes = new Uint8Array([...this.bytes, ...chunk]);
    });
    socket.on("end", () => this.end ||= "the server closed the connection");
    socket.on("error", ({ message }) => this.end ||= `the connection broke: ${message}`);
  }

  async send(pieces: Uint8Array[]): Promise<void> {
    this.bytes = new Uint8Array(); // what came before is no answer
    for (const piece of pieces) {
      this.socket.write(piece);
      if (pieces.length > 1) await delay(MOMENT_MS);
    }
  }

  /** The next value that the server sends: the shortest beginning that is a whole one. */
  async receive(what: string, ms = ANSWER_MS): Promise<unknown> {
    let value: unknown;
    const take = () => {
      this.text = show(String.fromCharCode(...this.bytes.slice(0, 40)));
      for (let to = 1; value === undefined && to <= Math.min(this.bytes.length, MAX_BYTES); to++) {
        try {
          value = decode(this.bytes.slice(0, to));
          this.bytes = this.bytes.slice(to);
        } catch { // not whole yet, or never
        }
      }
      return value !== undefined || this.end;
    };
    await until(take, ms);
    if (value !== undefined) return value;
    const why = this.bytes.length > 0 ? `no MessagePack, as text ${this.text}` : this.end;
    throw new Miss(`no ${what}: ${why || `nothing within ${ms / 1000} s`}`);
  }

  /** Leaves as a good client does. Whoever closes first keeps the port for a minute, and many a
   * server cannot be started again: so this end does, or resets, which frees the port at once. */
  async leave(): Promise<void> {
    if (await until(() => this.end, FIRST_MS)) return void this.socket.resetAndDestroy();
    this.socket.end();
    await until(() => this.end, MOMENT_MS);
    this.socket.destroy();
  }
}

async function connect(port: number): Promise<Client | undefined> {
  for (const host of ["127.0.0.1", "::1"]) {
    const client = new Client(createConnection({ host, port, allowHalfOpen: true }));
    await until(() => !client.socket.connecting, ANSWER_MS);
    if (!client.socket.connecting && !client.socket.destroyed) return client;
    client.socket.destroy();
  }
}

/** Starts a server, in the folder of its script and in a process group of its own. */
function launch([program, ...args]: string[]) {
  const cwd = dirname([...args, program].find(isFile) ?? "");
  const paths = [resolve(import.meta.dirname!, "../python"), Deno.env.get("PYTHONPATH")];
  const env = { PYTHONPATH: paths.filter(Boolean).join(delimiter), PYTHONUNBUFFERED: "1" };
  const io = { stdin: "null", stdout: "piped", stderr: "piped", detached: true } as const;
  const child = new Deno.Command(program, { args, cwd, env, ...io }).spawn();
  const signal = (name: Deno.Signal) => { // to all its processes, as a terminal does
    try {
      if (!server.hasEnded) Deno.kill(Deno.build.os === "windows" ? child.pid : -child.pid, name);
    } catch { // it has ended
    }
  };
  const server = { lines: [] as string[], hasEnded: false, signal };
  const pipes = [child.stdout, child.stderr].map(async (pipe) => {
    let rest = "";
    for await (const text of pipe.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split(/\r?\n/).map((line) => line.slice(0, 8192));
      rest = lines.pop()!;
      if (server.lines.length < MAX_LINES) server.lines.push(...lines);
    }
  });
  child.status.then(async () => {
    signal("SIGKILL"); // what it has started and left behind
    await Promise.race([Promise.all(pipes), delay(WORDS_MS)]);
    server.hasEnded = true;
  });
  endRunning = () => signal("SIGKILL");
  return server;
}
// --------------------------------------------------------------------------- the grading --
type Result = Record<"part" | "name" | "done" | "expected" | "fix" | "verdict" | "seen", string>;
const cellOf = ({ verdict, seen }: Result) => verdict === "pass" ? "pass" : `${verdict}: ${seen}`;
let sid = 900_000_000; // of the last request: each has its own
const request = (student_name = "Alice Brown") =>
  encode({ student_name, github_username: "abrown", sid: ++sid });
const lineOf = (name = "Alice Brown", user = "abrown", id: unknown = sid) =>
  `Connected: Student: ${name}, Github Username: ${user}, sid: ${id}`;
const isWhere = (line: string) => line.startsWith("Listening at ");
const withoutNumbers = (line: string) => line.replaceAll(/0x[\da-f]+|\d+/gi, "");

/** The grading of one server, and what its checks have found out for those after them. */
class Grading {
  server: ReturnType<typeof launch> | undefined;
  hopeless = ""; // why no other check can be made
  greetingMs = ANSWER_MS; // 0 when it does not come before the request
  hasAccepted = false; // a client
  answer = ""; // to a good request
  answerText = ""; // its bytes as text
  isMute = false; // it does not print the lab's line, to the letter
  usual: Set<string> | undefined; // the lines that good clients cause, once two were served
  readonly heard: Record<string, boolean> = {}; // whether it spoke of a bad client, and survived
  #clients: Client[] = [];

  constructor(readonly command: string[], public port: number, readonly silence: number) {}

  async *run(): AsyncGenerator<Result, void> {
    const end = performance.now() + RUN_MS;
    for (const [part, name, run, done, expected, fix] of CHECKS) {
      const result = { part, name, done, expected, fix, verdict: "pass", seen: "" };
      deadline = Math.min(performance.now() + CHECK_MS, end);
      try {
        if (performance.now() > end) this.hopeless = `${RUN_MS / 1000} s for a server are over`;
        const isLocal = LOCAL.test(name) && this.command.length === 0;
        const why = isLocal ? "it was not started here" : this.hopeless;
        if (why !== "") throw new NotTested(why);
        result.seen = await run(this, name) ?? expected;
      } catch (error) {
        if (!(error instanceof Miss || error instanceof NotTested)) throw error;
        result.verdict = error instanceof Miss ? "miss" : "not tested";
        result.seen = error.message;
        if (error instanceof Miss && await until(() => this.server?.hasEnded, ENDING_MS)) {
          result.seen += `; the server ended: ${this.lastLine()}`;
        }
        if (this.lastLine().startsWith("Python's msgpack is missing")) {
          throw new Error(this.lastLine());
        }
      }
      deadline = Infinity;
      // A server that may serve one client only, or is in an unknown state, starts afresh.
      if (result.verdict === "miss" || !this.usual || this.server?.hasEnded) await this.end();
      for (const client of this.#clients.splice(0)) await client.leave();
      yield { ...result, seen: escape(result.seen.slice(0, 200)) };
    }
    await this.end();
  }

  lastLine(): string {
    return this.server?.lines.findLast(Boolean) ?? "it has printed nothing";
  }

  async end(): Promise<void> {
    this.server?.signal("SIGKILL");
    await until(() => this.server?.hasEnded ?? true, ANSWER_MS);
    this.server = undefined;
  }

  /** A client. The first one starts the server, which is not started again when it has died. The
   * connection that shows that it accepts is this client's: the server takes it for one anyhow. */
  async connect(): Promise<Client> {
    const isDue = this.command.length > 0 && !this.server;
    let client = await connect(this.port);
    if (isDue && client) {
      client.socket.destroy();
      const other = "another program, or what a server has left behind";
      throw new Error(`Port ${this.port} is in use by ${other}: end it, or see --port`);
    }
    const server = this.server ??= isDue ? launch(this.command) : undefined;
    await until(async () => {
      const said = Number(server?.lines.find(isWhere)?.match(/\/(\d+)$/)?.[1]);
      client ??= await connect(this.port) ?? await connect(said < 65536 ? said : this.port);
      return client ?? server?.hasEnded;
    }, isDue ? START_MS : 0);
    if (isDue) await until(() => server?.lines.find(isWhere) ?? server?.hasEnded, WORDS_MS);
    if (!client) {
      const words = `nobody accepts at port ${this.port}`;
      if (!server && !this.hasAccepted) throw new Error(`${words}: start the server first`);
      if (!server || this.answer === "") this.hopeless = words;
      throw new Miss(
        server?.hasEnded === false ? `${words}; its last line: ${this.lastLine()}` : words,
      );
    }
    this.port = client.socket.remotePort ?? this.port; // none if the server has reset it already
    this.hasAccepted = true;
    this.#clients.push(client);
    return client;
  }

  /** Waits for the greeting, sends these pieces, and returns the answer: always the same. */
  async ask(client: Client, pieces = [request()], answers = 1): Promise<string> {
    await client.receive("greeting", this.greetingMs).catch(() => {});
    await client.send(pieces);
    for (let count = 0; count < answers;) {
      const answer = await client.receive(`answer to request ${count + 1}`);
      if (Object(answer).clientid !== undefined) continue; // a greeting that was late
      if (this.answer === "") [this.answer, this.answerText] = [show(answer), client.text];
      if (show(answer) !== this.answer) throw new Miss(`the answer ${show(answer)}`);
      count++;
    }
    return this.answer;
  }

  async visit(pieces = [request()], answers = 1): Promise<string> {
    const client = await this.connect();
    const answer = await this.ask(client, pieces, answers);
    await client.leave();
    return answer;
  }

  /** How many lines the server has printed that good clients do not cause. */
  unusual(): number {
    return this.server?.lines.filter((line) => !this.usual?.has(withoutNumbers(line))).length ?? 0;
  }
}
// ---------------------------------------------------------------------------- the checks --
/** May return what was seen, or throws. */
type Run = (lab: Grading, name: string) => void | string | Promise<void | string>;

async function saysWhere(lab: Grading): Promise<string> {
  await lab.connect();
  const { lines } = lab.server!;
  const said = lines.find(isWhere) ?? lines.find((line) => /listen/i.test(line)) ?? lab.lastLine();
  if (said.match(/^Listening at \S+\/(\d+)$/)?.[1] === String(lab.port)) return said;
  throw new Miss(`${said}; it accepts at port ${lab.port}`);
}

async function greets(lab: Grading): Promise<string> {
  const client = await lab.connect();
  lab.greetingMs = 0;
  const greeting = await client.receive("greeting before the request");
  lab.greetingMs = ANSWER_MS;
  await client.send([request()]); // to leave now is another check
  const { clientid } = Object(greeting);
  if (show(clientid) === `${client.socket.localPort}`) return show(greeting);
  if (clientid === undefined) throw new Miss(`${show(greeting)}, as text ${client.text}`);
  throw new Miss(`${show(greeting)}; the client's port is ${client.socket.localPort}`);
}

async function acknowledges(lab: Grading): Promise<string> {
  lab.hopeless = "no request is answered";
  const answer = await lab.visit();
  lab.hopeless = "";
  if (answer === "1") return answer;
  throw new Miss(`${answer}, as text ${lab.answerText}`);
}

/** A client with this name, and its line if that can be expected. */
async function prints(lab: Grading, name: string): Promise<string> {
  const answer = await lab.visit([request(name)]);
  if (!lab.server || lab.isMute) return `${answer}; its line cannot be expected here`;
  const [{ lines }, line] = [lab.server, lineOf(name)];
  if (await until(() => lines.includes(line), WORDS_MS)) return line;
  lab.isMute = name === "Alice Brown";
  throw new Miss(lines.find((line) => line.includes(`${sid}`)) ?? "no line with this sid");
}

async function servesNext(lab: Grading): Promise<void> {
  lab.hopeless = "no second client is served";
  await lab.visit();
  await lab.visit();
  lab.hopeless = "";
  lab.usual = new Set(lab.server?.lines.map(withoutNumbers));
}

async function servesBoth(lab: Grading): Promise<string> {
  const [first, second] = [await lab.connect(), await lab.connect()];
  const isIterative = !(await until(() => second.bytes.length > 0, MOMENT_MS));
  await lab.ask(first);
  await first.leave();
  await lab.ask(second);
  return isIterative
    ? "it was served then"
    : "it was greeted at once: this server is not iterative";
}

/** A bad client comes; the console should say something, and the next client must be served. */
const survives = (pieces: Uint8Array<ArrayBuffer>[], isReset = false): Run => async (lab, name) => {
  const client = await lab.connect();
  const before = lab.unusual();
  await lab.ask(client, pieces, 0);
  await (isReset ? client.socket.resetAndDestroy() : client.leave());
  const isHeard = await until(() => lab.unusual() > before, WORDS_MS);
  await lab.visit();
  lab.heard[name] = isHeard;
};

/** What the console has said about those bad clients that it survived. */
const speaks = (expected: RegExp): Run => ({ heard }) => {
  const names = Object.keys(heard).filter((name) => expected.test(name));
  if (names.length === 0) throw new NotTested("it survived no such client");
  const silent = names.filter((name) => !heard[name]).join(", ");
  if (silent !== "") throw new Miss(`nothing that good clients do not cause, too, on: ${silent}`);
};

async function isPatient(lab: Grading): Promise<string> {
  const [_, other] = [await lab.connect(), await lab.connect()];
  const since = performance.now();
  await other.send([request()]);
  await other.receive("greeting for the other", lab.silence * 1000);
  return `it was served after ${((performance.now() - since) / 1000).toFixed(1)} s`;
}

async function resistsForgery(lab: Grading): Promise<void> {
  const forged = lineOf("Mallory", "mallory", 1);
  await lab.visit([request(`Eve\n${forged}\n`)]).catch(() => {});
  await lab.visit();
  const { lines } = lab.server!;
  await until(() => lines.includes(lineOf()), WORDS_MS); // and what was printed before it
  if (lines.some((line) => line.startsWith(forged))) throw new Miss(forged);
}

async function startsAgain(lab: Grading): Promise<void> {
  await lab.ask(await lab.connect());
  await lab.end(); // its connection to the client keeps the port
  await lab.visit();
}

async function stops(lab: Grading): Promise<void> {
  await lab.visit();
  lab.server!.signal("SIGINT");
  if (!(await until(() => lab.server!.hasEnded, ANSWER_MS))) throw new Miss("it goes on running");
}

const NEXT = "the next client is served";
const GARBAGE = new Uint8Array([0xc1, 0xff, 0, 0xc1, 7, 0xc1]);
const NO_SID = encode({ student_name: "Alice Brown", github_username: "abrown" });
const inTwo = (bytes: Uint8Array) => [bytes.slice(0, 30), bytes.slice(30)];
const two = () => new Uint8Array([...request(), ...request()]);
const LOCAL = /^(says where|prints|reports|forged|starts again|\^C)/; // take more than connections
type Check = [part: string, name: string, run: Run, done: string, expected: string, fix: string];
// deno-fmt-ignore
const CHECKS: Check[] = [
  ["lab", "says where", saysWhere, "The server starts", "Listening at HOST/PORT",
    'Ask for nothing; listen at 127.0.0.1, port 12000; print(f"Listening at {host}/{port}").'],
  ["lab", "greets", greets, "A client connects and waits", '{"clientid": its port} at once',
    'Send {"clientid": address[1]} as MessagePack right after accept, before the first recv.'],
  ["lab", "acknowledges", acknowledges, "It sends name, user name and sid", "1",
    "Send the integer 1 when the request is printed, in the same encoding as the greeting."],
  ["lab", "prints", (lab) => prints(lab, "Alice Brown"), "The same", lineOf("...", "...", "..."),
    "Print this line, to the letter and without colours, before you send the acknowledgement."],
  ["lab", "serves the next", servesNext, "Two clients come, one after the other", NEXT,
    "Put accept and all that follows in a loop; leave the loop around recv when it returns b''."],
  ["lab", "two at once", servesBoth, "One more comes while a client is served", "then it is served",
    "Call listen once, before the loop, with a backlog of 10; close clients only."],
  ["lab", "leaves at once", survives([]), "A client connects and leaves", NEXT,
    "When recv returns b'' the client is gone: close its socket, go on with accept."],
  ["lab", "leaves in the middle", survives([inTwo(NO_SID)[0]]), "A client sends half and leaves",
    NEXT, "Catch what loads raises (try inside the accept loop), close this socket, go on."],
  ["lab", "resets", survives([], true), "A client breaks the connection (reset)", NEXT,
    "Catch OSError (ConnectionResetError is one) around recv and send, in the accept loop."],
  ["lab", "garbage", survives([GARBAGE]), "A client sends bytes that are no MessagePack", NEXT,
    "Catch what loads raises (try inside the accept loop), close this socket, go on."],
  ["lab", "missing key", survives([NO_SID]), "A client sends a dict without sid", NEXT,
    "Catch KeyError inside the accept loop (or test for the key), close this socket, go on."],
  ["lab", "reports exceptions", speaks(/middle|resets|garbage|key/), "The console, meanwhile",
    "words on each", "In each except, print what has happened and to whom; never only pass."],
  ["beyond", "reports leaving", speaks(/at once/), "The console when a client leaves at once",
    "words", "Print a line of its own when a client leaves without a request: nobody would know."],
  ["beyond", "two pieces", (lab) => lab.visit(inTwo(request())), "A request in two pieces",
    "1 as ever", "Collect what recv brings until it is a whole value: msgpack.Unpacker does so."],
  ["beyond", "two in one", (lab) => lab.visit([two()], 2), "Two requests in one", "two answers",
    "Answer every value in what recv brought (msgpack.Unpacker finds them), keep the rest."],
  ["beyond", "other script", (lab) => prints(lab, "Zoë 李小龙 Ωμέγα"), "A name in other scripts",
    "its line", "Keep text as str, and print it as UTF-8."],
  ["beyond", "long name", (lab) => prints(lab, "Anna".repeat(975)), "A name of 3900 bytes",
    "its line", "Read up to 4096 bytes, and go on reading until the value is whole."],
  ["beyond", "silent client", isPatient, "A client stays silent", "another is served before long",
    "Give the client's socket a time limit: conn.settimeout(2), and catch TimeoutError."],
  ["beyond", "forged line", resistsForgery, "A name has a line break and a second line in it",
    "no such line", 'Print "".join(c if c.isprintable() else "?" for c in name), or refuse it.'],
  ["beyond", "starts again", startsAgain, "The server ends with a client connected, and is started",
    "it accepts at the same port", "Before bind: setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)."],
  ["beyond", "^C", stops, "^C is pressed (SIGINT)", "the server ends",
    "Do not catch KeyboardInterrupt: write `except Exception`, not a bare `except`."],
];
// ------------------------------------------------------- the reports and the command line --
const HELP = `Grades a server of the lab: what it does with good clients and with bad ones.

  grade [options] python3 ../alice/server.py                 starts a server, by any command
  grade [options] --csv grades.csv python3 ../*/server.py    many: a column for each check
  grade [options] --port 12000                               a server that runs already

A server is started in the folder of its script with the project's python/ in PYTHONPATH, where
"import pickle" speaks MessagePack. One that runs already is not tested for what it prints.

  --port 12000      where the server listens if it does not say so
  --silence 15      seconds that a silent client may keep the next one out (with --csv: 3)
  --csv grades.csv  the file for many servers, each without arguments; it is overwritten

Limits: ${START_MS} ms to start, ${ANSWER_MS} to answer, ${CHECK_MS} for a check, ${RUN_MS} for all.
Exit status: 0 if nothing that the lab asks for is missed, 1 if something is, 2 for a wrong command.
It runs other people's programs with your rights: see the README.`;

/** The options, and the commands behind them, which may have options of their own. */
function parse(words: string[]) {
  const given: Record<string, string> = { "--port": "", "--silence": "", "--csv": "" };
  for (words = [...words]; words[0]?.startsWith("-"); words.shift()) {
    const [name, value = words.splice(1, 1)[0] ?? "nothing"] = words[0].split("=");
    if (given[name] === undefined) throw new UsageError(`Unknown option ${name}`);
    given[name] = value; // "nothing" is wrong for each of them
  }
  const csv = given["--csv"];
  const port = Number(given["--port"] || 12000);
  const silence = Number(given["--silence"] || (csv === "" ? 15 : 3));
  const first = words.findIndex((word, i) => i > 0 && isFile(word)); // behind the interpreter
  if (!(port > 0 && port < 65536)) throw new UsageError("--port must be from 1 to 65535");
  if (!(silence > 0 && silence <= 20)) throw new UsageError("--silence must be from 1 to 20");
  const lost = words.find((word) => /^[^-].*\/.*\.\w+$/.test(word) && !statusOf(word));
  if (lost) throw new UsageError(`There is no file ${lost}`);
  if (words.includes("--csv")) throw new UsageError("--csv has to come before the command");
  if (csv !== "" && !csv.endsWith(".csv")) throw new UsageError("--csv needs a name: grades.csv");
  if (csv !== "" && first < 0) throw new UsageError("--csv needs an interpreter and servers");
  if (words.length === 0 && !given["--port"]) throw new UsageError("Name a command or a --port");
  const commands = words.slice(first).map((script) => [...words.slice(0, first), script]);
  return { port, silence, csv, commands: csv === "" ? [words] : commands };
}

function report({ name, verdict, done, expected, seen, fix }: Result): void {
  if (name === "says where") console.log("The lab asks for:");
  if (name === "reports leaving") console.log("\nBeyond the lab (not required):");
  if (verdict === "not tested") return console.log(`-     ${name}: not tested (${seen})`);
  console.log(`${verdict === "pass" ? "ok   " : "MISS "} ${name}: ${done}`);
  console.log(`        expected: ${expected}\n        seen:     ${seen}`);
  if (verdict === "miss") console.log(`        change:   ${fix}`);
}

/** How many checks of a part (of all, if it is "") have this verdict. */
const count = (results: Result[], part: string, verdict = "pass") =>
  results.filter((r) => r.part.includes(part) && r.verdict === verdict).length;
const totalOf = (part: string) => CHECKS.filter((check) => check[0] === part).length;

function summarize(results: Result[]): string {
  const score = (part: string) => `${part} ${count(results, part)}/${totalOf(part)}`;
  const missed = results.filter(({ verdict }) => verdict === "miss").map(({ name }) => name);
  const untested = count(results, "", "not tested");
  return `${score("lab")}, ${score("beyond")}, missed: ${missed.join(", ") || "nothing"}` +
    (untested > 0 ? `; not tested: ${untested}` : "");
}

/** A line of CSV (RFC 4180). A cell that a spreadsheet would take for a formula gets a quote. */
export function csvLine(cells: string[]): string {
  const safe = cells.map((cell) => cell.replace(/^[=+\-@\t\r]/, "'$&"));
  const quote = (cell: string) => `"${cell.replaceAll('"', '""')}"`;
  return safe.map((cell) => /[",\r\n]/.test(cell) ? quote(cell) : cell).join(",") + "\r\n";
}

/** Grades one server after the other; returns whether none has missed what the lab asks for. */
async function grade(words: string[]): Promise<boolean> {
  const { port, silence, csv, commands } = parse(words);
  const head = ["server", ...["lab", "beyond"].map((part) => `${part} (of ${totalOf(part)})`)];
  if (csv) await Deno.writeTextFile(csv, csvLine([...head, ...CHECKS.map(([_, name]) => name)]));
  const lines: string[] = [];
  let isPassed = true;
  for (const command of commands) {
    const results: Result[] = [];
    const absolute = command.map((word) => isFile(word) ? resolve(word) : word);
    for await (const result of new Grading(absolute, port, silence).run()) {
      results.push(result);
      if (!csv) report(result);
    }
    const isFine = ({ part, verdict }: Result) =>
      part === "beyond" || verdict === "pass" || command.length === 0 && verdict !== "miss";
    isPassed &&= results.every(isFine);
    lines.push(`${csv && `${escape(command.at(-1)!)}: `}${summarize(results)}`);
    if (!csv) continue;
    console.error(`${lines.length}/${commands.length} ${lines.at(-1)!.split(", missed")[0]}`);
    const scores = ["lab", "beyond"].map((part) => `${count(results, part)}`);
    const row = [command.at(-1)!, ...scores, ...results.map(cellOf)];
    await Deno.writeTextFile(csv, csvLine(row), { append: true });
  }
  console.log(`\n${lines.join("\n")}`);
  return isPassed;
}

if (import.meta.main) {
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals.slice(0, Deno.build.os === "windows" ? 1 : 3)) {
    Deno.addSignalListener(signal, () => {
      endRunning();
      Deno.exit(130);
    });
  }
  try {
    const isHelp = ["--help", "-h"].includes(Deno.args[0]);
    if (isHelp) console.log(HELP);
    Deno.exit(isHelp || await grade(Deno.args) ? 0 : 1);
  } catch (error) {
    endRunning();
    console.error(escape((error as Error).message));
    Deno.exit(error instanceof UsageError ? 2 : 1);
  }
}
