/**
 * What a run shows, in words.
 *
 * @module
 */

import { isGood } from "./kinds.ts";
import { median, neverServed, seconds, waited, waitingTimes, worked } from "./numbers.ts";
import type { Run } from "./run.ts";

/** A wait that is shorter than this, in ms, is not noticed. */
const NOTICEABLE = 1000;

/** What happened to the clients, as the first part of a sentence. */
export function message(run: Run): string {
  const lost = neverServed(run).length;
  const good = run.visits.filter(({ kind }) => isGood(kind)).length;
  if (lost > 0) return `${lost} of ${good} clients were never served`;
  const longest = waitingTimes(run).at(-1);
  if (longest === undefined) return "nobody was greeted";
  if (longest < NOTICEABLE) return `nobody waited longer than ${seconds(longest)}`;
  return `client ${lastOne(run)?.number} waited ${seconds(longest)}`;
}

/** How long the server worked while that happened, as a sentence. */
export function work(run: Run): string {
  const { arrivedAt = 0, greetedAt = 0 } = lastOne(run) ?? {};
  if (neverServed(run).length === 0 && greetedAt - arrivedAt >= NOTICEABLE) {
    return `The server worked ${seconds(worked(run, arrivedAt, greetedAt))} in that time`;
  }
  return `The server worked ${seconds(worked(run, 0, run.ms))} in ${seconds(run.ms)}`;
}

/** The client that waited longest for its greeting. */
function lastOne(run: Run): Run["visits"][number] | undefined {
  return run.visits.toSorted((a, b) => (waited(b) ?? 0) - (waited(a) ?? 0))[0];
}

/** How long the clients waited, and who was never served. */
export function summary(run: Run): string[] {
  const times = waitingTimes(run);
  const lost = neverServed(run).map(({ number }) => number);
  const greeted = `Waited for the greeting: median ${seconds(median(times))}, ` +
    `longest ${seconds(times.at(-1))}.`;
  return [
    times.length === 0 ? "Nobody was greeted." : greeted,
    lost.length === 0
      ? "All good clients were served."
      : `Never served: ${lost.length} (${lost.join(", ")}).`,
  ];
}
