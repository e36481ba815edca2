/**
 * The checks. Each begins with a server that was just started, and returns what was seen, or nothing
 * where it saw what was expected. It throws a {@linkcode Miss} else.
 *
 * @module
 */

import type { Client, Received } from "../shared/client.ts";
import {
  ANSWER_MS,
  delay,
  DYING_MS,
  GREETING_MS,
  NOTHING_MS,
  PIECE_MS,
  POLITE_MS,
  PRINT_MS,
  SETTLE_MS,
  until,
} from "./limits.ts";
import {
  GARBAGE,
  inTwo,
  lineOf,
  LONG_NAME,
  NAME_WITHOUT_SID,
  OTHER_SCRIPTS,
  type Request,
  request,
  WITHOUT_SID,
} from "./messages.ts";
import { Miss, NoServer, NotJudged } from "./outcome.ts";
import { describe, quote, show } from "./show.ts";
import type { Trial } from "./trial.ts";
import { isSameLine, kindOf } from "./words.ts";

/** A check: what it returns stands in the report as what was seen. */
type Check = (trial: Trial, kind: string) => Promise<string | void>;

/** How a bad client behaves, by the name of the check. */
const BAD_CLIENTS: Record<string, (trial: Trial, client: Client) => Promise<void>> = {
  "leaves at once": (trial, client) => trial.leave(client),
  "leaves in the middle": async (trial, client) => {
    await trial.send(client, [inTwo(request().bytes)[0]]);
    await trial.leave(client);
  },
  "resets": (_, client) => Promise.resolve(client.reset()),
  "garbage": async (trial, client) => {
    await trial.send(client, [GARBAGE]);
    await client.untilEnd(DYING_MS);
    await trial.leave(client);
  },
  "missing key": async (trial, client) => {
    await trial.send(client, [WITHOUT_SID]);
    await client.untilEnd(DYING_MS);
    await trial.leave(client);
  },
};

// --------------------------------------------------------------------------- the first client --

/** The server says where it listens, in the lab's words, and clients reach it there. */
async function saysWhere(trial: Trial): Promise<string> {
  await trial.connect();
  await until(() => trial.said() !== undefined || trial.server?.hasEnded === true, PRINT_MS);
  const said = trial.said();
  const { host = "", port = 0 } = trial.address ?? {};
  const accepts = `it accepts at ${host}, port ${port}`;
  if (!said) {
    const other = trial.lines.find((line) => /listen/i.test(line)) ??
      trial.server?.allLines().at(0);
    const seen = other === undefined ? "it prints nothing" : quote(other);
    await noteLateLine(trial, /listening (?:at|on)\b.*\d/i);
    throw new Miss(`${seen}; ${accepts}`);
  }
  trial.note = noteOn(said.host === USUAL_HOST ? host : said.host, port, trial.setting.port);
  if (/listening at \S+\/\d+$/i.test(said.line) && said.port === port) return quote(said.line);
  throw new Miss(`${quote(said.line)}; ${accepts}`);
}

/** Where every client of the lab looks for the server. */
const USUAL_HOST = "127.0.0.1";

/** What clients of the lab expect, where this server is elsewhere; it costs no points. */
function noteOn(host: string, port: number, usual: number): string {
  const others: string[] = [];
  if (port !== usual) others.push(`port ${usual}, and not to ${port}`);
  if (host === "0.0.0.0") others.push(`${USUAL_HOST}; 0.0.0.0 lets every machine in`);
  else if (host !== USUAL_HOST) others.push(`${USUAL_HOST}, and not to ${host}`);
  return others.length === 0 ? "" : `clients of the lab come to ${others.join(", and to ")}`;
}

/** The greeting comes at once, and has the client's port. */
async function greets(trial: Trial): Promise<string> {
  const client = await trial.connect();
  const greeting = await client.receive(ANSWER_MS);
  if (greeting || client.pending.length > 0) trial.met.add("greets");
  const nothing = trial.nothing(client, "no greeting before the request");
  const seen = greeting ? describe(greeting, client) : "";
  const { localPort } = client;
  await goOn(trial, client);
  if (!greeting) throw nothing;
  const { clientid } = Object(greeting.value);
  if (show(clientid) === `${localPort}`) return seen;
  if (clientid === undefined) throw new Miss(seen);
  throw new Miss(`${seen}; the client's port is ${localPort}`);
}

/** The rest of an ordinary visit: so a client does what good ones do, though its check is over. */
async function goOn(trial: Trial, client: Client): Promise<void> {
  await trial.send(client, [request().bytes]);
  await client.until(() => client.pending.length > 0 || client.end !== "", POLITE_MS);
  await trial.leave(client);
}

/** The answer to a request is 1. This check alone judges what the answer is. */
async function acknowledges(trial: Trial): Promise<string> {
  const client = await trial.connect();
  const answer = await isGreeted(trial, client)
    ? await askOnce(trial, client)
    : await askUngreeted(trial, client);
  if (!answer) throw trial.nothing(client, "no acknowledgement");
  const seen = describe(answer, client);
  if (show(answer.value) === "1" && client.pending.length === 0) return seen;
  throw new Miss(seen);
}

/** Whether a greeting comes. These checks go on without one: another check judges the greeting. */
async function isGreeted(trial: Trial, client: Client, ms = GREETING_MS): Promise<boolean> {
  try {
    await trial.greeting(client, ms);
    return true;
  } catch (error) {
    if (error instanceof Miss) return false;
    throw error;
  }
}

/** The answer to a request. Where no line shows that it is one, a silent client must get none. */
async function askOnce(trial: Trial, client: Client): Promise<Received | undefined> {
  const begin = performance.now();
  const message = request();
  try {
    const visit = await trial.ask(client, message);
    const answer = visit.answer ?? await client.receive(ANSWER_MS);
    const ms = performance.now() - begin;
    const isShown = trial.server && await until(() => trial.hasLineFor(message), PRINT_MS);
    if (answer && !isShown) await mustNotComeUnasked(trial, client, ms + POLITE_MS);
    return answer;
  } catch (error) {
    throw error instanceof Miss ? new Miss(`no acknowledgement: ${error.message}`) : error;
  }
}

/** A client that sends nothing must not get what looked like an answer in the same time. */
async function mustNotComeUnasked(trial: Trial, asking: Client, ms: number): Promise<void> {
  await trial.leave(asking);
  const silent = await trial.connect();
  if (!await isGreeted(trial, silent, 2 * ANSWER_MS)) return;
  const isUnasked = await trial.bringsUnasked(silent, ms);
  await goOn(trial, silent);
  if (!isUnasked) return;
  trial.met.delete("acknowledges");
  throw new Miss("what comes comes without a request, too");
}

/** The answer of a server that has not greeted; the greeting may come first, late. */
async function askUngreeted(trial: Trial, client: Client): Promise<Received | undefined> {
  await trial.send(client, [request().bytes]);
  const first = await client.receive(ANSWER_MS);
  const isLate = Object(first?.value).clientid !== undefined;
  return isLate ? await client.receive(ANSWER_MS) : first;
}

/** The line of a request, to the letter. */
async function prints(trial: Trial): Promise<string> {
  const client = await trial.connect();
  const message = request();
  const hasGreeting = await isGreeted(trial, client);
  await trial.send(client, [message.bytes]);
  const line = lineOf(message);
  const isRight = () => trial.lines.includes(line);
  await until(() => isRight() || trial.hasLineFor(message), ANSWER_MS);
  if (trial.hasLineFor(message) && hasGreeting) trial.met.add("acknowledges");
  if (await until(isRight, DYING_MS)) return quote(line);
  const lines = trial.server?.allLines() ?? [];
  const similar = lines.find((printed) => printed.includes(`${message.sid}`)) ??
    lines.find((printed) => /connected|student/i.test(printed));
  if (similar !== undefined) throw new Miss(`${quote(similar)} instead of ${quote(line)}`);
  await noteLateLine(trial, new RegExp(`${message.sid}`));
  throw new Miss("no such line");
}

/** A note if the words come only when the server ends: it keeps them in a buffer until then. */
async function noteLateLine(trial: Trial, words: RegExp): Promise<void> {
  if (!trial.server || trial.server.hasEnded) return;
  const before = trial.server.allLines().length;
  await trial.interrupt();
  const late = trial.server.allLines().slice(before).find((line) => words.test(line));
  if (late !== undefined) trial.note = `${quote(late)} came only when it ended: flush its output`;
}

// -------------------------------------------------------------------------- one after another --

/** Two clients, one after the other. */
async function servesNext(trial: Trial): Promise<void> {
  await trial.visit();
  await trial.visit();
}

/** While a client is served, another one that comes gets nothing. */
async function servesOneAtATime(trial: Trial): Promise<void> {
  const first = await trial.greeted();
  const second = await trial.connect();
  second.send(request().bytes);
  const hasAnything = () => second.pending.length > 0;
  const isServed = await second.until(hasAnything, NOTHING_MS);
  // It may be served since the server has just closed the first one: then this shows, too.
  if (isServed && !(await first.untilEnd(SETTLE_MS))) {
    throw new Miss("the second client is served while the first one is");
  }
  await goOn(trial, first);
  await second.until(() => hasAnything() || second.end !== "", ANSWER_MS);
  await trial.leave(second);
}

/** A client that comes while another one is served is served after it. */
async function servesTheWaiting(trial: Trial): Promise<void> {
  const first = await trial.connect();
  const second = await trial.connect();
  for (const client of [first, second]) {
    await trial.greeting(client, ANSWER_MS);
    await trial.ask(client);
    await trial.leave(client);
  }
}

// -------------------------------------------------------------------------------- bad clients --

/** A bad client comes, and the next client is served. */
async function survives(trial: Trial, kind: string): Promise<void> {
  await meetBadClient(trial, kind);
  await trial.visit();
}

async function meetBadClient(trial: Trial, kind: string): Promise<void> {
  const client = await trial.connect();
  await client.receive(GREETING_MS);
  await BAD_CLIENTS[kind](trial, client);
}

/** A dict without sid: the next client is served, and what is no request gets no acknowledgement. */
async function refusesIncomplete(trial: Trial): Promise<void> {
  const client = await trial.connect();
  await client.receive(GREETING_MS);
  await trial.send(client, [WITHOUT_SID]);
  const answer = await client.receive(POLITE_MS);
  await trial.leave(client);
  const next = await trial.visit();
  if (answer && isAcknowledgement(answer, next.answer)) {
    throw new Miss(`a dict without sid is acknowledged: ${show(answer.value)}`);
  }
  const ofNext = (line: string) => line.includes(`${next.request.sid}`);
  await trial.hasPrinted(ofNext, PRINT_MS);
  const good = trial.lines.find(ofNext) ?? "";
  const line = trial.lines.find((printed) => {
    return isSameLine(printed, NAME_WITHOUT_SID, good, next.request.name) &&
      printed.includes(NAME_WITHOUT_SID);
  });
  if (line !== undefined) throw new Miss(`a line as if it had connected: ${quote(line)}`);
}

/** Whether an answer says yes: it is 1, or of the kind that a good client gets from this server. */
function isAcknowledgement(answer: Received, good: Received | undefined): boolean {
  if (show(answer.value) === "1") return true;
  if (!good) return false;
  const keys = Object.keys(Object(answer.value));
  if (typeof answer.value !== "object") return show(answer.value) === show(good.value);
  return keys.length > 0 && keys.every((key) => key in Object(good.value));
}

/**
 * The server says something about a bad client that good clients do not cause, and goes on. The line
 * of a good client with another name says nothing.
 */
async function reports(trial: Trial, kind: string): Promise<string> {
  const { request: good } = await trial.visit();
  await trial.visit();
  await delay(SETTLE_MS);
  const usual = new Set(trial.lines.map(kindOf));
  const goodLine = trial.lines.find((line) => line.includes(`${good.sid}`)) ?? "";
  const isReport = (line: string) =>
    !usual.has(kindOf(line)) && !isSameLine(line, NAME_WITHOUT_SID, goodLine, good.name);
  await meetBadClient(trial, kind);
  const isHeard = await trial.hasPrinted(isReport, PRINT_MS);
  await mustGoOn(trial, kind);
  if (!isHeard) throw new Miss("no words that good clients do not cause, too");
  return quote(trial.lines.find(isReport) ?? "");
}

/** What ends the server is the fault that another check judges. */
async function mustGoOn(trial: Trial, kind: string): Promise<void> {
  try {
    await trial.visit();
  } catch (error) {
    if (!(error instanceof Miss)) throw error;
    throw new NotJudged(`it builds on "${kind}": the next client is not served after such a one`);
  }
}

// ------------------------------------------------------------------------------ beyond the lab --

/**
 * Waits until the server has taken the requests that a client has sent: it answers each of them, or,
 * if it never acknowledges, it prints a line for each.
 */
async function untilTaken(trial: Trial, client: Client, requests: Request[]): Promise<void> {
  let answers = 0;
  while (answers < requests.length) {
    const answer = await client.receive(answers === 0 ? ANSWER_MS : PRINT_MS);
    if (!answer) break;
    if (Object(answer.value).error !== undefined) throw new Miss(show(answer.value));
    answers += 1;
  }
  if (answers === requests.length) return;
  if (answers > 0) throw new Miss(`${answers} of ${requests.length} answers`);
  if (!(await until(() => requests.every((message) => trial.hasLineFor(message)), PRINT_MS))) {
    throw trial.nothing(client, "no answer");
  }
}

/** A request that comes in two pieces is one request, and no answer comes before it is whole. */
async function takesTwoPieces(trial: Trial): Promise<void> {
  const client = await trial.greeted();
  const message = request();
  const [first, second] = inTwo(message.bytes);
  await trial.send(client, [first]);
  const early = await client.receive(PIECE_MS);
  if (early) throw new Miss(`${show(early.value)} before the second piece`);
  client.send(second);
  await untilTaken(trial, client, [message]);
}

/** Two requests that come together are two requests. */
async function takesTwoInOne(trial: Trial): Promise<void> {
  const client = await trial.greeted();
  const both = [request(), request()];
  const bytes = new Uint8Array(both.flatMap((message) => [...message.bytes]));
  await trial.send(client, [bytes]);
  await untilTaken(trial, client, both);
}

const ORDINARY_NAME = "Alice Brown";

/**
 * A line with this name as it is, whatever else the line has: `prints` judges that. It must be a line
 * as a good client's is, where there is one.
 */
async function mustPrint(trial: Trial, name: string): Promise<string> {
  const message = request(name);
  await trial.visit(message);
  const ofThis = (line: string) => line.includes(`${message.sid}`);
  await trial.hasPrinted((line) => ofThis(line) && line.includes(name), PRINT_MS);
  const line = trial.server?.allLines().find(ofThis);
  if (line === undefined) throw new Miss("no line for this request");
  const good = await ordinaryLine(trial);
  const isSame = good === "" || isSameLine(line, name, good, ORDINARY_NAME);
  if (line.includes(name) && isSame) return "a line with this name";
  throw new Miss(quote(line));
}

/** The line for a good client, or nothing if there is none. */
async function ordinaryLine(trial: Trial): Promise<string> {
  const message = request(ORDINARY_NAME);
  try {
    await trial.visit(message);
  } catch (error) {
    if (error instanceof Miss) return ""; // it may serve one client only
    throw error;
  }
  const ofThis = (line: string) => line.includes(`${message.sid}`);
  await trial.hasPrinted(ofThis, PRINT_MS);
  return trial.lines.find(ofThis) ?? "";
}

/** A name in three scripts. */
async function printsOtherScripts(trial: Trial): Promise<string> {
  return await mustPrint(trial, OTHER_SCRIPTS);
}

/** A name that makes the request as long as one may be. */
async function printsLongName(trial: Trial): Promise<string> {
  return await mustPrint(trial, LONG_NAME);
}

/** A client that says nothing keeps the next one out for some seconds only. */
async function endsSilence(trial: Trial): Promise<string> {
  await trial.connect();
  const other = await trial.connect();
  const begin = performance.now();
  const { silence } = trial.setting;
  const isHeard = () => other.pending.length > 0 || other.end !== "";
  if (!(await other.until(isHeard, silence * 1000))) {
    throw new Miss(`it was not served within ${silence} s`);
  }
  const seconds = ((performance.now() - begin) / 1000).toFixed(1);
  await trial.greeting(other, 0);
  await trial.ask(other);
  return `it was served after ${seconds} s`;
}

/** A name with a line break in it makes no second line. */
async function resistsForgery(trial: Trial): Promise<void> {
  const forged = lineOf({ name: "Mallory", user: "mallory", sid: 1 });
  await trial.visit(request(`Eve\n${forged}\n`)).catch((error) => {
    if (!(error instanceof Miss)) throw error; // it may well refuse such a name
  });
  const { request: { sid } } = await trial.visit();
  const isSeen = await trial.hasPrinted((line) => line.includes(`${sid}`), PRINT_MS);
  if (trial.lines.some((line) => line.startsWith(forged))) throw new Miss(quote(forged));
  if (!isSeen) throw new NotJudged('it builds on "prints": a good client has no line, either');
}

/** It ends with a client connected, and another one is started at once, at the same port. */
async function startsAgain(trial: Trial): Promise<void> {
  await trial.ask(await trial.greeted());
  await trial.restart();
  try {
    await trial.visit();
  } catch (error) {
    throw error instanceof NoServer ? new Miss(error.message) : error;
  }
}

/** ^C ends it. */
async function stops(trial: Trial): Promise<string> {
  if (Deno.build.os === "windows") throw new NotJudged("Windows ends a process at once");
  await trial.visit();
  if (await trial.interrupt()) return "it ended";
  throw new Miss("it goes on running");
}

// ------------------------------------------------------------------------------------- by name --

/** What each check does. It is told the kind of client, and says what was seen if that is not obvious. */
export const RUNS: Record<string, Check> = {
  "says where": saysWhere,
  greets: greets,
  acknowledges: acknowledges,
  prints: prints,
  "serves the next": servesNext,
  "one at a time": servesOneAtATime,
  "two at once": servesTheWaiting,
  "leaves at once": survives,
  "leaves in the middle": survives,
  resets: survives,
  garbage: survives,
  "missing key": refusesIncomplete,
  "reports exceptions": reports,
  "reports leaving": reports,
  "two pieces": takesTwoPieces,
  "two in one": takesTwoInOne,
  "other script": printsOtherScripts,
  "long name": printsLongName,
  "silent client": endsSilence,
  "forged line": resistsForgery,
  "starts again": startsAgain,
  "^C": stops,
};
