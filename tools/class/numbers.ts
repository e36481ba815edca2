/**
 * What the times of the clients mean: the table's numbers and the picture's data.
 *
 * @module
 */

import { isGood } from "./kinds.ts";
import type { Run } from "./run.ts";
import type { Visit } from "./visit.ts";

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
  const acknowledged = visit.acknowledgedAt ?? greeted; // whoever got no answer was not served
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

/** What the server does for a time, as its clients see it: it serves some, or waits for them. */
export interface ServerStretch extends Stretch {
  /** The numbers of the clients for whom it works or waits. */
  readonly clients: number[];
}

/** What the server does, in the order of time: who serves one client and waits for others works. */
export function serverOverTime(run: Run): ServerStretch[] {
  const all = run.visits.flatMap((visit) =>
    stretches(visit, run).map((stretch) => ({ ...stretch, client: visit.number }))
  ).filter(({ phase }) => phase === "served" || phase === "lingering");
  const times = [...new Set(all.flatMap(({ from, to }) => [from, to]))].sort((a, b) => a - b);
  return times.slice(1).flatMap((to, index) => {
    const from = times[index];
    const present = all.filter((stretch) => stretch.from < to && stretch.to > from);
    const phase = present.some((stretch) => stretch.phase === "served") ? "served" : "lingering";
    const clients = present.filter((stretch) => stretch.phase === phase)
      .map(({ client }) => client);
    return clients.length > 0 ? [{ phase, from, to, clients } as const] : [];
  });
}

/**
 * The stretches of one phase, where those are one that follow each other within `gap` ms: work, and
 * waiting for several clients, whoever they are.
 */
export function joined(stretches: ServerStretch[], phase: Phase, gap: number): ServerStretch[] {
  const nameOf = ({ clients }: ServerStretch) => clients.length === 1 ? clients[0] : "several";
  const all: ServerStretch[] = [];
  for (const stretch of stretches.filter((stretch) => stretch.phase === phase)) {
    const last = all.at(-1);
    const isSame = last && (phase === "served" || nameOf(last) === nameOf(stretch));
    if (isSame && stretch.from - last.to <= gap) {
      const clients = [...new Set([...last.clients, ...stretch.clients])];
      all[all.length - 1] = { ...last, to: stretch.to, clients };
    } else {
      all.push(stretch);
    }
  }
  return all;
}

/** How long the server worked between two times, in ms. */
export function worked(run: Run, from: number, to: number): number {
  return serverOverTime(run)
    .filter(({ phase }) => phase === "served")
    .map((stretch) => Math.min(stretch.to, to) - Math.max(stretch.from, from))
    .reduce((sum, ms) => sum + Math.max(ms, 0), 0);
}

/** A time for people, in seconds. */
export function seconds(ms: number | undefined): string {
  if (ms === undefined) return "";
  const digits = ms < 10 ? 3 : ms < 10_000 ? 2 : 1;
  return `${(ms / 1000).toFixed(digits)} s`;
}
