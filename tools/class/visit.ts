/**
 * One client of the class: it visits a server, does as its kind says, and notes when what happened.
 *
 * @module
 */

import { encode } from "@std/msgpack";
import { Client, type Value } from "../shared/client.ts";
import { asPython, printable, shorten } from "../shared/text.ts";
import type { Kind } from "./kinds.ts";

/** What one client saw. All times are in ms since the run began, and missing if it did not happen. */
export interface Visit {
  /** The place in the order of arrival, from 1. */
  readonly number: number;
  /** What the client does. */
  readonly kind: Kind;
  /** When it began to connect. */
  arrivedAt: number;
  /** When its own kernel said that it is connected. */
  connectedAt?: number;
  /** When the server's greeting came. */
  greetedAt?: number;
  /** When it has sent its request, or what it sends instead. */
  requestedAt?: number;
  /** When the server's acknowledgement came. */
  acknowledgedAt?: number;
  /** When the connection has ended. */
  endedAt?: number;
  /** Its TCP port; 0 without a connection. */
  port: number;
  /** How it ended, in words; empty while it goes on. */
  end: string;
}

/** What all visits of a run have in common. */
export interface Setting {
  /** The server's address. */
  readonly host: string;
  /** The server's TCP port. */
  readonly port: number;
  /** When the run began: ms of `performance.now()`. */
  readonly startedAt: number;
  /** How long to stay after the acknowledgement, in ms; `undefined`: until the server closes. */
  readonly stayMs?: number;
  /** How long to wait for anything, in ms. */
  readonly limitMs: number;
  /** Takes each client when it is connected, so that it can be closed when the run is over. */
  readonly onConnect: (client: Client) => void;
}

/** A visit while it goes on. */
interface Session {
  readonly client: Client;
  readonly visit: Visit;
  readonly setting: Setting;
}

/** The end of a visit that was to go on; its message is how it ended. */
class Ended extends Error {
  constructor(how: string) {
    super(printable(how));
  }
}

const GARBAGE = Uint8Array.of(0xc1, 0xff, 0xc1, 0xff); // MessagePack never uses the byte c1
const MAX_VALUE_LENGTH = 60; // characters of a value that a server has sent, in a table

/** What each kind of client does once it is connected. */
const ACTIONS: Record<Kind, (session: Session) => Promise<void>> = {
  async good(session) {
    await takeGreeting(session);
    send(session, request(session.visit));
    await takeAcknowledgement(session);
    await stay(session);
  },
  async early(session) {
    send(session, request(session.visit));
    await takeGreeting(session);
    await takeAcknowledgement(session);
    await stay(session);
  },
  async half(session) {
    await takeGreeting(session);
    const whole = request(session.visit);
    send(session, whole.subarray(0, whole.length / 2));
    await takeEnd(session);
  },
  async garbage(session) {
    await takeGreeting(session);
    send(session, GARBAGE);
    await takeEnd(session);
  },
  async silent(session) {
    await takeGreeting(session);
    await takeEnd(session);
  },
  async reset(session) {
    await takeGreeting(session);
    send(session, request(session.visit));
    session.client.reset();
    throw new Ended("client reset");
  },
};

/** A client that has not arrived. */
export function newVisit(number: number, kind: Kind): Visit {
  return { number, kind, arrivedAt: 0, port: 0, end: "" };
}

/** Visits the server, and writes into `visit` when what happened. */
export async function makeVisit(visit: Visit, setting: Setting): Promise<void> {
  visit.arrivedAt = performance.now() - setting.startedAt;
  const client = await Client.connect(setting.host, setting.port, setting.limitMs)
    .catch((error: Error) => error);
  if (client instanceof Error) {
    visit.end = printable(`no connection: ${client.message}`);
    visit.endedAt = performance.now() - setting.startedAt;
    return;
  }
  setting.onConnect(client);
  visit.connectedAt = client.connectedAt - setting.startedAt;
  visit.port = client.localPort;
  await runSession({ client, visit, setting });
}

async function runSession(session: Session): Promise<void> {
  const { client, visit, setting } = session;
  try {
    await ACTIONS[visit.kind](session);
  } catch (error) {
    if (!(error instanceof Ended)) throw error;
    visit.end = error.message;
  }
  visit.endedAt = (client.endedAt ?? performance.now()) - setting.startedAt;
  client.close();
}

function request({ number }: Visit): Uint8Array {
  const student: Value = {
    student_name: `Student ${number}`,
    github_username: `student${number}`,
    sid: number,
  };
  return encode(student);
}

function send({ client, visit, setting }: Session, bytes: Uint8Array): void {
  client.send(bytes);
  visit.requestedAt = performance.now() - setting.startedAt;
}

async function takeGreeting(session: Session): Promise<void> {
  const { value, at } = await take(session);
  const id: unknown = Object(value).clientid;
  if (!isInteger(id)) throw new Ended(`not the lab's greeting: ${shown(value)}`);
  session.visit.greetedAt = at - session.setting.startedAt;
}

async function takeAcknowledgement(session: Session): Promise<void> {
  const { value, at } = await take(session);
  if (Number(value) !== 1) throw new Ended(`answered ${shown(value)} instead of 1`);
  session.visit.acknowledgedAt = at - session.setting.startedAt;
}

async function stay(session: Session): Promise<void> {
  const { stayMs } = session.setting;
  if (stayMs === undefined) await takeEnd(session);
  await session.client.untilEnd(stayMs ?? 0);
  throw new Ended(session.client.end === "" ? "client closed" : howItEnded(session.client));
}

/** Waits until the server has closed, or has sent an error: {@linkcode take} throws either. */
async function takeEnd(session: Session): Promise<never> {
  for (;;) await take(session);
}

/** The next value and when it came. Throws {@linkcode Ended} if there is none, or an error came. */
async function take(session: Session): Promise<{ value: unknown; at: number }> {
  const { client, visit, setting } = session;
  const received = await client.receive(setting.limitMs);
  if (!received) throw new Ended(howItEnded(client));
  const error: unknown = Object(received.value).error;
  if (typeof error !== "string") return received;
  const ended = new Ended(`error: ${error}`);
  visit.end = ended.message; // the server may stay for ever
  await client.untilEnd(setting.limitMs);
  throw ended;
}

function howItEnded(client: Client): string {
  if (client.end === "") return "nothing came";
  return client.end.startsWith("the server closed") ? "server closed" : client.end;
}

function isInteger(value: unknown): boolean {
  return typeof value === "bigint" || Number.isInteger(value);
}

/** A value in one line that is short enough for a table. */
function shown(value: unknown): string {
  return shorten(asPython(value), MAX_VALUE_LENGTH);
}
