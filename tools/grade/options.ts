/**
 * The command line of the grader.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { UsageError } from "./outcome.ts";
import { type Submission, submissionsOf } from "./submission.ts";
import { CHECKS, type CheckText } from "./texts.ts";

const DEFAULT_PORT = 12000;
/** Ten seconds are the limit of the project's own server; many a student waits as long. */
const DEFAULT_SILENCE = 15;
const MAX_SILENCE = 40;

/** A file that a report is written to, by the name of its option. */
export type ReportFiles = Partial<Record<ReportName, string>>;
/** The reports that are files. */
export type ReportName =
  | "csv"
  | "json"
  | "out"
  | "gradescope"
  | "junit"
  | "classroom50";

/** What a command line asks for. */
export interface Options {
  /** What is graded. */
  readonly submissions: Submission[];
  /** The checks that are made, in the order of the table. */
  readonly checks: CheckText[];
  /** The points of each check, by name. */
  readonly points: Map<string, number>;
  /** Where a server listens if it does not say so. */
  readonly port: number;
  /** How long a silent client may keep the next one out, in seconds. */
  readonly silence: number;
  /** How many submissions are graded side by side. */
  readonly jobs: number;
  /** Further paths that the submissions may read. */
  readonly exposed: string[];
  /** The reports that are written to files. */
  readonly files: ReportFiles;
}

/** The text of `--help`. */
export const HELP =
  `Grades servers of the lab: what they do with good clients and with bad ones.

  grade [options] python3 ../alice/server.py      one server, by any command
  grade [options] python3 ../*/server.py          many: each file at the end is a submission
  grade [options] --port 12000                    a server that runs already

Each server is started in the folder of its file, where "import pickle" speaks MessagePack (lab/).

  --out DIR              a text for each submission, ready to be mailed, and DIR/index.html
  --csv grades.csv       a row for each submission
  --json grades.json     everything; - is standard output
  --junit report.xml     for GitLab, Jenkins and other programs
  --gradescope results.json, --classroom50 result.json       for one submission

  --points "garbage=2,two pieces=1"    points of a check; else 1 for the lab's, 0 beyond it
  --only "greets,garbage"              these checks only
  --port 12000           where a server listens if it does not say so
  --silence ${DEFAULT_SILENCE}           seconds that a silent client may keep the next one out
  --jobs ${availableParallelism()}               submissions that are graded side by side, each in a sandbox
  --expose PATH          what else the servers may read in the sandbox: an interpreter, packages

Sandboxes need Linux and bubblewrap: a server has no network and sees none of your files. Without
them it runs with your rights. Exit status: 0 if nothing that the lab asks for is missed, or with
--classroom50; 1 if something is; 2 for a wrong command. The checks are:
${
    CHECKS.map(({ name }) => name).join(", ").replace(/(.{70}[^,]*,) /g, "$1\n")
  }`;

const OPTIONS = {
  "classroom50": { type: "string" },
  "csv": { type: "string" },
  "expose": { type: "string", multiple: true },
  "gradescope": { type: "string" },
  "help": { type: "boolean", short: "h" },
  "jobs": { type: "string" },
  "json": { type: "string" },
  "junit": { type: "string" },
  "only": { type: "string" },
  "out": { type: "string" },
  "points": { type: "string" },
  "port": { type: "string" },
  "silence": { type: "string" },
} as const;

/** How the name of each file must end. */
const ENDINGS = {
  csv: "grades.csv",
  json: "grades.json",
  junit: "report.xml",
  gradescope: "results.json",
  classroom50: "result.json",
};

/**
 * Reads a command line: options first, then a command, which has options of its own.
 *
 * @returns Nothing where it asks for `--help`.
 * @throws {UsageError} When something is wrong with it.
 */
export function readOptions(words: string[]): Options | undefined {
  const begin = firstOfCommand(words);
  const { values } = parseStrictly(words.slice(0, begin));
  if (values.help) return undefined;
  const command = words.slice(begin);
  if (command.length === 0 && values.port === undefined) {
    throw new UsageError("Name a command or a --port");
  }
  refuseLateOption(command);
  const files = readFiles(values);
  const submissions = command.length > 0
    ? submissionsOf(command)
    : [runningServer()];
  const points = readPoints(values.points);
  refuseWrongNumber(files, submissions, [...points.values()]);
  return {
    submissions,
    checks: readOnly(values.only),
    points,
    port: readNumber("port", values.port, DEFAULT_PORT, 1, 65535),
    silence: readNumber(
      "silence",
      values.silence,
      DEFAULT_SILENCE,
      1,
      MAX_SILENCE,
    ),
    jobs: readNumber("jobs", values.jobs, availableParallelism(), 1, 64),
    exposed: (values.expose ?? []).map(readPath),
    files,
  };
}

/** Where the command begins: at the first word that is neither an option nor the value of one. */
function firstOfCommand(args: string[]): number {
  const lenient = {
    strict: false,
    allowPositionals: true,
    tokens: true,
  } as const;
  const { tokens } = parseArgs({ args, options: OPTIONS, ...lenient });
  return tokens.find(({ kind }) => kind === "positional")?.index ?? args.length;
}

function parseStrictly(args: string[]) {
  try {
    return parseArgs({ args, options: OPTIONS, strict: true });
  } catch (error) {
    throw new UsageError(
      (error as Error).message.split(/\.? To specify|\n/)[0],
    );
  }
}

function runningServer(): Submission {
  return {
    name: "the server that runs",
    path: "",
    command: [],
    folder: Deno.cwd(),
  };
}

/** An option of the grader behind the command would be one of the server's. */
function refuseLateOption(command: string[]): void {
  const late = command.find((word) => {
    return Object.keys(ENDINGS).includes(word.slice(2)) ||
      ["--out", "--points"].includes(word);
  });
  if (late !== undefined) {
    throw new UsageError(`${late} has to come before the command`);
  }
}

function readFiles(values: Record<string, unknown>): ReportFiles {
  const files: ReportFiles = {};
  for (const [name, example] of Object.entries(ENDINGS)) {
    const path = values[name];
    if (path === undefined) continue;
    const ending = example.slice(example.indexOf("."));
    const isRight = String(path).endsWith(ending) ||
      name === "json" && path === "-";
    if (!isRight) throw new UsageError(`--${name} needs a name: ${example}`);
    files[name as ReportName] = String(path);
  }
  if (values.out !== undefined) files.out = String(values.out);
  if (files.out === "") {
    throw new UsageError("--out needs the name of a folder");
  }
  return files;
}

function readPath(path: string): string {
  try {
    return Deno.realPathSync(resolve(path));
  } catch {
    throw new UsageError(`--expose: there is no ${path}`);
  }
}

function readNumber(
  name: string,
  text: string | undefined,
  usual: number,
  min: number,
  max: number,
) {
  const number = text === undefined ? usual : Number(text || NaN);
  if (
    number >= min && number <= max &&
    (Number.isInteger(number) || name === "silence")
  ) {
    return number;
  }
  throw new UsageError(`--${name} must be from ${min} to ${max}`);
}

function readName(option: string, text: string): string {
  const name = text.trim();
  if (CHECKS.some((check) => check.name === name)) return name;
  throw new UsageError(
    `${option}: there is no check ${name || "without a name"}, see --help`,
  );
}

function readOnly(text: string | undefined): CheckText[] {
  if (text === undefined) return CHECKS;
  const names = text.split(",").map((name) => readName("--only", name));
  return CHECKS.filter(({ name }) => names.includes(name));
}

/** The points of all checks: one for each of the lab's, none beyond it, or as this text says. */
function readPoints(text: string | undefined): Map<string, number> {
  const points = new Map(
    CHECKS.map(({ name, part }) => [name, part === "lab" ? 1 : 0]),
  );
  for (const pair of text === undefined ? [] : text.split(",")) {
    const [name, value = ""] = pair.split("=");
    const number = Number(value || NaN);
    if (!(number >= 0 && number <= 1000)) {
      throw new UsageError(
        `--points: "${pair.trim()}" must be like "garbage=2", from 0 to 1000`,
      );
    }
    points.set(readName("--points", name), number);
  }
  return points;
}

/** Two reports are made for one submission, and one of them has no fractions. */
function refuseWrongNumber(
  files: ReportFiles,
  submissions: Submission[],
  points: number[],
): void {
  const single = (["gradescope", "classroom50"] as const).find((name) =>
    files[name] !== undefined
  );
  if (single !== undefined && submissions.length > 1) {
    throw new UsageError(
      `--${single} is for one submission, and here are ${submissions.length}`,
    );
  }
  if (files.classroom50 !== undefined && !points.every(Number.isInteger)) {
    throw new UsageError("--classroom50 needs whole numbers as --points");
  }
}
