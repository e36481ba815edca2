/**
 * The results of one submission as the `result.json` of Classroom 50.
 *
 * @module
 */

import type { Grades } from "../outcome.ts";
import { counts } from "./text.ts";

/** What the runner of Classroom 50 tells a grader in its environment, by the name of the field. */
const FROM_RUNNER = {
  classroom: "CLASSROOM",
  assignment: "ASSIGNMENT",
  submission: "SUBMISSION_TAG",
  commit: "COMMIT_URL",
  release: "RELEASE_URL",
  review: "REVIEW_URL",
};

/** A test for each check that counts; nothing where the grader itself has failed. */
export function classroom50Of(grades: Grades): string | undefined {
  const [graded] = grades.submissions;
  if (graded.points === null) return undefined;
  const result = {
    schema: "classroom50/result/v1",
    ...fieldsOfRunner(),
    datetime: grades.date.replace(/\.\d+Z$/, "Z"),
    score: graded.points,
    "max-score": graded.maxPoints,
    tests: graded.checks.filter(counts).map((check) => ({
      "test-name": check.name,
      passed: check.verdict === "pass",
      score: check.points,
      "max-score": check.maxPoints,
    })),
  };
  return `${JSON.stringify(result, null, 2)}\n`;
}

/** The fields that the runner knows, where it is one that started this. */
function fieldsOfRunner(): Record<string, string> {
  const fields: Record<string, string> = {};
  for (const [field, variable] of Object.entries(FROM_RUNNER)) {
    const value = Deno.env.get(variable);
    if (value !== undefined) fields[field] = value;
  }
  return fields;
}
