/**
 * From what a command line asks for to the exit status: grades, says how far it is, and reports.
 *
 * @module
 */

import { gradeAll, type Listener } from "./batch.ts";
import type { Options } from "./options.ts";
import type { CheckResult, Graded, Grades } from "./outcome.ts";
import { prepareReports, type WriteReports } from "./report/write.ts";
import { rosterLines, scoreOf, summarize, tableOf } from "./report/text.ts";
import { endSandboxes, whyNoSandbox } from "./sandbox.ts";
import { endServers } from "./server.ts";

/** Grades what a command line asks for; returns the exit status. */
export async function gradeAndReport(options: Options): Promise<number> {
  endAllOnSignals();
  try {
    const writeReports = await prepareReports(options.files);
    console.error(beginningOf(options));
    const isSandboxed = await canSandbox(options);
    const grades = await gradeAll(options, isSandboxed, listenerFor(options, writeReports));
    if (options.files.json === "-") console.log(JSON.stringify(grades, null, 2));
    else printResults(grades);
    await writeReports(grades);
    return statusOf(grades, options);
  } finally {
    endAll();
  }
}

/** Whatever ends the grader ends the servers, too. */
function endAllOnSignals(): void {
  const isWindows = Deno.build.os === "windows";
  const signals: Deno.Signal[] = isWindows ? ["SIGINT"] : ["SIGINT", "SIGTERM", "SIGHUP"];
  for (const signal of signals) {
    Deno.addSignalListener(signal, () => {
      endAll();
      Deno.exit(130);
    });
  }
}

function endAll(): void {
  endSandboxes();
  endServers();
}

/** What is said in the first second, and who has not handed in: one may want to stop here. */
function beginningOf(options: Options): string {
  const { submissions, checks } = options;
  const { length } = submissions;
  const what = length === 1 ? submissions[0].name : `${length} submissions`;
  const begin = `Grading ${what} (checks: ${checks.length})`;
  return [begin, ...rosterLines(options)].join("\n");
}

/** Says how far it is, and writes the reports after each submission. */
function listenerFor(options: Options, writeReports: WriteReports): Listener {
  const isOne = options.submissions.length === 1;
  const begin = performance.now();
  const begun = new Set<string>();
  let written = Promise.resolve(); // one after the other: the last one has all
  return {
    say: (words) => console.error(words),
    onCheck: (name) => {
      if (!isOne || begun.has(name)) return;
      begun.add(name);
      console.error(`${begun.size}/${options.checks.length} ${name}`);
    },
    onGraded: async (graded, soFar) => {
      if (!isOne) console.error(progressOf(graded, soFar, options, begin));
      written = written.then(() => writeReports(soFar)).catch(sayNotWritten);
      await written;
    },
  };
}

/** A server that runs already has no sandbox; for all others it is said why there is none. */
async function canSandbox({ submissions, needsSandbox }: Options): Promise<boolean> {
  if (submissions[0].command.length === 0) return false;
  const why = await whyNoSandbox();
  if (why === undefined) return true;
  if (needsSandbox) throw new Error(`No sandbox: ${why}`);
  console.error(`No sandbox, so the servers run one by one, and with your rights: ${why}`);
  return false;
}

/** A table that is open in Excel cannot be written: that must not cost the others their grading. */
function sayNotWritten({ message }: Error): void {
  console.error(`The reports cannot be written, and are tried again: ${message}`);
}

/** `3/20 alice: 12 of 13 (about 40 s left)`. */
function progressOf(graded: Graded, soFar: Grades, options: Options, begin: number): string {
  const total = options.submissions.length;
  const done = soFar.submissions.length;
  const secondsEach = (performance.now() - begin) / 1000 / done;
  const left = Math.ceil(secondsEach * (total - done));
  const time = left > 0 ? ` (about ${left} s left)` : "";
  return `${done}/${total} ${graded.name}: ${scoreOf(graded)}${time}`;
}

function printResults(grades: Grades): void {
  const { submissions } = grades;
  const [{ trouble }] = submissions;
  if (submissions.length === 1 && trouble === "") console.log(`${tableOf(submissions[0])}\n`);
  for (const graded of submissions) console.log(`${graded.name}: ${summarize(graded)}`);
  for (const line of rosterLines(grades)) console.log(line);
}

/**
 * 3 if one has no mark, 1 if one misses what the lab asks for. Of a server that runs already, not all
 * can be judged.
 */
function statusOf({ submissions }: Grades, { files, submissions: [first] }: Options): number {
  if (submissions.some(({ points }) => points === null)) return 3;
  const isRunning = first.command.length === 0;
  const isJudged = ({ verdict }: CheckResult) => verdict !== "not judged";
  const isFine = (check: CheckResult) => {
    const { part, verdict } = check;
    return part === "beyond" || verdict === "pass" || isRunning && !isJudged(check);
  };
  const isRight = ({ checks }: Graded) => checks.every(isFine) && checks.some(isJudged);
  return files.classroom50 !== undefined || submissions.every(isRight) ? 0 : 1;
}
