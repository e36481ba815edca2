/**
 * The results as JUnit's XML, which GitLab, Jenkins and many other programs read.
 *
 * @module
 */

import { XMLBuilder } from "fast-xml-parser";
import type { CheckResult, Graded, Grades, Verdict } from "../outcome.ts";

/** A suite for each submission, a case for each check. */
export function junitOf(grades: Grades): string {
  const suites = grades.submissions.map((graded) => suiteOf(graded, grades));
  const builder = new XMLBuilder({
    attributeNamePrefix: "@",
    format: true,
    ignoreAttributes: false,
    suppressBooleanAttributes: false,
    textNodeName: "#",
  });
  return builder.build({
    "?xml": { "@version": "1.0", "@encoding": "UTF-8" },
    testsuites: { "@name": "lab 3", testsuite: suites },
  });
}

function suiteOf(graded: Graded, grades: Grades) {
  const number = (verdict: Verdict) => {
    return graded.checks.filter((check) => check.verdict === verdict).length;
  };
  return {
    "@name": graded.name,
    "@timestamp": grades.date,
    "@tests": graded.checks.length,
    "@failures": number("miss"),
    "@errors": 0,
    "@skipped": number("not judged"),
    "@time": graded.seconds,
    testcase: graded.checks.map((check) => caseOf(check, graded.name)),
  };
}

/** GitLab keeps only the first of two cases of the same name: so each has the submission's, too. */
function caseOf(check: CheckResult, submission: string) {
  const attributes = {
    "@classname": submission,
    "@name": `${submission}: ${check.name}`,
    "@time": check.seconds,
  };
  if (check.verdict === "not judged") {
    return { ...attributes, skipped: { "@message": check.seen } };
  }
  if (check.verdict === "pass") return attributes;
  const words = [
    `${check.done}.`,
    `Expected: ${check.expected}`,
    `Seen: ${check.seen}`,
    `Change: ${check.change}`,
  ];
  const failure = {
    "@message": check.seen,
    "@type": check.part,
    "#": words.join("\n"),
  };
  return { ...attributes, failure };
}
