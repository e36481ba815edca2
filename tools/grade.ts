/**
 * Grades a server of the lab, in whatever language: starts it as a teacher would, visits it with
 * good and bad clients, one check after the other, and says what was done, what the lab expects,
 * what was seen, and what to change.
 *
 * ```sh
 * deno task grade python3 ../alice/server.py
 * ```
 *
 * It runs the server with the rights of the person who grades: see the README before that.
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import { dirname, resolve } from "node:path";
import { CHECK_MS, CHECKS, Grading, type Result, RUN_MS } from "./grade_checks.ts";
import { ANSWER_MS, escape, seconds, Server, START_MS } from "./grade_server.ts";

/** A wrong command line: one line, exit status 2. */
class UsageError extends Error {}

// ------------------------------------------------------------------------------ reporting --

const WIDTHS = [6, 28, 30, 34];

/** Lines of at most this width, broken at spaces where there are any. */
const wrap = (text: string, width: number) =>
  text.match(new RegExp(`.{1,${width}}(?=\\s|$)|\\S{1,${width}}`, "gu"))?.map((s) => s.trim()) ??
    [];

/** A row of the table: cells side by side, each of as many lines as it needs. */
function row(...cells: string[]): string {
  const columns = cells.map((cell, i) => wrap(cell, WIDTHS[i] - 2));
  const height = Math.max(...columns.map((lines) => lines.length));
  const line = (y: number) =>
    columns.map((lines, i) => (lines[y] ?? "").padEnd(WIDTHS[i])).join("");
  return Array.from({ length: height }, (_, y) => line(y).trimEnd()).join("\n");
}

const MARKS = { "pass": "ok", "miss": "MISS", "not tested": "-" };

function resultRow({ check, verdict, seen, fix }: Result): string {
  const lines = row(MARKS[verdict], check.done, check.expected, escape(seen));
  return fix === "" ? lines : `${lines}\n${" ".repeat(WIDTHS[0])}-> ${fix}`;
}

/** How many checks of a part have passed. */
function count(results: Result[], required: boolean): string {
  const part = results.filter(({ check }) => check.required === required);
  return `${part.filter(({ verdict }) => verdict === "pass").length}/${part.length}`;
}

/** Whether all that the lab asks for is there, as far as it could be tested here. */
const isPassed = (results: Result[], { command }: Server) =>
  results.every(({ check, verdict }) =>
    !check.required || verdict === "pass" || check.local && command.length === 0
  );

const named = (results: Result[], wanted: Result["verdict"]) =>
  results.filter(({ verdict }) => verdict === wanted).map(({ check }) => check.name).join(", ");

/** A line of CSV (RFC 4180). A cell that a spreadsheet would take for a formula gets a quote. */
export function csvLine(cells: string[]): string {
  const cell = (text: string) => {
    const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  return cells.map(cell).join(",") + "\r\n";
}

// ------------------------------------------------------------------------ the command line --

const LIMITS = [
  [START_MS, "to start"],
  [ANSWER_MS, "for a greeting or an answer"],
  [CHECK_MS, "for a check"],
  [RUN_MS, "for a server"],
].map(([ms, what]) => `${Number(ms) / 1000} ${what}`).join(", ");

const HELP = `Grades a server of the lab: what it does with good clients and with bad ones.

Usage: grade [options] COMMAND [ARGUMENT...]
       grade [options] --csv FILE INTERPRETER [OPTION...] SERVER...
       grade --port N

The command is started in the folder of its script, with the project's python/ in PYTHONPATH, where
"import pickle" speaks MessagePack. The last form visits a server that runs already: what needs its
console, its start or its end is not tested.

Options, before the command; the first word that is no option begins it:
  --port 12000     where the server listens if it does not say so
  --silence 15     seconds that a silent client may keep the next one out (with --csv: 4)
  --csv FILE       grade each of the servers as INTERPRETER SERVER: a summary, and a CSV file with
                   a row for each and a column for each check
  --help

Limits in seconds: ${LIMITS}.
Exit status: 0 if nothing that the lab asks for is missed, 1 if something is, 2 for a wrong command.
It runs other people's programs with your rights: see the README.

Examples: grade python3 ../alice/server.py
          grade --csv grades.csv python3 ../*/server.py
          grade --port 12001 ./server --port 12001`;

const DEFAULTS = { port: "12000", silence: "", csv: "" };

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/** Takes the options apart from the command, which may have options of its own. */
function parse(args: string[]) {
  const names = Object.keys(DEFAULTS);
  let at = 0;
  while (args[at]?.startsWith("-") && args[at] !== "--") {
    if (args[at] === "--help" || args[at] === "-h") return undefined;
    at += args[at].includes("=") ? 1 : 2;
  }
  const unknown = (arg: string) => {
    throw new UsageError(`Unknown option ${arg}: there are --${names.join(", --")}, --help`);
  };
  const { _, ...given } = parseArgs(args.slice(0, at), { string: names, unknown });
  const empty = Object.entries(given).find(([_, value]) => value === "");
  if (empty !== undefined) throw new UsageError(`--${empty[0]} needs a value, as --help shows`);
  const command = args.slice(args[at] === "--" ? at + 1 : at);
  if (command.length === 0 && given.port === undefined) {
    throw new UsageError(
      "Say what to grade: a command, or --port of a server that runs; see --help",
    );
  }
  return { options: { ...DEFAULTS, ...given } as typeof DEFAULTS, command };
}

function parseNumber(name: string, text: string, min: number, max: number): number {
  if (/^\d+$/.test(text) && Number(text) >= min && Number(text) <= max) return Number(text);
  throw new UsageError(`--${name} must be an integer from ${min} to ${max}, not ${text}`);
}

let current: Server | undefined; // ends with the grader

/** A grading of this command, in the folder of its script: the first file among its arguments. */
function prepare([program, ...args]: string[], options: typeof DEFAULTS, silence: string): Grading {
  const port = parseNumber("port", options.port, 1, 65535);
  const limit = parseNumber("silence", options.silence || silence, 1, 20);
  const at = args.findIndex((word) => isFile(word));
  const script = resolve(args[at] ?? program ?? "");
  const isPath = program?.includes("/"); // else it is looked for in PATH
  const command = [isPath ? resolve(program) : program, ...at < 0 ? args : args.with(at, script)];
  const cwd = isPath || at >= 0 ? dirname(script) : undefined;
  current = new Server(program === undefined ? [] : command, cwd, port);
  return new Grading(current, limit);
}

/** Grades a server with a row for each check as it ends; returns whether the lab's were passed. */
async function gradeOne(grading: Grading): Promise<boolean> {
  await grading.server.look();
  const results: Result[] = [];
  for await (const result of grading.run()) {
    const { check: { required }, verdict, seen } = result;
    const isStarted = grading.server.command.length > 0;
    if (isStarted && results.length === 0 && verdict === "not tested") throw new Error(seen);
    if (results.length === 0) {
      console.log(row("", "What was done", "What the lab expects", "What was seen"));
    }
    if (required !== results.at(-1)?.check.required) {
      console.log(required ? "\nThe lab asks for it:" : "\nBeyond the lab (not required):");
    }
    console.log(resultRow(result));
    results.push(result);
  }
  console.log(
    `\n${count(results, true)} of what the lab asks for, ${count(results, false)} beyond.`,
  );
  for (const verdict of ["miss", "not tested"] as const) {
    const names = named(results, verdict);
    if (names !== "") console.log(`${verdict === "miss" ? "Missed" : "Not tested"}: ${names}`);
  }
  return isPassed(results, grading.server);
}

/** The interpreter with its options, and the servers that come behind it. */
function parseServers(command: string[]): [interpreter: string[], scripts: string[]] {
  const first = command.findIndex((word, i) => i > 0 && isFile(word));
  if (first < 0) throw new UsageError("--csv needs an interpreter and servers, as --help shows");
  const strange = command.slice(first).find((word) => !isFile(word));
  if (strange !== undefined) throw new UsageError(`${strange} is no file: the servers come last`);
  return [command.slice(0, first), command.slice(first)];
}

/** A server's row in the CSV file. */
function csvRow(script: string, results: Result[]): string {
  const passed = (required: boolean) => count(results, required).split("/")[0];
  const remarks = results.filter(({ verdict }) => verdict !== "pass").map((
    { check, verdict, seen },
  ) => `${verdict === "miss" ? check.name : verdict}: ${seen}`);
  const verdicts = results.map(({ verdict }) => verdict);
  const cells = [script, passed(true), passed(false), ...verdicts];
  return csvLine([...cells, [...new Set(remarks)].join("\n")]);
}

/** Grades one server after the other, with a line for each, a summary and the CSV file. */
async function gradeAll(command: string[], options: typeof DEFAULTS): Promise<boolean> {
  const [interpreter, scripts] = parseServers(command);
  const names = CHECKS.map(({ name }) => name);
  await Deno.writeTextFile(
    options.csv,
    csvLine(["server", "asked", "beyond", ...names, "remarks"]),
  );
  const summary = [["asked", "beyond", "server", "missed"]];
  let allPassed = true;
  for (const [i, script] of scripts.entries()) {
    const since = performance.now();
    const start = `${i + 1}/${scripts.length} ${escape(script)}: `;
    Deno.stderr.writeSync(new TextEncoder().encode(start));
    const grading = prepare([...interpreter, script], options, "4");
    const results: Result[] = [];
    for await (const result of grading.run()) results.push(result);
    const [asked, beyond] = [count(results, true), count(results, false)];
    console.error(`${asked} of what the lab asks for, ${beyond} beyond, ${seconds(since)}`);
    await Deno.writeTextFile(options.csv, csvRow(script, results), { append: true });
    summary.push([asked, beyond, escape(script), named(results, "miss")]);
    if (!isPassed(results, grading.server)) allPassed = false;
  }
  const widths = [0, 1, 2].map((x) => Math.max(...summary.map((cells) => cells[x].length)) + 2);
  for (const cells of summary) {
    console.log(cells.map((cell, x) => cell.padEnd(widths[x] ?? 0)).join("").trimEnd());
  }
  return allPassed;
}

/** Runs the command line; returns the exit status. */
async function main(args: string[]): Promise<number> {
  const kill = () => {
    current?.signal("SIGKILL");
    Deno.exit(130);
  };
  const unix: Deno.Signal[] = Deno.build.os === "windows" ? [] : ["SIGTERM", "SIGHUP"];
  for (const signal of ["SIGINT", ...unix] as const) Deno.addSignalListener(signal, kill);
  try {
    const parsed = parse(args);
    if (parsed === undefined) {
      console.log(HELP);
      return 0;
    }
    const { options, command } = parsed;
    const isPassed = options.csv === ""
      ? await gradeOne(prepare(command, options, "15"))
      : await gradeAll(command, options);
    return isPassed ? 0 : 1;
  } catch (error) {
    console.error(escape(error instanceof Error ? error.message : String(error)));
    return error instanceof UsageError ? 2 : 1;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
