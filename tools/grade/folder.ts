/**
 * What of a submission's folder its server may see: its own files, and nobody else's.
 *
 * @module
 */

import { lstatSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join, relative } from "node:path";
import { printable } from "../shared/text.ts";
import { isWithin } from "./installation.ts";
import type { Submission } from "./submission.ts";

/** What of a folder is copied for each experiment, in bytes. */
const MAX_COPIED_BYTES = 64 * 2 ** 20;
/** What an entry of a folder counts, so that many small files are too much, too. */
const BYTES_PER_ENTRY = 16 * 2 ** 10;

/** The file that a submission is; its folder where its command names no file in it. */
export function scriptOf({ command, folder }: Submission): string {
  return command.findLast((word) => dirname(word) === folder) ?? folder;
}

/** Whether other submissions are in the folder of this one: then it sees its own file alone. */
export function sharesFolder(submission: Submission, all: readonly Submission[]): boolean {
  const own = scriptOf(submission);
  const scripts = all.map(scriptOf).filter((script) => script !== own);
  return scripts.some((script) => isWithin(script, [submission.folder]));
}

/**
 * Where the code of a submission really is, if a link leads out of its folder to it: that may be
 * somebody else's. Links above the folder that all submissions have in common are the teacher's.
 */
export function codeElsewhere(
  submission: Submission,
  all: readonly Submission[],
): string | undefined {
  const { command, folder } = submission;
  let common = all.length === 1 ? dirname(folder) : folder;
  while (!all.every((one) => isWithin(one.folder, [common]))) common = dirname(common);
  const ownFolder = join(realpathSync(common), relative(common, folder));
  const files = command.filter((word) => dirname(word) === folder);
  const real = [folder, ...files].map((path) => realpathSync(path));
  const elsewhere = real.find((path) => !isWithin(path, [ownFolder]));
  return elsewhere && printable(elsewhere);
}

/** The entries of a folder that are left when the smaller ones have been copied. */
export function largeEntries(folder: string): string[] {
  const sizes = readdirSync(folder).map((name) => ({ name, size: sizeOf(join(folder, name)) }));
  let left = MAX_COPIED_BYTES;
  return sizes.sort((one, other) => one.size - other.size)
    .filter(({ size }) => (left -= size) < 0)
    .map(({ name }) => name);
}

/** The size of a file, or of all in a folder; no more than what is too large is counted. */
function sizeOf(path: string): number {
  const status = lstatSync(path);
  if (!status.isDirectory()) return status.size + BYTES_PER_ENTRY;
  let size = BYTES_PER_ENTRY;
  for (const name of namesIn(path)) {
    if (size > MAX_COPIED_BYTES) break;
    size += sizeOf(join(path, name));
  }
  return size;
}

/** What is in a folder; nothing where this user may not look. */
function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/**
 * What the person who grades should know about the folders of the submissions. `home` is that
 * person's home folder.
 */
export function warningsAbout(
  submissions: readonly Submission[],
  home = homedir(),
): string[] {
  const all = submissions.filter(({ command }) => command.length > 0);
  const personal = personalFolders(home);
  const warnings = all.flatMap((submission) => {
    const { folder, name } = submission;
    const path = printable(folder);
    if (sharesFolder(submission, all)) {
      return `There are several submissions in ${path}: each sees its own file alone`;
    }
    if (!personal.includes(folder)) return [];
    return `${name} can read all that is in ${path}: put it into a folder of its own`;
  });
  return [...new Set(warnings)];
}

/** The home folder, and those in it that a desktop makes: `Downloads`, in any language. */
function personalFolders(home: string): string[] {
  const usual = ["Desktop", "Documents", "Downloads"].map((name) => join(home, name));
  try {
    const text = readFileSync(join(home, ".config", "user-dirs.dirs"), "utf-8");
    const named = [...text.matchAll(/^XDG_\w+="\$HOME\/(.+)"$/gm)];
    return [home, ...usual, ...named.map(([, name]) => join(home, name))];
  } catch {
    return [home, ...usual];
  }
}
