/**
 * The results as JUnit's XML, which GitLab, Jenkins and many other programs read.
 *
 * @module
 */

import { XMLBuilder } from "fast-xml-parser";
import type { CheckResult, Graded, Grades } from "../outcome.ts";
import { counts } from "./text.ts";

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
  const { name, checks, trouble } = graded;
  const cases = trouble === "" ? checks.map((check) => caseOf(check, name)) : [troubleOf(graded)];
  const number = (ending: string) => cases.filter((one) => ending in one).length;
  return {
    "@name": name,
    "@timestamp": grades.date,
    "@tests": cases.length,
    "@failures": number("failure"),
    "@errors": number("error"),
    "@skipped": number("skipped"),
    "@time": graded.seconds,
    testcase: cases,
  };
}

/** GitLab keeps only the first of two cases of the same name: so each has the submission's, too. */
function headOf(submission: string, name: string, seconds: number) {
  return { "@classname": submission, "@name": `${submission}: ${name}`, "@time": seconds };
}

/** The grader has failed, which is another thing than a server that has. */
function troubleOf({ name, trouble, seconds }: Graded) {
  return { ...headOf(name, "grading", seconds), error: { "@message": trouble, "@type": "grader" } };
}

/** What is beyond the lab is no failure: it is skipped if it is not there. */
function caseOf(check: CheckResult, submission: string) {
  const head = headOf(submission, check.name, check.seconds);
  if (check.verdict === "pass") return head;
  if (check.verdict === "not judged") return { ...head, skipped: { "@message": check.seen } };
  if (!counts(check)) {
    return { ...head, skipped: { "@message": `beyond the lab, not required: ${check.seen}` } };
  }
  const words = [
    `${check.done}.`,
    `Expected: ${check.expected}`,
    `Seen: ${check.seen}`,
    `Change: ${check.change}`,
  ];
  const failure = { "@message": check.seen, "@type": check.part, "#": words.join("\n") };
  return { ...head, failure };
}
