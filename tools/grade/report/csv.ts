/**
 * The results as a table for spreadsheets and gradebooks.
 *
 * @module
 */

import { stringify } from "csv-stringify/sync";
import type { CheckResult, Graded, Grades } from "../outcome.ts";

/**
 * A row for each submission, with a column for each check; where there is a roster, a row for each
 * student in its order, and then the others. No cell begins like a formula: a spreadsheet would run
 * it. The byte order mark tells Excel that it is UTF-8.
 */
export function csvOf(grades: Grades): string {
  const names = grades.submissions.find(({ checks }) => checks.length > 0)
    ?.checks.map(({ name }) => name) ?? [];
  const head = ["name", "points", "max", ...names, "why no mark", "path"];
  const rows = rowsOf(grades, names);
  return stringify([head, ...rows], {
    bom: true,
    escape_formulas: true,
    record_delimiter: "windows",
  });
}

function rowsOf({ submissions, roster }: Grades, names: string[]) {
  const students = roster?.students ?? [];
  const listed = students.flatMap((student) => {
    const graded = submissions.find(({ name }) => name === student);
    if (graded) return [rowOf(graded, names)];
    return roster?.missing.includes(student) ? [emptyRow(student, submissions[0], names)] : [];
  });
  const others = submissions.filter(({ name }) => !students.includes(name));
  return [...listed, ...others.map((graded) => rowOf(graded, names))];
}

function rowOf(graded: Graded, names: string[]) {
  const cells = names.map((name) => cellOf(graded.checks.find((check) => check.name === name)));
  const { name, points, maxPoints, trouble, path } = graded;
  return [name, points, maxPoints, ...cells, trouble, path];
}

function cellOf(check?: CheckResult): string {
  if (check === undefined) return "";
  const { verdict, seen, note } = check;
  const words = [verdict === "pass" ? "" : seen, note].filter((text) => text !== "");
  return [verdict, ...words].join(": ");
}

function emptyRow(student: string, { maxPoints }: Graded, names: string[]) {
  return [student, null, maxPoints, ...names.map(() => ""), "not handed in", ""];
}
