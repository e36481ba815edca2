/**
 * What a class prints: a line of progress while it runs, then a table and a summary.
 *
 * @module
 */

import { seconds, waited } from "./numbers.ts";
import type { Run } from "./run.ts";
import type { Visit } from "./visit.ts";
import { summary } from "./words.ts";

const TERMINAL_MS = 200; // between two states of the line on a terminal
const LINES_MS = 5000; // between two lines where there is no terminal

/** How far the clients are, in one line. */
export function progressLine(visits: readonly Visit[], clients: number, ms: number): string {
  const open = visits.filter(({ endedAt }) => endedAt === undefined);
  const waiting = open.filter(({ greetedAt }) => greetedAt === undefined).length;
  const served = visits.filter(({ acknowledgedAt }) => acknowledgedAt !== undefined).length;
  const arrived = `${visits.length} of ${clients} arrived`;
  return `${(ms / 1000).toFixed(0)} s: ${arrived}, ${served} served, ${waiting} waiting, ` +
    `${open.length - waiting} with the server, ${visits.length - open.length} gone`;
}

/** Shows the progress on standard error until it is stopped; returns what stops it. */
export function showProgress(visits: readonly Visit[], clients: number): () => void {
  const startedAt = performance.now();
  const isTerminal = Deno.stderr.isTerminal();
  const show = () => {
    const line = progressLine(visits, clients, performance.now() - startedAt);
    write(isTerminal ? `\r\x1b[K${line}` : `${line}\n`);
  };
  const timer = setInterval(show, isTerminal ? TERMINAL_MS : LINES_MS);
  return () => {
    clearInterval(timer);
    show();
    if (isTerminal) write("\n");
  };
}

function write(text: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(text));
}

/** The table of a run, a line for each client, and its summary. */
export function report(run: Run): string {
  const head = ["client", "kind", "port", "waited", "served", "lingered", "end"];
  const table = columns([head, ...run.visits.map(cells)]);
  return [run.title, table, ...summary(run)].join("\n");
}

function cells(visit: Visit): string[] {
  const { greetedAt, acknowledgedAt, endedAt } = visit;
  return [
    `${visit.number}`,
    visit.kind,
    `${visit.port || ""}`,
    seconds(waited(visit)),
    seconds(between(greetedAt, acknowledgedAt ?? endedAt)),
    seconds(between(acknowledgedAt, endedAt)),
    visit.end,
  ];
}

function between(from: number | undefined, to: number | undefined): number | undefined {
  return from === undefined || to === undefined ? undefined : to - from;
}

/** The rows with each cell as wide as the widest one of its column. */
function columns(rows: string[][]): string {
  const widths = rows[0].map((_, index) => Math.max(...rows.map((row) => row[index].length)));
  const line = (row: string[]) => row.map((cell, index) => cell.padEnd(widths[index])).join("  ");
  return rows.map((row) => line(row).trimEnd()).join("\n");
}
