/**
 * What the grader finds out: of one check, of one submission, of all.
 *
 * @module
 */

/** What a check can end with. */
export type Verdict = "pass" | "miss" | "not judged";

/** The part of the grading that a check belongs to: what the lab asks for, or more than that. */
export type Part = "lab" | "beyond";

/** The end of one experiment with a server. */
export interface Outcome {
  /** Whether the server did what was expected of it. */
  readonly verdict: Verdict;
  /** What was seen, in words. */
  readonly seen: string;
  /** A word for the person that costs no points: what a client of the lab would expect; or empty. */
  readonly note: string;
  /** What to change, where this failure has an advice of its own; else empty. */
  readonly advice: string;
  /** The names of the checks whose subject a client has met, be it in the lab's words or not. */
  readonly met: readonly string[];
  /** What the server has printed, the first and the last lines of it. */
  readonly output: string[];
  /** The error that the server ended with, or the last line that it printed. */
  readonly lastWords: string;
}

/** One check of a submission, as it stands in the reports. */
export interface CheckResult {
  /** The name, which `--only` and `--points` take. */
  readonly name: string;
  /** The part that it belongs to. */
  readonly part: Part;
  /** Whether the server did what was expected of it. */
  readonly verdict: Verdict;
  /** The points that it got: all or none. */
  readonly points: number;
  /** The points that it could get. */
  readonly maxPoints: number;
  /** What was done with the server. */
  readonly done: string;
  /** What a right server does then. */
  readonly expected: string;
  /** What this server did; where it was not judged, on which check that builds, and why. */
  readonly seen: string;
  /** A word for the person that costs no points: another port, or "flush"; or empty. */
  readonly note: string;
  /** What to change, in the words of the protocol; empty unless it was a miss. */
  readonly change: string;
  /** How to change it in Python; empty unless it was a miss of a server in Python. */
  readonly inPython: string;
  /** What the server printed meanwhile. */
  readonly output: string[];
  /** The time that it took, in seconds. */
  readonly seconds: number;
}

/** One submission with all of its checks. */
export interface Graded {
  /** The name of the submission: what differs between the paths. */
  readonly name: string;
  /** The path of its script, or its command. */
  readonly path: string;
  /** The sum of the points; `null` exactly where there is trouble: that is no mark, and no zero. */
  readonly points: number | null;
  /** The sum of the points that it could get. */
  readonly maxPoints: number;
  /** Why the grader itself could not do its work; empty where it could. */
  readonly trouble: string;
  /** Its checks, in the order of the table of texts. */
  readonly checks: CheckResult[];
  /** The error that the server ended with, or the last line that it printed. */
  readonly lastWords: string;
  /** The time that it took, in seconds. */
  readonly seconds: number;
}

/** Who was expected to hand in, from a file. */
export interface Roster {
  /** All of them, in the order of the file. */
  readonly students: readonly string[];
  /** Those of them who have not handed in. */
  readonly missing: readonly string[];
  /** The names of submissions that are nobody's of these. */
  readonly unexpected: readonly string[];
}

/** The complete form of the results, which `--json` writes and every other report is made of. */
export interface Grades {
  /** The name of this form, and its version. */
  readonly schema: "lab3/grades/v2";
  /** The version of the project that has graded. */
  readonly version: string;
  /** When the grading began, as ISO 8601 has it. */
  readonly date: string;
  /** Whether each experiment had a sandbox of its own. */
  readonly isSandboxed: boolean;
  /** Who has handed in and who has not, where `--roster` says who is in the class. */
  readonly roster?: Roster;
  /** The submissions, in the order of the command line. */
  readonly submissions: Graded[];
}

/** The server did something else than what was expected. */
export class Miss extends Error {}

/** The server never accepted a client. */
export class NoServer extends Miss {}

/** The grader itself cannot do its work: a broken sandbox, say. It is no fault of the server. */
export class Trouble extends Error {}

/** It cannot be judged, or not here. */
export class NotJudged extends Error {}

/** Something is wrong with the command, and not with a server: the exit status is 2. */
export class UsageError extends Error {}

/** How many checks of a part have this verdict. */
export function count(
  checks: readonly CheckResult[],
  part: Part,
  verdict: Verdict,
): number {
  return checks.filter((check) => check.part === part && check.verdict === verdict).length;
}
