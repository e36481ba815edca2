/**
 * What submissions are called in every report: the student's part of their paths.
 *
 * @module
 */

import { basename, relative, resolve } from "node:path";

/** Moodle adds this to the name of each student's folder. */
const MOODLE_SUFFIX = /_assignsubmission_file_?$/;

/** What differs between these paths; of a single one, the folder, or the file if it is here. */
export function namesOf(files: string[]): string[] {
  const paths = files.map((file) =>
    relative(Deno.cwd(), resolve(file)).split(/[\\/]/)
  );
  if (paths.length === 1) {
    const [folder] = paths[0].slice(-2);
    return [(folder === ".." ? basename(files[0]) : folder)
      .replace(MOODLE_SUFFIX, "")];
  }
  const shortest = Math.min(...paths.map((path) => path.length));
  const isCommon = (at: number) =>
    paths.every((path) => path.at(at) === paths[0].at(at));
  let first = 0;
  while (first < shortest - 1 && isCommon(first)) first++;
  let last = 1;
  while (last < shortest - first && isCommon(-last)) last++;
  return paths.map((path) => {
    const differing = path.slice(first, path.length - last + 1);
    return differing.map((part) => part.replace(MOODLE_SUFFIX, "")).join("/");
  });
}
