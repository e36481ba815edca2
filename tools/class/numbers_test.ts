/**
 * Tests of what the times of the clients mean, and of the words for it.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { headline } from "./chart.ts";
import {
  joined,
  median,
  neverServed,
  queueOverTime,
  seconds,
  serverOverTime,
  stretches,
  worked,
} from "./numbers.ts";
import { iterativeRun, runOf, sampleRun, threadedRun } from "./samples.ts";
import { newVisit } from "./visit.ts";

Deno.test("a visit is made of connecting, waiting, served and lingering", () => {
  const run = sampleRun();
  assertEquals(stretches(run.visits[0], run), [
    { phase: "connecting", from: 0, to: 1 },
    { phase: "waiting", from: 1, to: 2 },
    { phase: "served", from: 2, to: 4 },
    { phase: "lingering", from: 4, to: 500 },
  ]);
  assertEquals(stretches(run.visits[2], run), [{ phase: "connecting", from: 20, to: 1000 }]);
});

Deno.test("a client without an acknowledgement was not served, however long it was there", () => {
  const run = sampleRun();
  assertEquals(stretches(run.visits[1], run).at(-1), { phase: "lingering", from: 501, to: 1000 });
});

Deno.test("the queue is who is connected and not greeted", () => {
  assertEquals(queueOverTime(sampleRun()), [
    { time: 0, length: 0 },
    { time: 1, length: 1 },
    { time: 2, length: 0 },
    { time: 11, length: 1 },
    { time: 501, length: 0 },
    { time: 1000, length: 0 },
  ]);
});

Deno.test("the server works, or waits for a client that it has greeted", () => {
  assertEquals(serverOverTime(sampleRun()), [
    { phase: "served", from: 2, to: 4, clients: [1] },
    { phase: "lingering", from: 4, to: 500, clients: [1] },
    { phase: "lingering", from: 501, to: 1000, clients: [2] },
  ]);
});

Deno.test("an iterative server waits for one client at a time, also where ends are seen late", () => {
  const waits = joined(serverOverTime(iterativeRun(3)), "lingering", 1);
  const single = waits.map(({ clients }) => clients).filter(({ length }) => length === 1);
  assertEquals(single, [[1], [2], [3]]);
});

Deno.test("a server with threads waits for several clients in one stretch", () => {
  const waits = joined(serverOverTime(threadedRun(3)), "lingering", 5);
  assertEquals(waits.map(({ clients }) => clients.length), [1, 3, 1]);
});

Deno.test("who serves two clients at once works once in that time", () => {
  assertEquals(worked(threadedRun(1), 0, 5000), 2);
  const twice = runOf([...threadedRun(1).visits, ...threadedRun(1).visits], 5000);
  assertEquals(worked(twice, 0, 5000), 2);
  assertEquals(worked(iterativeRun(3), 0, 2003), 3);
});

Deno.test("a good client without an acknowledgement was never served, a bad one does not count", () => {
  assertEquals(neverServed(sampleRun()).map(({ number }) => number), [2]);
});

Deno.test("the median is the one in the middle, or the mean of two", () => {
  assertEquals([[1, 2, 9], [1, 2, 4, 9], [7]].map(median), [2, 3, 7]);
});

Deno.test("a time has as many digits as one wants to read", () => {
  assertEquals([undefined, 1, 52, 60_549].map(seconds), ["", "0.001 s", "0.05 s", "60.5 s"]);
});

Deno.test("the headline says what happened, and for how much work of the server", () => {
  const nobody = runOf([{ ...newVisit(1, "silent"), end: "never greeted" }], 1000);
  const cases = [
    [[iterativeRun(3)], "Client 3 waited 4.00 s. The server worked 0.004 s in that time."],
    [[threadedRun(3)], "Nobody waited longer than 0.001 s. The server worked 0.006 s in 2.03 s."],
    [[sampleRun()], "1 of 2 clients were never served. The server worked 0.002 s in 1.00 s."],
    [[nobody], "Nobody was greeted. The server worked 0.000 s in 1.00 s."],
    [
      [iterativeRun(30), threadedRun(30)],
      "At main.ts, client 30 waited 58.0 s. At threads, nobody waited longer than 0.001 s.",
    ],
  ] as const;
  for (const [runs, words] of cases) assertEquals(headline([...runs]), words);
});
