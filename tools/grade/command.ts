/**
 * The grader as a command: from its arguments to its exit status.
 *
 * @module
 */

import { gradeAll, type Listener } from "./batch.ts";
import { HELP, type Options, readOptions } from "./options.ts";
import {
  type CheckResult,
  type Graded,
  type Grades,
  UsageError,
} from "./outcome.ts";
import { prepareReports } from "./report/write.ts";
import { summarize, tableOf } from "./report/text.ts";
import { endSandboxes, whyNoSandbox } from "./sandbox.ts";
import { endServers } from "./server.ts";
import { printable } from "./show.ts";

/** Runs the grader with these arguments; returns its exit status. */
export async function main(args: string[]): Promise<number> {
  endAllOnSignals();
  try {
    const options = readOptions(args);
    if (options) return await gradeAndReport(options);
    console.log(HELP);
    return 0;
  } catch (error) {
    console.error(printable((error as Error).message));
    return error instanceof UsageError ? 2 : 1;
  } finally {
    endAll();
  }
}

/** Whatever ends the grader ends the servers, too. */
function endAllOnSignals(): void {
  const isWindows = Deno.build.os === "windows";
  const signals: Deno.Signal[] = isWindows
    ? ["SIGINT"]
    : ["SIGINT", "SIGTERM", "SIGHUP"];
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

async function gradeAndReport(options: Options): Promise<number> {
  const { files } = options;
  const writeReports = await prepareReports(files);
  const isSandboxed = await canSandbox(options);
  const isOne = options.submissions.length === 1;
  const begin = performance.now();
  let written = Promise.resolve(); // one after the other: the last one has all
  const listener: Listener = {
    say: (words) => console.error(words),
    onGraded: async (graded, soFar) => {
      if (!isOne) console.error(progressOf(graded, soFar, options, begin));
      written = written.then(() => writeReports(soFar));
      await written;
    },
  };
  const grades = await gradeAll(options, isSandboxed, listener);
  if (files.json === "-") console.log(JSON.stringify(grades, null, 2));
  else printResults(grades);
  return files.classroom50 !== undefined || isPassed(grades, options) ? 0 : 1;
}

/** A server that runs already has no sandbox; for all others it is said why there is none. */
async function canSandbox({ submissions }: Options): Promise<boolean> {
  if (submissions[0].command.length === 0) return false;
  const why = await whyNoSandbox();
  if (why !== undefined) {
    console.error(
      `No sandbox (${why}): the servers run one by one, and with your rights`,
    );
  }
  return why === undefined;
}

/** `3/20 alice: lab 12/13, beyond 7/9, points 12/13 (about 40 s left)`. */
function progressOf(
  graded: Graded,
  soFar: Grades,
  options: Options,
  begin: number,
): string {
  const total = options.submissions.length;
  const done = soFar.submissions.length;
  const secondsEach = (performance.now() - begin) / 1000 / done;
  const left = Math.ceil(secondsEach * (total - done));
  const time = left > 0 ? ` (about ${left} s left)` : "";
  const score = summarize(graded).split(", missed")[0];
  return printable(`${done}/${total} ${graded.name}: ${score}${time}`);
}

function printResults({ submissions }: Grades): void {
  if (submissions.length === 1) {
    const [graded] = submissions;
    console.log(`${tableOf(graded)}\n\n${summarize(graded)}`);
    return;
  }
  const lines = submissions.map((graded) =>
    printable(`${graded.name}: ${summarize(graded)}`)
  );
  console.log(lines.join("\n"));
}

/** Whether nothing is missing that the lab asks for. Of a server that runs, not all can be tested. */
function isPassed({ submissions }: Grades, options: Options): boolean {
  const isRunning = options.submissions[0].command.length === 0;
  const isTested = ({ verdict }: CheckResult) => verdict !== "not judged";
  const isFine = ({ part, verdict }: CheckResult) => {
    return part === "beyond" || verdict === "pass" ||
      isRunning && verdict === "not judged";
  };
  return submissions.every(({ checks }) =>
    checks.every(isFine) && checks.some(isTested)
  );
}
