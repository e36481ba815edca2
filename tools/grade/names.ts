/**
 * What submissions are called in every report: the student's part of their paths.
 *
 * @module
 */

import { basename, dirname, extname, relative, resolve } from "node:path";
import { printable } from "../shared/text.ts";

/** What a path says about the student who has handed it in. */
export interface Student {
  /** The student's name, as the learning platform writes it. */
  readonly name: string;
  /** The number that tells two students of the same name apart. */
  readonly id: string;
}

/** How learning platforms name the files and folders that a teacher downloads. */
const PLATFORMS: readonly {
  readonly platform: string;
  readonly pattern: RegExp;
}[] = [
  {
    platform: "Moodle",
    pattern: /^(?<name>.+)_(?<id>\d+)_assignsubmission_file(_|$)/,
  },
  {
    platform: "Canvas, anonymous",
    pattern: /^(LATE_)?(?<name>anon_(?<id>[^_]+))_\d+_./,
  },
  { platform: "Canvas", pattern: /^(?<name>.+?)(_LATE)?_(?<id>\d+)_\d+_./ },
];

/** The student whom a path names, where a learning platform has made the path. */
export function studentOf(path: string): Student | undefined {
  for (const part of path.split(/[\\/]/).reverse()) {
    for (const { pattern } of PLATFORMS) {
      const groups = pattern.exec(part)?.groups;
      if (groups) return { name: printable(groups.name), id: groups.id };
    }
  }
  return undefined;
}

/**
 * The names of these files, each once: the student's name where a learning platform has put it into
 * the path, with the number behind it where two students have the same; else what differs between
 * the paths.
 */
export function namesOf(files: string[]): string[] {
  const parts = files.length === 1 ? [endOf(files[0])] : differingParts(files);
  const students = parts.map(studentOf);
  const names = students.map((student) => student?.name);
  const numbered = students.map((student) => student && `${student.name}_${student.id}`);
  const others = files.length === 1 ? [folderOf(parts[0])] : withoutCommonEnding(parts);
  return others.map((other, index) => {
    return onlyOne(names, index) ?? onlyOne(numbered, index) ?? printable(other);
  });
}

/** The text at this place, unless it is at another one, too. */
function onlyOne(texts: (string | undefined)[], index: number): string | undefined {
  const isTwice = texts.filter((text) => text === texts[index]).length > 1;
  return isTwice ? undefined : texts[index];
}

function partsOf(path: string): string[] {
  return relative(Deno.cwd(), resolve(path)).split(/[\\/]/);
}

/** The folder and the file. */
function endOf(path: string): string {
  return partsOf(path).slice(-2).join("/");
}

/** The folder; the file where the path does not name its folder. */
function folderOf(path: string): string {
  const folder = dirname(path);
  return [".", ".."].includes(folder) ? basename(path) : folder;
}

/** These paths without what they have in common at their beginning and at their end. */
function differingParts(files: string[]): string[] {
  const paths = files.map(partsOf);
  const shortest = Math.min(...paths.map((path) => path.length));
  const isCommon = (at: number) => paths.every((path) => path.at(at) === paths[0].at(at));
  let first = 0;
  while (first < shortest - 1 && isCommon(first)) first++;
  let last = 1;
  while (last < shortest - first && isCommon(-last)) last++;
  return paths.map((path) => path.slice(first, path.length - last + 1).join("/"));
}

/** `alice` for `alice.py`, where all are files of one language in one folder. */
function withoutCommonEnding(parts: string[]): string[] {
  const ending = extname(parts[0]);
  const isCommon = parts.every((part) => extname(part) === ending && !part.includes("/"));
  return isCommon ? parts.map((part) => basename(part, ending)) : parts;
}
