/**
 * The submissions of a command line: which files they are, what they are called, and how each is
 * started.
 *
 * @module
 */

import { globSync, type Stats, statSync } from "node:fs";
import { delimiter, dirname, resolve } from "node:path";
import { namesOf } from "./names.ts";
import { UsageError } from "./outcome.ts";

/** One server to grade. */
export interface Submission {
  /** What differs between its path and those of the others. */
  readonly name: string;
  /** The path of its script as it stands in the command, or the whole command. */
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
 * The submissions that a command names: one for each of the files at its end, or one if it has other
 * words there.
 *
 * @throws {UsageError} When a file or the program is not there.
 */
export function submissionsOf(words: string[]): Submission[] {
  const command = words.flatMap(expandStars);
  const lost = command.find((word) => FILE_WORD.test(word) && !exists(word));
  if (lost !== undefined) throw new UsageError(`There is no file ${lost}`);
  findProgram(command[0]);
  const begin = command.findLastIndex((word, index) => index === 0 || !isFile(word)) + 1;
  const [start, files] = [command.slice(0, begin), command.slice(begin)];
  if (files.length === 0) {
    return [submissionOf(command, command.join(" "), nameOf(command))];
  }
  const names = namesOf(files);
  return files.map((file, index) => submissionOf([...start, file], file, names[index]));
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
  const isOwn = /[\\/]/.test(words[0]) && args.every((word) => !isFile(word));
  const script = isOwn ? program : args.findLast(isFile);
  const command = [/[\\/]/.test(words[0]) ? program : words[0], ...args];
  return { name, path, command, folder: script ? dirname(script) : Deno.cwd() };
}

function nameOf(command: string[]): string {
  const file = command.findLast(isFile);
  return file === undefined ? command[0] : namesOf([file])[0];
}
