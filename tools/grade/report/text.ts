/**
 * The results as text: for a terminal, and for a mail to the student.
 *
 * @module
 */

import {
  type CheckResult,
  count,
  type Graded,
  type Grades,
  type Part,
} from "../outcome.ts";

const TITLES: Record<Part, string> = {
  lab: "The lab asks for:",
  beyond: "Beyond the lab (not required):",
};

const WIDTH = 80;

/** The result in one line: `lab 12/13, beyond 7/9, points 12/13, missed: garbage`. */
export function summarize(graded: Graded): string {
  const { checks, points, maxPoints } = graded;
  const parts = (["lab", "beyond"] as const).filter((part) =>
    totalOf(checks, part) > 0
  );
  const scores = parts.map((part) =>
    `${part} ${count(checks, part, "pass")}/${totalOf(checks, part)}`
  );
  const missed = checks.filter(({ verdict }) => verdict === "miss").map((
    { name },
  ) => name);
  const untested =
    checks.filter(({ verdict }) => verdict === "not judged").length;
  const score = `${scores.join(", ")}, points ${points}/${maxPoints}`;
  const rest = untested > 0 ? `; not judged: ${untested}` : "";
  return `${score}, missed: ${missed.join(", ") || "nothing"}${rest}`;
}

/** How many checks a part has. */
export function totalOf(checks: readonly CheckResult[], part: Part): number {
  return checks.filter((check) => check.part === part).length;
}

/** The table of one submission: what was done, expected and seen, and what to change. */
export function tableOf({ checks }: Graded): string {
  const blocks = (["lab", "beyond"] as const).flatMap((part) => {
    const own = checks.filter((check) => check.part === part);
    return own.length === 0
      ? []
      : [`${TITLES[part]}\n${own.map(rowOf).join("\n")}`];
  });
  return blocks.join("\n\n");
}

/** One check. */
export function rowOf(check: CheckResult): string {
  const {
    name,
    verdict,
    done,
    expected,
    seen,
    change,
    inPython,
    maxPoints,
    points,
  } = check;
  if (verdict === "not judged") return `-     ${name}: not judged (${seen})`;
  const score = maxPoints > 0 ? ` [${points}/${maxPoints}]` : "";
  const lines = [
    `${verdict === "pass" ? "ok   " : "MISS "} ${name}${score}: ${done}`,
    `        expected: ${expected}`,
    `        seen:     ${seen}`,
  ];
  if (change !== "") lines.push(`        change:   ${change}`);
  if (inPython !== "") lines.push(`        in Python: ${inPython}`);
  return lines.join("\n");
}

/** A text for the student of one submission, which can be mailed as it is. */
export function letterFor(graded: Graded, grades: Grades): string {
  const head = [
    `Submission: ${graded.name}`,
    `Date:       ${grades.date.slice(0, 16).replace("T", " ")} UTC`,
    `Grader:     lab server ${grades.version}`,
    `Points:     ${graded.points} of ${graded.maxPoints}`,
    `Result:     ${summarize(graded)}`,
  ];
  return `${head.join("\n")}\n\n${tableOf(graded)}\n\n${
    outputOf(graded.checks)
  }\n`;
}

/** What the server printed, check by check where it missed something, else in the first one. */
function outputOf(checks: CheckResult[]): string {
  const printed = checks.filter(({ output }) => output.length > 0);
  const missed = printed.filter(({ verdict }) => verdict === "miss");
  const shown = missed.length > 0 ? missed : printed.slice(0, 1);
  if (shown.length === 0) return "The server printed nothing.";
  const blocks = shown.map(({ name, output }) => {
    return `-- ${name} ${"-".repeat(Math.max(0, WIDTH - name.length - 4))}\n${
      output.join("\n")
    }`;
  });
  return `What the server printed:\n\n${blocks.join("\n\n")}`;
}
