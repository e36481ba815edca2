/**
 * The results as a table for spreadsheets.
 *
 * @module
 */

import { stringify } from "csv-stringify/sync";
import { CHECKS } from "../texts.ts";
import { type CheckResult, count, type Grades, type Part } from "../outcome.ts";
import { totalOf } from "./text.ts";

/**
 * A row for each submission, with a column for each check. No cell begins like a formula: a
 * spreadsheet would run it.
 */
export function csvOf(grades: Grades): string {
  const checks = grades.submissions[0]?.checks ?? [];
  const names = CHECKS.map(({ name }) => name).filter((name) => {
    return checks.some((check) => check.name === name);
  });
  const maxPoints = grades.submissions[0]?.maxPoints ?? 0;
  const column = (part: Part) => `${part} (of ${totalOf(checks, part)})`;
  const head = [
    "server",
    column("lab"),
    column("beyond"),
    ...names,
    `points (of ${maxPoints})`,
    "last words",
  ];
  const rows = grades.submissions.map((graded) => [
    graded.path,
    count(graded.checks, "lab", "pass"),
    count(graded.checks, "beyond", "pass"),
    ...graded.checks.map(cellOf),
    graded.points,
    graded.lastWords,
  ]);
  return stringify([head, ...rows], {
    escape_formulas: true,
    record_delimiter: "windows",
  });
}

function cellOf({ verdict, seen }: CheckResult): string {
  return verdict === "pass" ? "pass" : `${verdict}: ${seen}`;
}
