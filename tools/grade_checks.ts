/**
 * The checks of the grader, in one table at the end of this file, and the grading of one server.
 *
 * @module
 */

import { encode } from "@std/msgpack";
import {
  ANSWER_MS,
  type Client,
  clip,
  dump,
  Miss,
  MOMENT_MS,
  seconds,
  type Server,
  show,
  type Tail,
  Untested,
  WORDS_MS,
} from "./grade_server.ts";

/** ms for a whole check. */
export const CHECK_MS = 25_000;
/** ms for all checks of a server. */
export const RUN_MS = 60_000;
const CLOSE_MS = 1000; // for the server to close after a bad client

// ---------------------------------------------------------------------------- the grading --

const lineOf = (name: string, user: string, sid: number) =>
  `Connected: Student: ${name}, Github Username: ${user}, sid: ${sid}`;
const isNumber = (value: unknown, number?: number) =>
  (typeof value === "number" || typeof value === "bigint") && Number(value) === number;
/** What the lines of one kind have in common: all but ports, times, and other numbers. */
const shape = (line: string) => line.replaceAll(/[\da-f]*\d[\da-f]*/gi, "#");

/** What one check has found. */
export interface Result {
  /** The check. */
  check: Check;
  /** How it went. */
  verdict: "pass" | "miss" | "not tested";
  /** What was seen, or why it was not tested. */
  seen: string;
  /** What to change, after a miss. */
  fix: string;
}

/** What a student sends, and what is due for it. */
export interface LabRequest {
  /** The student id, which is in no other request. */
  sid: string;
  /** The request on the wire. */
  bytes: Uint8Array;
  /** The same, in two pieces. */
  pieces: Uint8Array[];
  /** What the server has to print. */
  line: string;
}

/** The grading of one server, and what its checks have found out for those after them. */
export class Grading {
  /** Whether the greeting comes before the request; if not, it is not waited for again. */
  greetsFirst = true;
  /** Whether the server prints the lab's line, to the letter. */
  prints = false;
  /** Whether it serves a second client after the first. */
  servesNext = false;
  /** What a good request is answered. */
  answer: unknown;
  /** Whether the console had something to say, by the name of the check. */
  readonly heard: Map<string, boolean> = new Map();
  #usual: Set<string> | undefined; // shapes of the lines that good clients cause
  #broken = ""; // why the server cannot be started
  #clients: Client[] = [];
  #patience: number | undefined; // ms, when the server does not close when a client has left
  #sid = 900_000_000;

  /** A grading of this server, with so many seconds for a silent client. */
  constructor(readonly server: Server, readonly silence: number) {}

  /** A request that nobody has sent before. */
  request(student_name: string = "Alice Brown"): LabRequest {
    const sid = this.#sid++;
    const bytes = encode({ student_name, github_username: "abrown", sid });
    const half = bytes.length >> 1;
    const pieces = [bytes.subarray(0, half), bytes.subarray(half)];
    return { sid: String(sid), bytes, pieces, line: lineOf(student_name, "abrown", sid) };
  }

  /** A client that is connected. */
  async connect(): Promise<Client> {
    const client = await this.server.connect();
    this.#clients.push(client);
    return client;
  }

  /** A client that has read its greeting. */
  async greeted(): Promise<Client> {
    const client = await this.connect();
    if (!this.greetsFirst || await client.receive()) return client;
    throw new Miss(`no greeting: ${client.silence}`);
  }

  /** Sends what makes one request or two, and returns the first answer. */
  async ask(client: Client, ...pieces: Uint8Array[]): Promise<unknown> {
    await client.send(...pieces);
    return await this.answerOf(client);
  }

  /** The next answer, which has to be the usual one. */
  async answerOf(client: Client): Promise<unknown> {
    let answer = await client.receive();
    const isGreeting = Object(answer?.value).clientid !== undefined;
    if (isGreeting && !this.greetsFirst) answer = await client.receive();
    if (answer === undefined) throw new Miss(`no answer: ${client.silence}`);
    if (this.answer === undefined || show(answer.value) === show(this.answer)) return answer.value;
    throw new Miss(`the answer ${show(answer.value)}`);
  }

  /** A good client's visit. */
  async visit({ bytes }: LabRequest = this.request()): Promise<unknown> {
    const client = await this.greeted();
    const answer = await this.ask(client, bytes);
    await this.#dismiss(client);
    return answer;
  }

  /** Makes all checks, and ends the server. */
  async *run(): AsyncGenerator<Result, void> {
    const deadline = performance.now() + RUN_MS;
    try {
      for (const check of CHECKS) yield await this.#make(check, deadline - performance.now());
    } finally {
      await this.server.end();
    }
  }

  async #make(check: Check, left: number): Promise<Result> {
    const result: Result = { check, verdict: "pass", seen: "", fix: "" };
    const marks = [this.server.out.mark, this.server.err.mark];
    try {
      this.#admit(check, left);
      if (!this.servesNext) await this.server.end(); // it may be about to end by itself
      await this.server.start().catch((error) => {
        this.#broken = error instanceof Miss ? "the server cannot be started" : error.message;
        throw error;
      });
      result.seen = await within(check.run(this), Math.min(left, CHECK_MS));
    } catch (error) {
      await this.#miss(result, error);
    }
    await this.#leave();
    if (result.verdict === "not tested") return result;
    if (this.servesNext && check.run !== stops) await this.#follow(result);
    if (check.provokes) this.heard.set(check.name, await this.#hasSpoken(marks));
    return result;
  }

  /** Throws why a check cannot be made, if so. */
  #admit(check: Check, left: number): void {
    if (this.#broken !== "") throw new Untested(this.#broken);
    if (left <= 0) throw new Untested(`the ${RUN_MS / 1000} s for all checks are over`);
    if (check.local && this.server.command.length === 0) {
      throw new Untested("the server was not started here");
    }
    const isEarly = CHECKS.indexOf(check) <= CHECKS.findIndex(({ run }) => run === acknowledges);
    if (!isEarly && this.answer === undefined) throw new Untested("no request is answered");
    if ((check.after || check.provokes) && !this.servesNext) {
      throw new Untested("no second client is served");
    }
    if (!check.provokes) return;
    // Some treat each client's end as an exception: what sounds like one counts as one.
    const isUsual = (line: string) => !/error|exception|traceback/i.test(line);
    const lines = [...this.server.out.lines(), ...this.server.err.lines()];
    this.#usual ??= new Set(lines.filter(isUsual).map(shape));
  }

  async #miss(result: Result, error: unknown): Promise<void> {
    const words = error instanceof Error ? error.message : String(error);
    result.verdict = error instanceof Untested ? "not tested" : "miss";
    result.seen = words;
    if (error instanceof Untested) return;
    const last = await this.server.lastWords();
    result.seen = [words, last].filter(Boolean).join("; ");
    result.fix = error instanceof Miss && error.fix || result.check.fix;
    if (last !== "" && this.answer === undefined) result.fix = ENDED_FIX;
  }

  /** The next good client: the server has survived the check if it is served. */
  async #follow(result: Result): Promise<void> {
    try {
      await within(this.visit(), CHECK_MS);
    } catch (error) {
      const text = `the next client: ${(error as Error).message}`;
      if (result.verdict === "pass") await this.#miss(result, new Miss(text));
      await this.server.end();
    }
    await this.#leave();
  }

  async #leave(): Promise<void> {
    for (const client of this.#clients.splice(0)) await this.#dismiss(client);
  }

  async #dismiss(client: Client): Promise<void> {
    const hasClosed = await client.leave(MOMENT_MS, this.#patience);
    if (!hasClosed) this.#patience = 0; // it would be so every time
  }

  /** Whether there are lines since the marks that good clients do not cause. */
  #hasSpoken([outMark, errMark]: number[]): Promise<boolean> {
    const { out, err } = this.server;
    const hasNews = (tail: Tail, mark: number) =>
      !tail.hasLost(mark) && tail.lines(mark).some((line) => !this.#usual?.has(shape(line)));
    return this.server.until(() => hasNews(out, outMark) || hasNews(err, errMark), WORDS_MS);
  }
}

async function within<T>(operation: T | Promise<T>, ms: number): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Miss(`not done within ${Math.round(ms / 1000)} s`)), ms);
  });
  return await Promise.race([operation, late]).finally(() => clearTimeout(timer));
}

// ----------------------------------------------------------------------------- the checks --

const PICKLE_FIX =
  "Speak MessagePack: `import pickle` as the lab does, or msgpack.packb and unpackb.";
const ENDED_FIX = "Keep the server running: the words at its end say why it did not.";
const SERVED = "the next was served"; // `#follow` finds out
const LEAVES = "leaves at once";

function saysWhere({ server: { said, out, err, port } }: Grading): string {
  if (said?.match(/^Listening at \S+\/(\d+)$/)?.[1] === String(port)) return clip(said);
  if (said !== undefined) throw new Miss(`${clip(said)}; it accepts at port ${port}`);
  const isMisplaced = err.lines().some((line) => line.startsWith("Listening at "));
  throw new Miss(isMisplaced ? "it is on standard error" : clip(out.lines()[0] ?? "nothing"));
}

async function greets(lab: Grading): Promise<string> {
  const client = await lab.connect();
  const greeting = await client.receive();
  const silence = `${client.silence} before the request`;
  lab.greetsFirst = greeting !== undefined;
  await lab.ask(client, lab.request().bytes).catch(() => {}); // to leave now is another check
  if (greeting === undefined) throw new Miss(silence);
  const { value, bytes } = greeting;
  const isPickle = bytes[0] === 0x80 && bytes[1] >= 2 && bytes[1] <= 5;
  if (isPickle) throw new Miss(`a Python pickle: ${dump(bytes)}`, PICKLE_FIX);
  const [id, port] = [Object(value).clientid, client.socket.localPort];
  if (isNumber(id, port)) return show(value);
  throw new Miss(id === undefined ? dump(bytes) : `${show(value)}; the client's port is ${port}`);
}

async function acknowledges(lab: Grading): Promise<string> {
  lab.answer = await lab.visit();
  if (isNumber(lab.answer, 1)) return "1";
  throw new Miss(show(lab.answer));
}

async function prints(lab: Grading): Promise<string> {
  lab.prints = true;
  return await printsLine(lab).catch((error) => {
    lab.prints = false; // other checks cannot expect it
    throw error;
  });
}

/** A visit, its answer, and its line if the server can print it. */
async function printsLine(lab: Grading, name?: string): Promise<string> {
  const { out, err } = lab.server;
  const [mark, errMark] = [out.mark, err.mark];
  const request = lab.request(name);
  let isThere = false;
  const look = () => isThere ||= out.lines(mark).includes(request.line);
  lab.server.until(look, ANSWER_MS); // from now on, as much else may be printed after it
  await lab.ask(await lab.greeted(), request.bytes);
  if (!lab.prints) return "the answer";
  if (await lab.server.until(look, WORDS_MS)) return clip(request.line);
  if (out.hasLost(mark)) throw new Miss("the server prints without end");
  if (err.lines(errMark).includes(request.line)) throw new Miss("it is on standard error");
  const lines = out.lines(mark);
  throw new Miss(
    clip(lines.find((line) => line.includes(request.sid)) ?? lines.at(-1) ?? "nothing"),
  );
}

async function servesNext(lab: Grading): Promise<string> {
  await lab.visit();
  await lab.visit();
  lab.servesNext = true;
  return "two clients were answered";
}

async function servesWaiting(lab: Grading): Promise<string> {
  const first = await lab.greeted();
  const second = await lab.connect();
  await lab.ask(first, lab.request().bytes);
  await first.leave();
  if (lab.greetsFirst && !(await second.receive())) {
    throw new Miss(`no greeting for the second: ${second.silence}`);
  }
  await lab.ask(second, lab.request().bytes);
  return "both were answered";
}

async function leavesAtOnce(lab: Grading): Promise<string> {
  await (await lab.connect()).leave(0, CLOSE_MS);
  return SERVED;
}

/** A greeted client that sends this, and leaves. */
async function sends(lab: Grading, bytes: Uint8Array): Promise<string> {
  const client = await lab.greeted();
  await client.send(bytes);
  await client.leave(MOMENT_MS, CLOSE_MS);
  return SERVED;
}

const leavesInTheMiddle = (lab: Grading) => sends(lab, lab.request().pieces[0]);
const sendsGarbage = (lab: Grading) => sends(lab, new Uint8Array([0xc1, 0xff, 0, 0xc1, 7, 0xc1]));
const forgetsKey = (lab: Grading) =>
  sends(lab, encode({ student_name: "Alice Brown", github_username: "abrown" }));

async function resets(lab: Grading): Promise<string> {
  (await lab.greeted()).reset();
  const client = await lab.greeted();
  await client.send(lab.request().pieces[0]);
  client.reset();
  return SERVED;
}

function speaks({ heard, server }: Grading): string {
  const names = [...heard.keys()].filter((name) => name !== LEAVES);
  if (names.length === 0) throw new Untested("none of these could be tested");
  const silent = names.filter((name) => !heard.get(name));
  if (silent.length === 0) return "something about each";
  const flood = server.out.hasLost(0) || server.err.hasLost(0) ? " (but much else)" : "";
  throw new Miss(`nothing${flood} about: ${silent.join(", ")}`);
}

function speaksOfLeaving({ heard }: Grading): string {
  if (!heard.has(LEAVES)) throw new Untested("this could not be tested");
  if (heard.get(LEAVES)) return "something about it";
  throw new Miss("nothing");
}

const takesPieces = async (lab: Grading) =>
  show(await lab.ask(await lab.greeted(), ...lab.request().pieces));

async function takesTwo(lab: Grading): Promise<string> {
  const client = await lab.greeted();
  await lab.ask(client, new Uint8Array([...lab.request().bytes, ...lab.request().bytes]));
  const answer = await lab.answerOf(client).catch(({ message }) => {
    throw new Miss(`one answer, then ${message}`);
  });
  return `${show(lab.answer)} and ${show(answer)}`;
}

async function isPatient(lab: Grading): Promise<string> {
  await lab.greeted();
  const second = await lab.connect();
  const since = performance.now();
  await second.send(lab.request().bytes);
  const answer = await second.receive(lab.silence * 1000);
  if (answer !== undefined) return `the other was served after ${seconds(since)}`;
  throw new Miss(second.end || `it was not served within ${lab.silence} s`);
}

async function resistsForgery(lab: Grading): Promise<string> {
  const { out } = lab.server;
  const mark = out.mark;
  const forged = lineOf("Mallory", "mallory", 1);
  const client = await lab.greeted();
  await lab.ask(client, lab.request(`Eve\n${forged}\n`).bytes).catch(() => {});
  await client.leave();
  const next = lab.request();
  await lab.visit(next);
  const find = (text: string) => out.lines(mark).find((line) => line.includes(text));
  await lab.server.until(() => find(next.sid) !== undefined, WORDS_MS); // and what was before it
  if (out.hasLost(mark)) throw new Untested("the server prints without end");
  const line = out.lines(mark).find((line) => line.startsWith(forged.slice(0, 27)));
  if (line !== undefined) throw new Miss(`the line ${clip(line)}`);
  return "no such line";
}

async function startsAgain(lab: Grading): Promise<string> {
  const { server } = lab;
  const { port } = server;
  const client = await lab.greeted();
  await lab.ask(client, lab.request().bytes);
  await server.end(); // its connection to the client keeps the port
  await client.until(() => client.end !== "", CLOSE_MS);
  const since = performance.now();
  await server.start().catch(({ message }) => {
    throw new Miss(message);
  });
  if (server.port === port) return `it accepted again after ${seconds(since)}`;
  throw new Untested(`the server took another port, ${server.port}`);
}

async function stops(lab: Grading): Promise<string> {
  await lab.visit();
  const since = performance.now();
  lab.server.signal("SIGINT");
  const hasEnded = await lab.server.until(() => lab.server.hasEnded, ANSWER_MS);
  if (hasEnded) return `it ended after ${seconds(since)}`;
  throw new Miss(`it still ran after ${ANSWER_MS / 1000} s`);
}

const NEXT = "the next client is served";

/** One check. */
export interface Check {
  /** A column of the CSV file. */
  name: string;
  /** Whether the lab asks for it. */
  required: boolean;
  /** Whether it takes a server that was started here. */
  local?: boolean;
  /** Whether it takes a server that serves a second client. */
  after?: boolean;
  /** The same, and the console should have something to say about the first. */
  provokes?: boolean;
  /** Returns what was seen, or throws a Miss or Untested. */
  run: (lab: Grading) => string | Promise<string>;
  /** What is done. */
  done: string;
  /** What the lab expects, or what would be good. */
  expected: string;
  /** What to change on a miss. */
  fix: string;
}

/** All checks, in their order. */
// deno-fmt-ignore
export const CHECKS: Check[] = [
  { name: "says where", required: true, local: true, run: saysWhere,
    done: "The server is started", expected: "Listening at HOST/PORT on standard output",
    fix: 'After listen: print(f"Listening at {host}/{port}"), with the real port, no more.' },
  { name: "greets", required: true, run: greets,
    done: "A client connects and waits", expected: '{"clientid": its port} at once',
    fix: 'Send {"clientid": address[1]} right after accept, before the first recv.' },
  { name: "acknowledges", required: true, run: acknowledges,
    done: "It sends name, user name and sid", expected: "1",
    fix: "Send the integer 1 when the request is printed, in the same encoding as the greeting." },
  { name: "prints", required: true, local: true, run: prints,
    done: "The same",
    expected: "Connected: Student: Alice Brown, Github Username: abrown, sid: ...",
    fix: "Print this line to standard output, to the letter, before the acknowledgement is sent." },
  { name: "serves the next", required: true, run: servesNext,
    done: "Two clients, one after the other", expected: NEXT,
    fix: "Put accept and all that follows in a loop that ends with the server only." },
  { name: "two at once", required: true, after: true, run: servesWaiting,
    done: "A second client connects while the first is served",
    expected: "the second is served when the first is gone",
    fix: "Call listen once, before the loop, with a backlog of 10; close clients only." },
  { name: LEAVES, required: true, provokes: true, run: leavesAtOnce,
    done: "A client connects and leaves", expected: NEXT,
    fix: "When recv returns no bytes the client is gone: close its socket, go on with accept." },
  { name: "leaves in the middle", required: true, provokes: true, run: leavesInTheMiddle,
    done: "A client sends half a request and leaves", expected: NEXT,
    fix: "Catch what the decoder raises, and stop reading when recv returns no bytes." },
  { name: "resets", required: true, provokes: true, run: resets,
    done: "A client breaks the connection (reset)", expected: NEXT,
    fix: "Catch OSError (ConnectionResetError is one) around recv and send; go on with accept." },
  { name: "garbage", required: true, provokes: true, run: sendsGarbage,
    done: "A client sends bytes that are no MessagePack", expected: NEXT,
    fix: "Catch what the decoder raises, close this client's socket, go on with accept." },
  { name: "missing key", required: true, provokes: true, run: forgetsKey,
    done: "A client sends a dict without sid", expected: NEXT,
    fix: "Catch KeyError (or test for the key), tell the client or close, go on with accept." },
  { name: "reports exceptions", required: true, local: true, run: speaks,
    done: "The last four again: what does the console say?", expected: "something about each",
    fix: "In each except, print what has happened and to which client; never only pass." },
  { name: "reports leaving", required: false, local: true, run: speaksOfLeaving,
    done: "A client has left at once: what does the console say?", expected: "something about it",
    fix: "Print a line when a client leaves without a request: nobody would know of it." },
  { name: "two pieces", required: false, run: takesPieces,
    done: "A request arrives in two pieces", expected: "the same answer",
    fix: "Collect what recv brings until it is a whole value (msgpack.Unpacker does so)." },
  { name: "two in one", required: false, run: takesTwo,
    done: "Two requests arrive in one piece", expected: "two answers",
    fix: "Answer every value in what recv brought (msgpack.Unpacker finds them), keep the rest." },
  { name: "other script", required: false, run: (lab) => printsLine(lab, "Zoë 李小龙 Ωμέγα"),
    done: "A name in other scripts", expected: "the same answer, and the line with this name",
    fix: "Keep text as str, and print it as UTF-8." },
  { name: "long name", required: false, run: (lab) => printsLine(lab, "Anna".repeat(975)),
    done: "A name of 3900 bytes", expected: "the same answer, and the line with this name",
    fix: "Read up to 4096 bytes, and go on reading until the value is whole." },
  { name: "silent client", required: false, after: true, run: isPatient,
    done: "A client stays silent, another waits", expected: "the other is served before long",
    fix: "Give the client's socket a time limit: conn.settimeout(5), and catch TimeoutError." },
  { name: "forged line", required: false, local: true, after: true, run: resistsForgery,
    done: "A name has a line break and a second line in it",
    expected: "no line that the client made up",
    fix: "Print names with their control characters escaped, or refuse such names." },
  { name: "starts again", required: false, local: true, run: startsAgain,
    done: "The server is ended with a client connected, and started again",
    expected: "it accepts at the same port",
    fix: "Before bind: setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)." },
  { name: "^C", required: false, local: true, run: stops,
    done: "^C is pressed (SIGINT)", expected: "the server ends",
    fix: "Do not catch KeyboardInterrupt: write `except Exception`, not a bare `except`." },
];
