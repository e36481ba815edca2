/**
 * One run of a class: all its clients against one server, until they are through or it is stopped.
 *
 * @module
 */

import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "../shared/client.ts";
import { isGood } from "./kinds.ts";
import type { Plan } from "./options.ts";
import { makeVisit, newVisit, type Visit } from "./visit.ts";

/** What was seen in a run. */
export interface Run {
  /** What was visited: the server's name or address. */
  readonly title: string;
  /** What the clients were to do. */
  readonly plan: Plan;
  /** The clients in the order of their arrival. */
  readonly visits: Visit[];
  /** How long it took, in ms. */
  readonly ms: number;
}

/** Where the server of a run is, and its name for people. */
export interface Address {
  /** Its name, or its address. */
  readonly title: string;
  /** Its address. */
  readonly host: string;
  /** Its TCP port. */
  readonly port: number;
}

/**
 * Sends the class to the server. The run ends when every client's connection has ended, or when it
 * is stopped; then those that are still connected are closed, and their `end` says how far they were.
 *
 * @param stop Ends the run: at the limit, or because a person wants it.
 * @param onStart Takes the list of the clients that have arrived, for the progress: it grows, and
 * their times change.
 */
export async function runClass(
  plan: Plan,
  address: Address,
  stop: AbortSignal,
  onStart: (visits: Visit[]) => void = () => {},
): Promise<Run> {
  const startedAt = performance.now();
  const clients: Client[] = [];
  const onConnect = (client: Client) => clients.push(client);
  const setting = { ...plan, ...address, startedAt, onConnect };
  const visits: Visit[] = [];
  onStart(visits);
  const all = plan.kinds.map(async (kind, index) => {
    await delay(index * plan.arriveMs / plan.kinds.length);
    if (stop.aborted) return;
    const visit = newVisit(visits.length + 1, kind);
    visits.push(visit);
    await makeVisit(visit, setting);
  });
  await Promise.race([Promise.all(all), untilAborted(stop)]);
  const ms = performance.now() - startedAt;
  const seen = visits.map(asSeen);
  for (const client of clients) client.close();
  return { title: address.title, plan, visits: seen, ms };
}

/** The visit as it is now, apart from what the end of the run will do to it. */
function asSeen(visit: Visit): Visit {
  return { ...visit, end: visit.end === "" ? stateOf(visit) : visit.end };
}

/** How far a client has come that has not ended. */
export function stateOf(visit: Visit): string {
  if (visit.connectedAt === undefined) return "never connected";
  if (visit.greetedAt === undefined) return "never greeted";
  if (visit.acknowledgedAt === undefined && isGood(visit.kind)) return "never acknowledged";
  return "still connected";
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
