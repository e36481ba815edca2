/**
 * The command line of the grader.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { type Part, type Roster, UsageError } from "./outcome.ts";
import { compareWithRoster, readRoster } from "./roster.ts";
import { wrap } from "../shared/text.ts";
import { type Submission, submissionsOf } from "./submission.ts";
import { CHECKS, type CheckText } from "./texts.ts";

/** Of the lines of `--help`, and of the names of the checks in it. */
const [WIDTH, NAME_WIDTH] = [100, 21];
const DEFAULT_PORT = 12000;
/** Ten seconds are the limit of the project's own server; many a student waits as long. */
const DEFAULT_SILENCE = 15;
const MAX_SILENCE = 40;

/** A file that a report is written to, by the name of its option. */
export type ReportFiles = Partial<Record<ReportName, string>>;
/** The reports that are files. */
export type ReportName = "csv" | "json" | "out" | "gradescope" | "junit" | "classroom50";

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
  /** Whether nothing may run without a sandbox. */
  readonly needsSandbox: boolean;
  /** Who has handed in and who has not, where it is said who is in the class. */
  readonly roster?: Roster;
  /** The reports that are written to files. */
  readonly files: ReportFiles;
}

/** The text of `--help`. */
export const HELP = `Grades servers of the lab: what they do with good clients and with bad ones.

  grade [options] python3 ../alice/server.py            one server, by any command
  grade [options] python3 ../submissions/*/server.py    many: each file at the end is one
  grade [options] --port 12000                          a server that runs already

Each server is started in the folder of its file, where "import pickle" speaks MessagePack (lab/).

  --out DIR              a text for each submission, ready to be mailed, and DIR/index.html
  --csv grades.csv       a row for each submission: name,points,max and all checks
  --roster FILE          names or ids of the class, one in each line: who has not handed in
  --json grades.json     everything; - is standard output
  --junit report.xml     for GitLab, Jenkins and other programs
  --gradescope results.json, --classroom50 result.json       for one submission

  --points "garbage=2,two pieces=1"    points of a check; else 1 for the lab's, 0 beyond it
  --only "greets,garbage"              these checks only
  --advice "one at a time=See week 5"  your words, behind what this check says to change
  --port 12000           where a server listens if it does not say so
  --silence ${DEFAULT_SILENCE}           seconds that a silent client may keep the next one out
  --jobs ${availableParallelism()}               submissions that are graded side by side, each in a sandbox
  --expose PATH          what else the servers may read in the sandbox: an interpreter, packages
  --require-sandbox      grade nothing where there can be no sandbox

Sandboxes need Linux and bubblewrap: a server has no network and sees none of your files. Without
them it runs with your rights. Exit status: 0 if nothing that the lab asks for is missed, or with
--classroom50; 1 if something is, or where a sandbox is required and there is none; 2 for a wrong
command; 3 if the grader itself has failed: such a submission has no mark, which is not zero.

The lab's text asks for these:
${checksOf("lab")}

These are beyond the lab: nobody has to, and a server without them is right.
${checksOf("beyond")}`;

/** The checks of a part, each with what is done and what a right server does then. */
function checksOf(part: Part): string {
  const own = CHECKS.filter((check) => check.part === part);
  const lines = own.flatMap(({ name, done, expected }) => {
    const words = wrap(`${done}: ${expected}`, WIDTH - NAME_WIDTH - 2);
    return words.map((line, index) => `  ${(index === 0 ? name : "").padEnd(NAME_WIDTH)}${line}`);
  });
  return lines.join("\n");
}

const OPTIONS = {
  "advice": { type: "string", multiple: true },
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
  "require-sandbox": { type: "boolean" },
  "roster": { type: "string" },
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
  const handedIn = command.length > 0 ? submissionsOf(command) : [runningServer()];
  const checks = withAdvice(readOnly(values.only), values.advice ?? []);
  const points = readPoints(values.points, checks);
  refuseWrongNumber(files, handedIn, [...points.values()]);
  return {
    ...withRoster(handedIn, values.roster),
    checks,
    points,
    port: readNumber("port", values.port, DEFAULT_PORT, 1, 65535),
    silence: readNumber("silence", values.silence, DEFAULT_SILENCE, 1, MAX_SILENCE),
    jobs: readNumber("jobs", values.jobs, availableParallelism(), 1, 64),
    needsSandbox: values["require-sandbox"] ?? false,
    exposed: (values.expose ?? []).map(readPath),
    files,
  };
}

/** Where the command begins: at the first word that is neither an option nor the value of one. */
function firstOfCommand(args: string[]): number {
  const lenient = { strict: false, allowPositionals: true, tokens: true } as const;
  const { tokens } = parseArgs({ args, options: OPTIONS, ...lenient });
  return tokens.find(({ kind }) => kind === "positional")?.index ?? args.length;
}

function parseStrictly(args: string[]) {
  try {
    const { values, tokens } = parseArgs({ args, options: OPTIONS, strict: true, tokens: true });
    const names = tokens.flatMap((token) => token.kind === "option" ? token.name : []);
    const twice = names.find((name, index) => {
      return names.indexOf(name) < index && !("multiple" in OPTIONS[name]);
    });
    if (twice !== undefined) throw new Error(`--${twice} is there twice`);
    return { values };
  } catch (error) {
    throw new UsageError((error as Error).message.split(/\.? To specify|\n/)[0]);
  }
}

function runningServer(): Submission {
  return { name: "the server that runs", path: "", command: [], folder: Deno.cwd() };
}

/** An option of the grader behind the command would be one of the server's. */
function refuseLateOption(command: string[]): void {
  const own = Object.keys(OPTIONS).filter((name) => !["help", "port"].includes(name));
  const late = command.find((word) => own.some((name) => word === `--${name}`));
  if (late !== undefined) throw new UsageError(`${late} has to come before the command`);
}

function readFiles(values: Record<string, unknown>): ReportFiles {
  const files: ReportFiles = {};
  for (const [name, example] of Object.entries(ENDINGS)) {
    const path = values[name];
    if (path === undefined) continue;
    const ending = example.slice(example.indexOf("."));
    const isRight = String(path).endsWith(ending) || name === "json" && path === "-";
    if (!isRight) throw new UsageError(`--${name} needs a name: ${example}`);
    files[name as ReportName] = String(path);
  }
  if (values.out !== undefined) files.out = String(values.out);
  if (files.out === "") throw new UsageError("--out needs the name of a folder");
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
  if (number >= min && number <= max && (Number.isInteger(number) || name === "silence")) {
    return number;
  }
  throw new UsageError(`--${name} must be from ${min} to ${max}`);
}

function readName(option: string, text: string): string {
  const name = text.trim();
  if (CHECKS.some((check) => check.name === name)) return name;
  throw new UsageError(`${option}: there is no check ${name || "without a name"}, see --help`);
}

function readOnly(text: string | undefined): CheckText[] {
  if (text === undefined) return CHECKS;
  const names = text.split(",").map((name) => readName("--only", name));
  return CHECKS.filter(({ name }) => names.includes(name));
}

/** The points of these checks: one for each of the lab's, none beyond it, or as this text says. */
function readPoints(text: string | undefined, checks: CheckText[]): Map<string, number> {
  const points = new Map(checks.map(({ name, part }) => [name, part === "lab" ? 1 : 0]));
  for (const pair of text === undefined ? [] : text.split(",")) {
    const [check, value = ""] = pair.split("=");
    const number = Number(value || NaN);
    if (!(number >= 0 && number <= 1000)) {
      throw new UsageError(`--points: "${pair.trim()}" must be like "garbage=2", from 0 to 1000`);
    }
    const name = readName("--points", check);
    if (!points.has(name)) throw new UsageError(`--points: ${name} is not among --only`);
    points.set(name, number);
  }
  return points;
}

/** The checks, with words of the course's behind what they say to change. */
function withAdvice(checks: CheckText[], texts: string[]): CheckText[] {
  const advice = new Map(texts.map((text) => {
    const [, check, words] = /^([^=]*)=(.*\S.*)$/.exec(text) ?? [];
    if (words !== undefined) return [readName("--advice", check), words.trim()];
    throw new UsageError(`--advice: "${text}" must be like "garbage=See week 5"`);
  }));
  return checks.map((check) => {
    const words = advice.get(check.name);
    return words === undefined ? check : { ...check, change: `${check.change} ${words}` };
  });
}

function withRoster(submissions: Submission[], path: string | undefined) {
  return path === undefined ? { submissions } : compareWithRoster(readRoster(path), submissions);
}

/** Two reports are made for one submission, and one of them has no fractions. */
function refuseWrongNumber(files: ReportFiles, submissions: Submission[], points: number[]): void {
  const single = (["gradescope", "classroom50"] as const).find((name) => files[name] !== undefined);
  if (single !== undefined && submissions.length > 1) {
    throw new UsageError(`--${single} is for one submission, and here are ${submissions.length}`);
  }
  if (files.classroom50 !== undefined && !points.every(Number.isInteger)) {
    throw new UsageError("--classroom50 needs whole numbers as --points");
  }
}
