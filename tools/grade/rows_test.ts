/**
 * Tests of the marks: a good server passes every check, and a server with a fault misses what a reader
 * of it would take off, and nothing else. So no check is there for show.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { gradeAll } from "./batch.ts";
import { PLACED, PLACELESS, type Row } from "./fixtures/rows.ts";
import { sideBySide } from "./grading.ts";
import { readOptions } from "./options.ts";
import type { Graded } from "./outcome.ts";
import { canTest, gradeFaultHere, missedIn, PYTHON, Submissions } from "./testing.ts";

const ignore = !(await canTest());

/** Rows that are graded at once: most of each is waiting. */
const PLACES = 4;

/** Grades a server on all checks, or on those that its row names, each in a sandbox. */
async function gradeInSandbox({ fault, only }: Row, submissions: Submissions): Promise<Graded> {
  const path = await submissions.addFault(fault);
  const options = readOptions([...only ? ["--only", only.join(",")] : [], PYTHON, path]);
  if (!options) throw new Error("it has asked for help");
  const listener = { say: console.log, onCheck: () => {}, onGraded: async () => {} };
  const { submissions: [graded] } = await gradeAll(options, true, listener);
  return graded;
}

Deno.test({ name: "grade: each fault costs what a reader takes off", ignore }, async (t) => {
  await using submissions = await Submissions.create();
  const lab = await submissions.addLab();
  const grade = (row: Row) =>
    PLACED.includes(row)
      ? gradeInSandbox(row, submissions)
      : gradeFaultHere(row.fault, lab, row.only);
  const rows = [...PLACELESS, ...PLACED]; // the long ones first
  const found = await sideBySide(rows, PLACES, grade);
  for (const [index, row] of rows.entries()) {
    await t.step(`${row.fault}: ${row.reason}`, () => compare(found[index], row));
  }
});

function compare(graded: Graded, row: Row): void {
  const { missed, notJudged = [], says, note = /^$/, advises } = row;
  assertEquals(graded.trouble, "");
  assertEquals(missedIn(graded), missed, graded.checks.map(({ seen }) => seen).join("\n"));
  const unjudged = graded.checks.filter(({ verdict }) => verdict === "not judged");
  assertEquals(new Set(unjudged.map(({ name }) => name)), new Set(notJudged));
  const { seen = "", change = "" } = graded.checks.find(({ verdict }) => verdict === "miss") ?? {};
  if (says) assert(says.test(seen), seen);
  if (advises) assert(advises.test(change), change);
  const notes = graded.checks.map((check) => check.note).join("");
  assert(note.test(notes), notes);
}
