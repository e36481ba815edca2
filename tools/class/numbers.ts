/**
 * What the times of the clients mean: the table's numbers and the picture's data.
 *
 * @module
 */

import type { Run } from "./run.ts";
import { isGood, type Visit } from "./visit.ts";

/** What a client does, or what is done to it, for a part of its visit. */
export type Phase = "connecting" | "waiting" | "served" | "lingering";

/** A part of a visit; the times are in ms since the run began. */
export interface Stretch {
  /** What this part is. */
  readonly phase: Phase;
  /** Its begin. */
  readonly from: number;
  /** Its end. */
  readonly to: number;
}

/** The parts of a visit, in the order of time. */
export function stretches(visit: Visit, run: Run): Stretch[] {
  const end = visit.endedAt ?? run.ms;
  const connected = visit.connectedAt ?? end;
  const greeted = visit.greetedAt ?? end;
  const acknowledged = visit.acknowledgedAt ?? end;
  const all: Stretch[] = [
    { phase: "connecting", from: visit.arrivedAt, to: connected },
    { phase: "waiting", from: connected, to: greeted },
    { phase: "served", from: greeted, to: acknowledged },
    { phase: "lingering", from: acknowledged, to: end },
  ];
  return all.filter(({ from, to }) => to > from);
}

/** How long a client waited for its greeting, in ms; `undefined` if there was none. */
export function waited({ arrivedAt, greetedAt }: Visit): number | undefined {
  return greetedAt === undefined ? undefined : greetedAt - arrivedAt;
}

/** How long the clients waited that were greeted, in ms, in ascending order. */
export function waitingTimes({ visits }: Run): number[] {
  return visits.map(waited).filter((ms) => ms !== undefined).sort((a, b) => a - b);
}

/** The middle one of these sorted numbers, or the mean of the two in the middle. */
export function median(sorted: number[]): number {
  const middle = sorted.length / 2;
  const upper = sorted[Math.floor(middle)];
  const lower = sorted[Math.ceil(middle) - 1];
  return (lower + upper) / 2;
}

/** The good clients whose request was not acknowledged. */
export function neverServed({ visits }: Run): Visit[] {
  return visits.filter((visit) => isGood(visit.kind) && visit.acknowledgedAt === undefined);
}

/** The length of the queue from this time on, in ms since the run began. */
export interface QueueLength {
  /** Since when. */
  readonly time: number;
  /** How many clients are connected and not greeted. */
  readonly length: number;
}

/** How the queue grew and shrank. Only the clients know: a server cannot see who waits for it. */
export function queueOverTime(run: Run): QueueLength[] {
  const changes = run.visits.flatMap((visit) =>
    stretches(visit, run)
      .filter(({ phase }) => phase === "waiting")
      .flatMap(({ from, to }) => [{ time: from, by: 1 }, { time: to, by: -1 }])
  ).filter(({ time }) => time < run.ms);
  changes.sort((a, b) => a.time - b.time);
  const lengths: QueueLength[] = [{ time: 0, length: 0 }];
  let length = 0;
  for (const { time, by } of changes) {
    length += by;
    lengths.push({ time, length });
  }
  return [...lengths, { time: run.ms, length }];
}

/** A time for people, in seconds. */
export function seconds(ms: number | undefined): string {
  return ms === undefined ? "" : `${(ms / 1000).toFixed(ms < 10 ? 3 : 2)} s`;
}
