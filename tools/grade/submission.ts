/**
 * The submissions of a command line: which files they are, what they are called, and how each is
 * started.
 *
 * @module
 */

import { globSync, type Stats, statSync } from "node:fs";
import { delimiter, dirname, extname, resolve } from "node:path";
import { namesOf } from "./names.ts";
import { UsageError } from "./outcome.ts";
import { printable } from "../shared/text.ts";

/** One server to grade. */
export interface Submission {
  /** What differs between its path and those of the others. */
  readonly name: string;
  /** The path of its script as it stands in the command, or the whole command, for people. */
  readonly path: string;
  /** The program and its arguments; files have their absolute paths. Empty: it runs already. */
  readonly command: string[];
  /** The folder of its script: the server is started in it. */
  readonly folder: string;
}

/** Programs for which the grader knows how to change something. */
const PYTHON = /(^|[\\/])(python|pypy)[\d.w]*(\.exe)?$|\.pyw?$/i;

/** A word that can only be meant as the name of a file. */
const FILE_WORD = /^[^-].*[\\/].*\.\w+$/;

/** What is at this path; nothing, too, where this user may not look. */
function statusOf(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch {
    return undefined;
  }
}

/** Whether there is a file, and no folder, of this name. */
export function isFile(path: string): boolean {
  return statusOf(path)?.isFile() ?? false;
}

/** Whether a server with this command is written in Python. */
export function isPython({ command }: Submission): boolean {
  return command.some((word) => PYTHON.test(word));
}

/**
 * The submissions that a command names: one for each of the files at its end, or one if there is a
 * single file, with or without words behind it. A list of which a part is no file is refused: taken
 * for something else it would give one student's mark to another.
 *
 * @throws {UsageError} When a file or the program is not there, or when the list is no list.
 */
export function submissionsOf(words: string[]): Submission[] {
  const command = words.flatMap(expandStars);
  const lost = command.find((word) => FILE_WORD.test(word) && !exists(word));
  if (lost !== undefined) throw new UsageError(`There is no file ${lost}`);
  refuseScript(command[0], findProgram(command[0]));
  const firstFile = command.findIndex((word, index) => index > 0 && isFile(word));
  if (firstFile < 0) return [submissionOf(command, command.join(" "), command[0])];
  const rest = command.slice(firstFile);
  refusePartialList(rest);
  if (!rest.every(isFile)) return [submissionOf(command, command.join(" "), namesOf([rest[0]])[0])];
  const names = namesOf(rest);
  const start = command.slice(0, firstFile);
  return rest.map((file, index) => submissionOf([...start, file], file, names[index]));
}

/** A file that the system cannot run needs a program before it. */
function refuseScript(word: string, path: string): void {
  const isProgram = Deno.build.os === "windows" || ((statusOf(path)?.mode ?? 0) & 0o111) !== 0;
  if (isProgram) return;
  throw new UsageError(
    `${word} is no program: name the one that runs it before it (python3 ${word})`,
  );
}

/** Words from the first file on: either all are files of one kind, or the others are arguments. */
function refusePartialList(words: string[]): void {
  const [first, ...others] = words;
  const kind = extname(first);
  for (const word of others) {
    if (statusOf(word)?.isDirectory()) {
      throw new UsageError(`${word} is a folder: name the file in it that is the server`);
    }
    const isLost = !isFile(word) && kind !== "" && word.endsWith(kind);
    if (isLost) throw new UsageError(`There is no file ${word}`);
  }
  const files = words.filter(isFile);
  const stray = words.find((word) => !isFile(word));
  if (files.length > 1 && stray !== undefined) {
    throw new UsageError(`${stray} is no file, and stands among ${files.length} files to grade`);
  }
  const other = files.find((file) => extname(file) !== kind);
  if (other !== undefined) {
    throw new UsageError(
      `${first} and ${other} are files of two kinds: one program does not run both`,
    );
  }
}

function exists(path: string): boolean {
  return statusOf(path) !== undefined;
}

/** Files for a pattern with stars: the command lines of Windows leave that to the programs. */
function expandStars(word: string): string[] {
  if (!word.includes("*") || exists(word)) return [word];
  const files = globSync(word).sort();
  if (files.length === 0) throw new UsageError(`There is no file ${word}`);
  return files;
}

/** The path of a program, as the system would find it. */
export function findProgram(program: string): string {
  const endings = ["", ...(Deno.env.get("PATHEXT") ?? "").split(";")];
  const isPath = /[\\/]/.test(program);
  const folders = isPath ? [""] : (Deno.env.get("PATH") ?? "").split(delimiter);
  for (const folder of folders) {
    for (const ending of endings) {
      const path = resolve(folder, program + ending);
      if (isFile(path)) return path;
    }
  }
  const where = isPath ? "" : " on this machine's PATH";
  throw new UsageError(`There is no program ${program}${where}`);
}

function submissionOf(words: string[], path: string, name: string): Submission {
  const [program, ...args] = words.map((word) => exists(word) ? resolve(word) : word);
  const isOwn = /[\\/]/.test(words[0]) && !args.some(isFile);
  const script = isOwn ? program : args.findLast(isFile);
  const command = [/[\\/]/.test(words[0]) ? program : words[0], ...args];
  const folder = script ? dirname(script) : Deno.cwd();
  return { name, path: printable(path), command, folder };
}
