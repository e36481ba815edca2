/**
 * The checks of what the lab asks for. Each begins with a server that was just started, and returns
 * what was seen, or nothing where it saw what was expected. It throws a {@linkcode Miss} else.
 *
 * @module
 */

import type { Client, Received } from "../shared/client.ts";
import {
  GARBAGE,
  inTwo,
  lineOf,
  NAME_WITHOUT_SID,
  request,
  WITHOUT_SID,
} from "./lab.ts";
import {
  ANSWER_MS,
  DYING_MS,
  GREETING_MS,
  NOTHING_MS,
  POLITE_MS,
  PRINT_MS,
  SETTLE_MS,
} from "./limits.ts";
import { Miss, NotJudged } from "./outcome.ts";
import { beginsAlike, withoutNumbers } from "./lines.ts";
import { describe, quote, show } from "./show.ts";
import type { Trial } from "./trial.ts";
import { delay, until } from "./until.ts";

/** A check: what it returns stands in the report as what was seen. */
export type Check = (trial: Trial, kind: string) => Promise<string | void>;

/** How a bad client behaves, by the name of the check. */
export const BAD_CLIENTS: Record<
  string,
  (trial: Trial, client: Client) => Promise<void>
> = {
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

/** The server says where it listens, in the lab's words, and lab clients reach it there. */
export async function saysWhere(trial: Trial): Promise<string> {
  await trial.connect();
  await until(
    () => trial.said() !== undefined || trial.server?.hasEnded === true,
    PRINT_MS,
  );
  const accepts =
    `it accepts at ${trial.address?.host}, port ${trial.address?.port}`;
  const said = trial.said();
  if (!said) {
    const other = trial.lines.find((line) => /listen/i.test(line)) ??
      trial.server?.allLines().at(0);
    const seen = other === undefined ? "it prints nothing" : quote(other);
    throw new Miss(
      `${seen}; ${accepts}${await onlyAtTheEnd(trial, /listen/i)}`,
    );
  }
  const isRight = /listening at \S+\/\d+$/i.test(said.line) &&
    said.port === trial.address?.port;
  const isLocal = ["127.0.0.1", "::1"].includes(trial.address?.host ?? "");
  if (isRight && isLocal) return quote(said.line);
  throw new Miss(
    `${quote(said.line)}; ${accepts}${isLocal ? "" : ", and not at 127.0.0.1"}`,
  );
}

/** The greeting comes at once, and has the client's port. */
export async function greets(trial: Trial): Promise<string> {
  const client = await trial.connect();
  const greeting = await client.receive(ANSWER_MS);
  if (!greeting) throw trial.nothing(client, "no greeting before the request");
  const seen = describe(greeting, client);
  const { clientid } = Object(greeting.value);
  if (show(clientid) === `${client.localPort}`) return seen;
  if (clientid === undefined) throw new Miss(seen);
  throw new Miss(`${seen}; the client's port is ${client.localPort}`);
}

/** The answer to a request is 1. This check alone judges what the answer is. */
export async function acknowledges(trial: Trial): Promise<string> {
  const client = await trial.connect();
  await client.receive(GREETING_MS);
  await trial.send(client, [request().bytes]);
  const answer = await trial.nextAnswer(client);
  if (!answer) throw trial.nothing(client, "no acknowledgement");
  const seen = describe(answer, client);
  if (show(answer.value) === "1" && client.pending.length === 0) return seen;
  throw new Miss(seen);
}

/** The line of a request, to the letter. */
export async function prints(trial: Trial): Promise<string> {
  const client = await trial.connect();
  const message = request();
  await client.receive(GREETING_MS);
  await trial.send(client, [message.bytes]);
  const line = lineOf(message);
  if (await trial.hasPrinted((printed) => printed === line, ANSWER_MS)) {
    return quote(line);
  }
  const lines = trial.server?.allLines() ?? [];
  const similar = lines.find((printed) => printed.includes(`${message.sid}`)) ??
    lines.find((printed) => /connected|student/i.test(printed));
  if (similar !== undefined) {
    throw new Miss(`${quote(similar)} instead of ${quote(line)}`);
  }
  throw new Miss(
    `no such line${await onlyAtTheEnd(trial, new RegExp(`${message.sid}`))}`,
  );
}

/** What to say if the words come when the server ends: it keeps them in a buffer until then. */
async function onlyAtTheEnd(trial: Trial, words: RegExp): Promise<string> {
  if (!trial.server || trial.server.hasEnded || Deno.build.os === "windows") {
    return "";
  }
  await trial.interrupt();
  const line = trial.server.allLines().find((printed) => words.test(printed));
  return line === undefined
    ? ""
    : `; ${quote(line)} came only when it ended: flush its output`;
}

/** One client: what starts and ends are compared with. */
export async function servesFirst(trial: Trial): Promise<void> {
  await trial.visit();
}

/** Two clients, one after the other. */
export async function servesNext(trial: Trial): Promise<void> {
  await trial.visit();
  await trial.visit();
}

/** While a client is served, another one that comes gets nothing. */
export async function servesOneAtATime(trial: Trial): Promise<string | void> {
  const first = await trial.connect();
  const greeting = await first.receive(GREETING_MS);
  if (!greeting) {
    await trial.send(first, [request().bytes]);
    if (!(await trial.nextAnswer(first))) {
      throw trial.nothing(first, "no answer");
    }
  }
  if (first.end !== "") {
    throw new NotJudged(`after its first answer ${first.end}`);
  }
  const second = await trial.connect();
  second.send(request().bytes);
  const hasAnything = () => second.pending.length > 0;
  const isServed = await second.until(hasAnything, NOTHING_MS);
  // It may be served since the server has just closed the first one: then this shows, too.
  if (isServed && !(await first.untilEnd(SETTLE_MS))) {
    throw new Miss(
      "the second client is served while the first one is: that is lab 4's answer",
    );
  }
}

/** A client that comes while another one is served is served after it. */
export async function servesTheWaiting(trial: Trial): Promise<void> {
  const first = await trial.connect();
  const second = await trial.connect();
  await trial.converse(first);
  await trial.leave(first);
  await trial.converse(second);
}

/** A bad client comes, and the next client is served. */
export async function survives(trial: Trial, kind: string): Promise<void> {
  await meetBadClient(trial, kind);
  await trial.visit();
}

async function meetBadClient(trial: Trial, kind: string): Promise<Client> {
  const client = await trial.connect();
  await client.receive(GREETING_MS);
  await BAD_CLIENTS[kind](trial, client);
  return client;
}

/** A dict without sid: the next client is served, and what is no request gets no acknowledgement. */
export async function refusesIncomplete(trial: Trial): Promise<void> {
  const client = await trial.connect();
  await client.receive(GREETING_MS);
  await trial.send(client, [WITHOUT_SID]);
  const answer = await trial.nextAnswer(client, POLITE_MS);
  await trial.leave(client);
  const next = await trial.visit();
  if (answer && isAcknowledgement(answer, next.answer)) {
    throw new Miss(`a dict without sid is acknowledged: ${show(answer.value)}`);
  }
  const line = trial.lines.find((printed) =>
    printed.includes(NAME_WITHOUT_SID)
  );
  await trial.hasPrinted(
    (printed) => printed.includes(`${next.request.sid}`),
    PRINT_MS,
  );
  const good = trial.lines.find((printed) =>
    printed.includes(`${next.request.sid}`)
  );
  if (
    line !== undefined && good !== undefined &&
    beginsAlike(line, good, next.request.name)
  ) {
    throw new Miss(`a line as if it had connected: ${quote(line)}`);
  }
}

/** Whether an answer says yes: it is 1, or of the kind that a good client gets from this server. */
function isAcknowledgement(
  answer: Received,
  good: Received | undefined,
): boolean {
  if (show(answer.value) === "1") return true;
  if (!good) return false;
  const keys = Object.keys(Object(answer.value));
  if (typeof answer.value !== "object") {
    return show(answer.value) === show(good.value);
  }
  return keys.length > 0 && keys.every((key) => key in Object(good.value));
}

/** The server says something about a bad client that good clients do not cause. */
export async function reports(trial: Trial, kind: string): Promise<string> {
  await orNotJudged(trial.visit(), "it serves no client");
  await orNotJudged(trial.visit(), "it serves no second client");
  await delay(SETTLE_MS);
  const usual = new Set(trial.lines.map(withoutNumbers));
  await meetBadClient(trial, kind);
  const isUnusual = (line: string) => !usual.has(withoutNumbers(line));
  const isHeard = await trial.hasPrinted(isUnusual, PRINT_MS);
  await orNotJudged(trial.visit(), "it did not survive such a client");
  if (!isHeard) throw new Miss("no words that good clients do not cause, too");
  return quote(trial.lines.find(isUnusual) ?? "");
}

/** What is no fault of this kind, but keeps it from being seen. */
async function orNotJudged(
  promise: Promise<unknown>,
  why: string,
): Promise<void> {
  try {
    await promise;
  } catch (error) {
    throw error instanceof Miss ? new NotJudged(why) : error;
  }
}
