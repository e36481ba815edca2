/**
 * The checks of what is beyond the lab: a server that TCP's boundaries, strange names and restarts
 * do not confuse. They work as those of the lab do.
 *
 * @module
 */

import type { Client } from "../shared/client.ts";
import { ANSWER_MS, PIECE_MS, PRINT_MS, until } from "./limits.ts";
import { inTwo, lineOf, LONG_NAME, OTHER_SCRIPTS, type Request, request } from "./messages.ts";
import { Miss, NoServer, NotJudged } from "./outcome.ts";
import { quote, show } from "./show.ts";
import type { Trial } from "./trial.ts";
import { isSameLine } from "./words.ts";

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
export async function takesTwoPieces(trial: Trial): Promise<void> {
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
export async function takesTwoInOne(trial: Trial): Promise<void> {
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
export async function printsOtherScripts(trial: Trial): Promise<string> {
  return await mustPrint(trial, OTHER_SCRIPTS);
}

/** A name that makes the request as long as one may be. */
export async function printsLongName(trial: Trial): Promise<string> {
  return await mustPrint(trial, LONG_NAME);
}

/** A client that says nothing keeps the next one out for some seconds only. */
export async function endsSilence(trial: Trial): Promise<string> {
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
export async function resistsForgery(trial: Trial): Promise<void> {
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
export async function startsAgain(trial: Trial): Promise<void> {
  await trial.ask(await trial.greeted());
  await trial.restart();
  try {
    await trial.visit();
  } catch (error) {
    throw error instanceof NoServer ? new Miss(error.message) : error;
  }
}

/** ^C ends it. */
export async function stops(trial: Trial): Promise<string> {
  if (Deno.build.os === "windows") throw new NotJudged("Windows ends a process at once");
  await trial.visit();
  if (await trial.interrupt()) return "it ended";
  throw new Miss("it goes on running");
}
