/**
 * The results as text: for a terminal, and for a mail to the student.
 *
 * @module
 */

import type { CheckResult, Graded, Grades, Part, Verdict } from "../outcome.ts";

/** The heading of each part. */
export const TITLES: Record<Part, string> = {
  lab: "What the lab asks for",
  beyond: "Beyond the lab (not required)",
};

/** How a line begins. What is beyond the lab is no failure. */
const MARKS: Record<Part, Record<Verdict, string>> = {
  lab: { pass: "ok", miss: "MISS", "not judged": "-" },
  beyond: { pass: "ok", miss: "no", "not judged": "-" },
};

const WIDTH = 80;
/** Names of checks in the result line that were not judged; more are counted. */
const MAX_NAMES = 3;

/** Whether a check counts: the lab asks for it, or the course gives points for it. */
export function counts({ part, maxPoints }: CheckResult): boolean {
  return part === "lab" || maxPoints > 0;
}

/** The points, or in their place that there is no mark. */
export function scoreOf({ points, maxPoints }: Graded): string {
  return points === null ? "no mark" : `${points} of ${maxPoints}`;
}

/** The result in one line: `12 of 13; lab: missed garbage; beyond: 2 of 9`. */
export function summarize(graded: Graded): string {
  if (graded.trouble !== "") return `no mark: ${graded.trouble}`;
  const { checks } = graded;
  return [scoreOf(graded), labSentence(checks), beyondSentence(checks)].filter(Boolean).join("; ");
}

function labSentence(checks: CheckResult[]): string {
  const own = checks.filter(({ part }) => part === "lab");
  const missed = namesOf(own, "miss");
  const unjudged = namesOf(own, "not judged");
  const rest = unjudged.length > MAX_NAMES ? `${unjudged.length} checks` : unjudged.join(", ");
  if (own.length === 0) return "";
  return `lab: ${missed.length === 0 ? "nothing missed" : `missed ${missed.join(", ")}`}` +
    (rest === "" ? "" : ` (not judged: ${rest})`);
}

function namesOf(checks: CheckResult[], wanted: Verdict): string[] {
  return checks.filter(({ verdict }) => verdict === wanted).map(({ name }) => name);
}

function beyondSentence(checks: CheckResult[]): string {
  const own = checks.filter(({ part }) => part === "beyond");
  return own.length === 0 ? "" : `beyond: ${namesOf(own, "pass").length} of ${own.length}`;
}

/** Who has not handed in, and which names were not expected; empty where no roster was given. */
export function rosterLines({ roster }: Pick<Grades, "roster">): string[] {
  const lines = [
    ["Not handed in", roster?.missing ?? []],
    ["Not on the roster", roster?.unexpected ?? []],
  ] as const;
  return lines.filter(([, names]) => names.length > 0).map(([what, names]) => {
    return `${what} (${names.length}): ${names.join(", ")}`;
  });
}

/** The table of one submission: what was done, expected and seen, and what to change. */
export function tableOf({ checks }: Graded): string {
  const blocks = (["lab", "beyond"] as const).flatMap((part) => {
    const own = checks.filter((check) => check.part === part);
    if (own.length === 0) return [];
    const judged = own.filter(({ verdict }) => verdict !== "not judged").map(rowOf);
    return [[`${TITLES[part]}:`, ...judged, ...unjudgedLines(own)].join("\n")];
  });
  return blocks.join("\n\n");
}

/** The checks that were not judged: a line for each reason. */
function unjudgedLines(checks: CheckResult[]): string[] {
  const unjudged = checks.filter(({ verdict }) => verdict === "not judged");
  const groups = Map.groupBy(unjudged, ({ seen }) => seen);
  return [...groups].map(([reason, group]) => {
    return `-     not judged, ${reason}: ${group.map(({ name }) => name).join(", ")}`;
  });
}

/** One check. */
export function rowOf(check: CheckResult): string {
  const { name, part, verdict, maxPoints, points } = check;
  const score = maxPoints > 0 ? ` [${points}/${maxPoints}]` : "";
  const head = `${MARKS[part][verdict].padEnd(5)} ${name}${score}: `;
  if (verdict === "not judged") return `${head}not judged, ${check.seen}`;
  const lines = [
    ["expected:  ", check.expected],
    ["seen:      ", check.seen === check.expected ? "" : check.seen],
    ["note:      ", check.note],
    ["change:    ", check.change],
    ["in Python: ", check.inPython],
  ];
  const shown = lines.filter(([, text]) => text !== "").map(([title, text]) =>
    `        ${title}${text}`
  );
  return [head + check.done, ...shown].join("\n");
}

/** A text for the student of one submission, which can be mailed as it is. */
export function letterFor(graded: Graded, grades: Grades): string {
  const head = [
    `Submission: ${graded.name}`,
    `Date:       ${minuteOf(grades)} UTC`,
    `Grader:     lab server ${grades.version}`,
    `Points:     ${scoreOf(graded)}`,
    `Result:     ${summarize(graded)}`,
  ];
  const body = graded.trouble === ""
    ? `${tableOf(graded)}\n\n${outputOf(graded.checks)}`
    : "This says nothing about your server, and it is no zero: it has to be graded again.";
  return `${head.join("\n")}\n\n${body}\n`;
}

/** When the grading began: `2026-11-27 10:00`. */
export function minuteOf({ date }: Grades): string {
  return date.slice(0, 16).replace("T", " ");
}

/** What the server printed, check by check where it missed something, else in the first one. */
function outputOf(checks: CheckResult[]): string {
  const printed = checks.filter(({ output }) => output.length > 0);
  const missed = printed.filter((check) => check.verdict === "miss" && counts(check));
  const shown = missed.length > 0 ? missed : printed.slice(0, 1);
  if (shown.length === 0) return "The server printed nothing.";
  const blocks = shown.map(({ name, output }) => {
    return `-- ${name} ${"-".repeat(Math.max(0, WIDTH - name.length - 4))}\n${output.join("\n")}`;
  });
  return `What the server printed:\n\n${blocks.join("\n\n")}`;
}
