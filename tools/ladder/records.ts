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

/** The records of clients. Lines that are no JSON are left out: other programs print, too. */
export function parseLog(text: string): LogRecord[] {
  return text.split("\n").map(parseLine).filter((record) => record !== undefined);
}

function parseLine(line: string): LogRecord | undefined {
  let found: unknown;
  try {
    found = JSON.parse(line);
  } catch {
    return undefined;
  }
  const { time, event, client, message, step, bytes, hex, value, by } = Object(found);
  if (typeof event !== "string" || typeof client !== "string") return undefined;
  if (typeof message !== "string") return undefined;
  return {
    time: Date.parse(time),
    event: printable(event),
    client: printable(client),
    message: printable(message.replace(`${client}: `, "")),
    step: asText(step),
    bytes: typeof bytes === "number" ? bytes : undefined,
    hex: asText(hex),
    value: asText(value),
    by: asText(by),
  };
}

function asText(value: unknown): string | undefined {
  return typeof value === "string" ? printable(value) : undefined;
}

/** The addresses of the clients whose connections the log shows, in the order of their turns. */
export function clientsOf(records: LogRecord[]): string[] {
  const wire = records.filter(({ event }) => event === "wire");
  return [...new Set(wire.map(({ client }) => client))];
}

/** Whether a record is of the wire, or says something else than the one before it. */
function isNews({ event, step, message }: LogRecord, before?: LogRecord): boolean {
  return event === "wire" ? step !== undefined : message !== before?.message;
}

/**
 * The records of one visit of this client: a port may come again in a long log, and then the first
 * visit counts.
 */
export function sessionOf(records: LogRecord[], client: string): LogRecord[] {
  const own = records.filter((record) => record.client === client)
    .filter((record, index, all) => isNews(record, all[index - 1]));
  const next = own.findIndex(({ step }, index) => index > 0 && step === "accepted");
  return next < 0 ? own : own.slice(0, next);
}
