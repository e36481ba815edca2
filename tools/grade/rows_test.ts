/**
 * Tests of the marks: a good server passes every check, and a server with one fault misses the one
 * check that is meant for it, so no check is there for show.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import type { Graded } from "./outcome.ts";
import { canTest, gradesOf, missedIn, PYTHON, Submissions } from "./testing.ts";
import { CHECKS } from "./texts.ts";

/** A server with a fault, and what the grader must make of it. */
interface Row {
  /** The fault, as fixtures/server.py knows it. */
  readonly fault: string;
  /** The checks that it misses. */
  readonly missed: string[];
  /** The checks that cannot be judged with this fault. */
  readonly notJudged?: string[];
  /** What the grader must say where it misses the first of them. */
  readonly says?: RegExp;
  /** What the advice must say there. */
  readonly advises?: RegExp;
}

const ALL = CHECKS.map(({ name }) => name);
const PRINTED_NAMES = ["other script", "long name", "forged line"];
const NEED_A_SECOND = [
  "one at a time",
  "two at once",
  "leaves at once",
  "leaves in the middle",
  "resets",
  "garbage",
  "missing key",
  "reports exceptions",
  "reports leaving",
  "silent client",
  "forged line",
];

const ROWS: Row[] = [
  { fault: "none", missed: [] },
  { fault: "forks", missed: [] },
  { fault: "the skeleton's words", missed: [] },
  { fault: "stops on a line", missed: [] },
  { fault: "waits for 5 s", missed: [] },
  { fault: "waits for 10 s", missed: [] },
  {
    fault: "says nothing",
    missed: ["says where"],
    says: /it accepts at 127\.0\.0\.1, port 12000/,
  },
  { fault: "another port", missed: ["says where"], says: /12007.*port 12000/ },
  {
    fault: "another host",
    missed: ["says where"],
    says: /127\.0\.1\.1.*and not at 127\.0\.0\.1/,
  },
  {
    fault: "hidden port",
    missed: ["says where"],
    says: /it accepts at 127\.0\.0\.1, port 8000/,
  },
  { fault: "wrong id", missed: ["greets"], says: /the client's port is \d+/ },
  {
    fault: "late greeting",
    missed: ["greets"],
    says: /^no greeting before the request/,
  },
  { fault: "text greeting", missed: ["greets"], says: /"Welcome"/ },
  { fault: "real pickle", missed: ["greets"], says: /a real pickle/ },
  { fault: "says ok", missed: ["acknowledges"], says: /^"ok"/ },
  {
    fault: "acknowledges with the dict",
    missed: ["acknowledges"],
    says: /"student_name":"Alice/,
  },
  {
    fault: "acknowledges with the sid",
    missed: ["acknowledges"],
    says: /^{"ack":\d+}/,
  },
  {
    fault: "never acknowledges",
    missed: ["acknowledges"],
    says: /no acknowledgement/,
  },
  {
    fault: "packs twice",
    missed: ["acknowledges"],
    says: /the bytes 01, .* packed twice\?/,
  },
  { fault: "other text", missed: ["prints"], says: /Github: abrown/ },
  {
    fault: "space at the end",
    missed: ["prints"],
    says: /^"Connected: .* sid: \d+ " instead of/,
  },
  {
    fault: "carriage return",
    missed: ["prints"],
    says: /sid: \d+\\r" instead of/,
  },
  { fault: "colours", missed: ["prints"], says: /^"\\u001b\[32mConnected: / },
  {
    fault: "logging prefix",
    missed: ["prints"],
    says: /^"INFO:root:Connected: /,
  },
  {
    fault: "one client",
    missed: ["serves the next"],
    notJudged: NEED_A_SECOND.slice(1),
  },
  { fault: "a thread for each", missed: ["one at a time"], advises: /lab 4/ },
  { fault: "no queue", missed: ["two at once"] },
  {
    fault: "dies on leaving",
    missed: ["leaves at once"],
    notJudged: ["reports leaving"],
  },
  {
    fault: "dies in the middle",
    missed: ["leaves in the middle"],
    says: /incomplete/,
  },
  {
    fault: "dies on a reset",
    missed: ["resets"],
    says: /ConnectionResetError/,
  },
  {
    fault: "dies on garbage",
    missed: ["garbage"],
    says: /the server ended \(status 1\): .*Error/,
  },
  {
    fault: "dies on a missing key",
    missed: ["missing key"],
    says: /KeyError: 'sid'/,
  },
  { fault: "get", missed: ["missing key"], says: /is acknowledged: 1/ },
  {
    fault: "prints the incomplete",
    missed: ["missing key"],
    says: /Mallory Grey.*sid: None/,
  },
  {
    fault: "mute",
    missed: ["reports exceptions"],
    says: /middle, resets, garbage, missing key/,
  },
  {
    fault: "says what good clients cause, too",
    missed: ["reports exceptions"],
    advises: /to whom.*What good clients cause, too/,
  },
  { fault: "ticks", missed: [] },
  { fault: "unaware", missed: ["reports leaving"] },
  { fault: "one recv", missed: ["two pieces"] },
  { fault: "answers once", missed: ["two in one"], says: /1 of 2 answers/ },
  { fault: "ascii", missed: ["other script"], says: /UnicodeEncodeError/ },
  { fault: "short", missed: ["long name"] },
  {
    fault: "patient",
    missed: ["silent client"],
    says: /not served within 15 s/,
  },
  { fault: "forges", missed: ["forged line"] },
  {
    fault: "no reuse",
    missed: ["starts again"],
    says: /Address already in use/,
  },
  { fault: "ignores ^C", missed: ["^C"] },
  {
    fault: "flushes at the end",
    missed: ["says where", "prints", "reports exceptions", "reports leaving"],
    notJudged: PRINTED_NAMES,
    says: /came only when it ended: flush/,
  },
  {
    fault: "dies in a thread",
    missed: ["greets", "acknowledges", "prints", "serves the next"],
    notJudged: [...NEED_A_SECOND, ...ALL.slice(-8)],
    says: /AttributeError: 'socket' object has no attribute 'sendal'/,
  },
  {
    fault: "ends at once",
    missed: ["says where"],
    notJudged: ALL.slice(1),
    says: /no time today/,
  },
  { fault: "never listens", missed: ["says where"], notJudged: ALL.slice(1) },
];

const ignore = !(await canTest());

Deno.test({
  name: "grade: each fault costs its own check, and no other",
  ignore,
}, async (t) => {
  await using submissions = await Submissions.create();
  const paths: string[] = [];
  for (const { fault } of ROWS) paths.push(await submissions.addFault(fault));
  const grades = await gradesOf("--jobs", "4", PYTHON, ...paths);
  for (const [index, row] of ROWS.entries()) {
    await t.step(row.fault, () => compare(grades.submissions[index], row));
  }
});

function compare(
  graded: Graded,
  { missed, notJudged = [], says, advises }: Row,
): void {
  assertEquals(
    missedIn(graded),
    missed,
    graded.checks.map(({ seen }) => seen).join("\n"),
  );
  const untested = graded.checks.filter(({ verdict }) =>
    verdict === "not judged"
  );
  assertEquals(new Set(untested.map(({ name }) => name)), new Set(notJudged));
  const first = graded.checks.find(({ verdict }) => verdict === "miss");
  const { seen = "", change = "" } = first ?? {};
  if (says) assert(says.test(seen), seen);
  if (advises) assert(advises.test(change), change);
}
