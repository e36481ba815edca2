/**
 * Tests of the marks: a good server passes every check, and a server with a fault misses what a reader
 * of it would take off, and nothing else. So no check is there for show.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { type Row, ROWS } from "./fixtures/rows.ts";
import type { Graded } from "./outcome.ts";
import { canTest, gradesOf, missedIn, PYTHON, Submissions } from "./testing.ts";

const ignore = !(await canTest());

/** Rows that are graded on the same checks. */
function groupsOf(rows: Row[]): Map<string, Row[]> {
  const groups = new Map<string, Row[]>();
  for (const row of rows) {
    const checks = row.only?.join(",") ?? "";
    groups.set(checks, [...groups.get(checks) ?? [], row]);
  }
  return groups;
}

Deno.test({ name: "grade: each fault costs what a reader takes off", ignore }, async (t) => {
  await using submissions = await Submissions.create();
  const found = new Map<string, Graded>();
  const grade = async ([checks, rows]: [string, Row[]]) => {
    const paths: string[] = [];
    for (const { fault } of rows) paths.push(await submissions.addFault(fault));
    const only = checks === "" ? [] : ["--only", checks];
    const grades = await gradesOf("--jobs", "4", ...only, PYTHON, ...paths);
    rows.forEach((row, index) => found.set(row.fault, grades.submissions[index]));
  };
  const [whole, ...parts] = groupsOf(ROWS);
  const inParts = async () => {
    for (const group of parts) await grade(group);
  };
  await Promise.all([grade(whole), inParts()]);
  for (const row of ROWS) {
    const graded = found.get(row.fault) as Graded;
    await t.step(`${row.fault}: ${row.reason}`, () => compare(graded, row));
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
