/**
 * The results of one submission as Gradescope's `results.json`. The folder tools/grade/gradescope has the
 * scripts that Gradescope starts.
 *
 * @module
 */

import type { CheckResult, Grades } from "../outcome.ts";
import { rowOf, summarize } from "./text.ts";

/** A test for each check. A student sees them all at once, and the grader's own output never. */
export function gradescopeOf(grades: Grades): string {
  const [graded] = grades.submissions;
  const results = {
    score: graded.points,
    execution_time: graded.seconds,
    output: summarize(graded),
    output_format: "text",
    visibility: "visible",
    stdout_visibility: "hidden",
    extra_data: {
      version: grades.version,
      date: grades.date,
      sandbox: grades.isSandboxed,
    },
    tests: graded.checks.map(testOf),
  };
  return `${JSON.stringify(results, null, 2)}\n`;
}

function testOf(check: CheckResult, index: number) {
  return {
    score: check.points,
    max_score: check.maxPoints,
    status: check.verdict === "pass" ? "passed" : "failed",
    name: check.name,
    number: `${index + 1}`,
    output: rowOf(check),
    output_format: "text",
    tags: [check.part, check.verdict],
    visibility: "visible",
  };
}
