/**
 * The results of one submission as Gradescope's `results.json`. The folder gradescope/ has the scripts
 * that Gradescope starts.
 *
 * @module
 */

import type { CheckResult, Grades } from "../outcome.ts";
import { counts, rowOf, summarize } from "./text.ts";

/**
 * A test for each check. A student sees them all at once, and the grader's own output never. Where
 * the grader itself has failed there is no such file: then Gradescope gives no score, and says so.
 */
export function gradescopeOf(grades: Grades): string | undefined {
  const [graded] = grades.submissions;
  if (graded.points === null) return undefined;
  const results = {
    score: graded.points,
    execution_time: graded.seconds,
    output: summarize(graded),
    output_format: "text",
    visibility: "visible",
    stdout_visibility: "hidden",
    extra_data: { version: grades.version, date: grades.date, sandbox: grades.isSandboxed },
    tests: graded.checks.map(testOf),
  };
  return `${JSON.stringify(results, null, 2)}\n`;
}

/** Without a score and a status it is neither green nor red: so are those that do not count. */
function testOf(check: CheckResult, index: number) {
  const score = {
    score: check.points,
    max_score: check.maxPoints,
    status: check.verdict === "pass" ? "passed" : "failed",
  };
  return {
    ...counts(check) ? score : {},
    name: check.part === "lab" ? check.name : `beyond the lab: ${check.name}`,
    number: `${index + 1}`,
    output: rowOf(check),
    output_format: "text",
    tags: [check.part, check.verdict],
    visibility: "visible",
  };
}
