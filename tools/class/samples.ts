/**
 * Runs of a class that did not happen, for the tests: every time in them is known.
 *
 * @module
 */

import type { Kind } from "./kinds.ts";
import type { Run } from "./run.ts";
import { newVisit, type Visit } from "./visit.ts";

/** A run of one second with three clients: served, greeted only, and never connected. */
export function sampleRun(): Run {
  const visits: Visit[] = [
    {
      ...newVisit(1, "good"),
      arrivedAt: 0,
      connectedAt: 1,
      greetedAt: 2,
      requestedAt: 3,
      acknowledgedAt: 4,
      endedAt: 500,
      end: "server closed",
    },
    { ...newVisit(2, "good"), arrivedAt: 10, connectedAt: 11, greetedAt: 501, end: "open" },
    { ...newVisit(3, "silent"), arrivedAt: 20, end: "never connected" },
  ];
  return runOf(visits, 1000);
}

/** A run in which good clients that arrive at once are served one after the other, for 2 s each. */
export function iterativeRun(clients: number, title = "main.ts"): Run {
  const visits = Array.from({ length: clients }, (_, index) => ({
    ...newVisit(index + 1, "good"),
    arrivedAt: 0,
    connectedAt: 1,
    greetedAt: index * 2000 + 2,
    requestedAt: index * 2000 + 3,
    acknowledgedAt: index * 2000 + 4,
    endedAt: index * 2000 + 2005, // the next one is there: a client may see the end late
    end: "server closed",
  }));
  return { ...runOf(visits, clients * 2000 + 5), title };
}

/** A run in which a server with threads serves all at once, for 2 s. */
export function threadedRun(clients: number, title = "threads"): Run {
  const visits = iterativeRun(clients).visits.map(({ number }) => ({
    ...newVisit(number, "good"),
    arrivedAt: number * 10,
    connectedAt: number * 10,
    greetedAt: number * 10 + 1,
    requestedAt: number * 10 + 1,
    acknowledgedAt: number * 10 + 3,
    endedAt: number * 10 + 2000,
    end: "server closed",
  }));
  return { ...runOf(visits, clients * 10 + 2000), title };
}

/** A run with these visits. */
export function runOf(visits: Visit[], ms: number): Run {
  const kinds: Kind[] = visits.map(({ kind }) => kind);
  return { title: "main.ts", plan: { kinds, arriveMs: 0, limitMs: 20_000 }, visits, ms };
}
