/**
 * The log of a server, as far as the ladder of a session needs it.
 *
 * @module
 */

import { printable } from "../shared/text.ts";

/** A line of the log, from `--log-level DEBUG --log-format json`. */
export interface LogRecord {
  /** When, in ms since 1970. */
  readonly time: number;
  /** What happened: `wire` for what went over the connection. */
  readonly event: string;
  /** The client's address. */
  readonly client: string;
  /** What happened, in words, without the client's address. */
  readonly message: string;
  /** `wire` only: accepted, recv, received, send or closed. */
  readonly step?: string;
  /** `wire` only: how many bytes. */
  readonly bytes?: number;
  /** `wire` only: the first bytes in hex. */
  readonly hex?: string;
  /** `wire` only: the value that the bytes mean, as text. */
  readonly value?: string;
  /** `wire` only: who closed, client or server. */
  readonly by?: string;
}

/** What a log holds. */
export interface Log {
  /** The records of clients, in the order of the lines. */
  readonly records: LogRecord[];
  /** The lines that are no records: of other programs, or torn. */
  readonly otherLines: string[];
}

/** Reads a log. In front of a record there may be what a container or a journal puts there. */
export function readLog(text: string): Log {
  const records: LogRecord[] = [];
  const otherLines: string[] = [];
  for (const line of text.split(/\r?\n/).filter((line) => line.trim() !== "")) {
    const found = parseLine(line.slice(Math.max(line.indexOf("{"), 0)));
    if (found === undefined) otherLines.push(line);
    else records.push(...recordsIn(found));
  }
  return { records, otherLines };
}

function parseLine(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The record that a line is; none if it is about the server itself. */
function recordsIn(found: unknown): LogRecord[] {
  const { time, event, client, message, step, bytes, hex, value, by } = Object(found);
  if (![event, client, message].every((text) => typeof text === "string")) return [];
  return [{
    time: Date.parse(time),
    event: printable(event),
    client: printable(client),
    message: printable(message.replace(`${client}: `, "")),
    step: asText(step),
    bytes: typeof bytes === "number" ? bytes : undefined,
    hex: asText(hex),
    value: asText(value),
    by: asText(by),
  }];
}

function asText(value: unknown): string | undefined {
  return typeof value === "string" ? printable(value) : undefined;
}

/** The addresses of the clients whose connections the log shows, in the order of their turns. */
export function clientsOf({ records }: Log): string[] {
  const wire = records.filter(({ step }) => step !== undefined);
  return [...new Set(wire.map(({ client }) => client))];
}

/** Whether a record says what the others do not: that a session is closed is in the wire, too. */
function isNews({ event, step }: LogRecord): boolean {
  return event === "wire" ? step !== undefined : event !== "closed";
}

/**
 * The records of one visit of this client: a port may come again in a long log, and then the first
 * visit counts.
 */
export function sessionOf({ records }: Log, client: string): LogRecord[] {
  const own = records.filter((record) => record.client === client && isNews(record));
  const next = own.findIndex(({ step }, index) => index > 0 && step === "accepted");
  return next < 0 ? own : own.slice(0, next);
}
