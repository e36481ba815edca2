/**
 * What a sandbox needs of the folders that it hides: the programs that students and teachers install
 * in their home folders.
 *
 * @module
 */

import { readlinkSync, realpathSync } from "node:fs";
import { homedir } from "node:os";
import { basename, dirname, isAbsolute, relative, resolve } from "node:path";

/** Folders of the system. A sandbox has them, read-only, and nothing else of the machine. */
export const SYSTEM_FOLDERS = [
  "/usr",
  "/bin",
  "/sbin",
  "/lib",
  "/lib32",
  "/lib64",
  "/libx32",
  "/etc",
  "/opt",
  "/nix",
];

/** Folders of programs, within the folder of an installation. */
const PROGRAM_FOLDERS = ["bin", ".bin", "shims"];

/** Whether a path is in one of these folders, or is one of them. */
export function isWithin(path: string, folders: readonly string[]): boolean {
  return folders.some((folder) => {
    const way = relative(folder, path);
    return !isAbsolute(way) && !/^\.\.($|[\\/])/.test(way);
  });
}

/**
 * What a program needs outside the system's folders: for it, and for each link on the way to it, the
 * installation that it is a part of. That is the folder above `bin` (`~/.nvm/versions/node/v22` for
 * `~/.nvm/versions/node/v22/bin/node`), or `bin` itself where the folder above is the home folder or
 * holds the data of all programs (`~/.local`). A folder that holds one of the paths in `kept`, which
 * must stay out of sight, is no installation. `--expose` names what this does not find. `home` is the
 * home folder.
 */
export function installationsOf(
  program: string,
  kept: readonly string[],
  home = homedir(),
): string[] {
  const found = new Set<string>();
  for (const path of linksOf(program)) {
    if (!isWithin(path, SYSTEM_FOLDERS)) found.add(installationOf(path, kept, home));
  }
  return [...found];
}

function linksOf(program: string): string[] {
  const paths = [program];
  for (let path = program; isLink(path);) {
    path = resolve(dirname(path), readlinkSync(path));
    paths.push(path);
  }
  return [...paths, realpathSync(program)];
}

function isLink(path: string): boolean {
  return Deno.lstatSync(path).isSymlink;
}

function installationOf(path: string, kept: readonly string[], home: string): string {
  const folder = dirname(path);
  const above = dirname(folder);
  const isShared = [home, `${home}/.local`, "/"].includes(above);
  const isBin = PROGRAM_FOLDERS.includes(basename(folder)) && !isShared;
  const holdsNothingElse = (whole: string) => !kept.some((one) => isWithin(one, [whole]));
  return (isBin ? [above, folder] : [folder]).find(holdsNothingElse) ?? path;
}
