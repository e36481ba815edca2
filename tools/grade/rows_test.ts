/**
 * Tests of the marks: a good server passes every check, and a server with a fault misses what a reader
 * of it would take off, and nothing else. So no check is there for show.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { dirname } from "node:path";
import { freePort } from "../shared/testing.ts";
import { gradeAll } from "./batch.ts";
import { type Experiment, perform } from "./experiment.ts";
import { PLACED, PLACELESS, type Row } from "./fixtures/rows.ts";
import { gradeSubmission, sideBySide } from "./grading.ts";
import { readOptions } from "./options.ts";
import type { Graded } from "./outcome.ts";
import { canTest, missedIn, pathOf, PYTHON, Submissions } from "./testing.ts";
import { CHECKS } from "./texts.ts";

const ignore = !(await canTest());

/** Rows that are graded at once: most of each is waiting. */
const PLACES = 6;
/** The limit on silence that the grader has by itself, in seconds. */
const SILENCE = 15;

/** Grades a server on all checks, or on those that its row names, each in a sandbox. */
async function gradeInSandbox({ fault, only }: Row, submissions: Submissions): Promise<Graded> {
  const path = await submissions.addFault(fault);
  const options = readOptions([...only ? ["--only", only.join(",")] : [], PYTHON, path]);
  if (!options) throw new Error("it has asked for help");
  const listener = { say: console.log, onCheck: () => {}, onGraded: async () => {} };
  const { submissions: [graded] } = await gradeAll(options, true, listener);
  return graded;
}

/**
 * Grades it on the same checks, but each at a port of its own here: for these marks that is the same,
 * and it takes a third of the time.
 */
function gradeHere({ fault, only }: Row, labFolder: string): Promise<Graded> {
  const script = pathOf("tools/grade/fixtures/server.py");
  const command = [PYTHON, script, fault];
  const folder = dirname(script);
  const performHere = (experiment: Experiment) => {
    const port = freePort();
    const launch = { command: [...command, `${port}`], folder, labFolder, wrappers: [] };
    const place = { port, silence: SILENCE, isAlone: false, usedPorts: new Set<number>() };
    return perform(experiment, { launch, ...place, say: console.log });
  };
  return gradeSubmission({
    submission: { name: fault, path: script, command, folder },
    checks: only ? CHECKS.filter(({ name }) => only.includes(name)) : CHECKS,
    points: new Map(),
    perform: performHere,
    onCheck: () => {},
    isSandboxed: true, // what is at ports of their own can be side by side, too
  });
}

Deno.test({ name: "grade: each fault costs what a reader takes off", ignore }, async (t) => {
  await using submissions = await Submissions.create();
  const pickle = await Deno.readTextFile(pathOf("lab/pickle.py"));
  const lab = dirname(await submissions.add("lab", pickle, "pickle.py"));
  const grade = (row: Row) =>
    PLACED.includes(row) ? gradeInSandbox(row, submissions) : gradeHere(row, lab);
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
