/**
 * What a sandbox has and what it limits, as options of bubblewrap (`bwrap`).
 *
 * In a sandbox are the system's programs, the interpreter of the submission and the grader, all
 * read-only, and a scratch copy of the submission's folder. There is no home folder, no other
 * submission, and no network but a loopback that nobody else has. The number of processes, the
 * memory of each, and the size of what it writes are limited. All processes end with the sandbox.
 *
 * @module
 */

import { readdirSync, readFileSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, isAbsolute, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { ROOT, TOOLS_FLAGS } from "../shared/config.ts";
import { installationsOf, isWithin, SYSTEM_FOLDERS } from "./installation.ts";
import { findProgram, type Submission } from "./submission.ts";

/** Where a sandbox has the scratch copy of the submission's folder. */
export const SCRATCH = "/submission";
/** Where it has the lab's `pickle.py`: a traceback does not show the folders of the teacher. */
export const LAB = "/lab";
/** Where it has the folder itself, read-only, to copy from. */
export const ORIGINAL = "/original";

/** Bytes that a submission may write: in its folder, and as much in /tmp and /dev/shm. */
const DISK_BYTES = 128 * 2 ** 20;
/** Memory of one process of a submission, in bytes. */
const MEMORY_BYTES = 1024 * 2 ** 20;
/** Processes and threads of a submission, with about 20 threads of the grader. */
const MAX_PROCESSES = 128;
/** Folders with more than this are not copied but shown read-only: somebody's Downloads, say. */
const MAX_COPIED_BYTES = 64 * 2 ** 20;
/** What an entry of a folder counts, so that many small files are too much, too. */
const BYTES_PER_ENTRY = 4096;
/** The first user id of those that submissions run with where root grades: nobody's. */
const FIRST_USER = 60_000;

/** Whether the person who grades is root. */
function isRoot(): boolean {
  return Deno.uid() === 0;
}

/** A user id for the next submission where root grades: limits do not count for root. */
export function nextUser(): number | undefined {
  if (!isRoot()) return undefined;
  runs += 1;
  return FIRST_USER + runs % 1000;
}

let runs = 0;

/** The programs that limit a server, before its command. They become the server: no process more. */
export function wrappersFor(user: number | undefined): string[] {
  const limits = [
    "prlimit",
    `--nproc=${MAX_PROCESSES}`,
    `--data=${MEMORY_BYTES}`,
    `--fsize=${DISK_BYTES}`,
    "--core=0",
    "--",
  ];
  // Where memory is short all the same, the system ends this process before any other.
  const first = ["choom", "--adjust", "1000", "--"];
  if (user === undefined) return [...first, ...limits];
  const ids = [`--reuid=${user}`, `--regid=${user}`, "--clear-groups"];
  const rights = ["--bounding-set=-all", "--inh-caps=-all", "--"];
  return ["setpriv", ...ids, ...rights, ...first, ...limits];
}

/** A word of the command, with the path that it has in the sandbox. */
export function inScratch(word: string, folder: string): string {
  if (!isAbsolute(word) || !isWithin(word, [folder])) return word;
  return join(SCRATCH, relative(folder, word));
}

/** Whether a folder is small enough to be copied for each experiment. */
export function isSmall(folder: string): boolean {
  let left = MAX_COPIED_BYTES;
  const folders = [folder];
  for (
    let next = folders.pop();
    next !== undefined && left > 0;
    next = folders.pop()
  ) {
    for (const entry of readdirSync(next, { withFileTypes: true })) {
      const path = join(next, entry.name);
      if (entry.isDirectory()) folders.push(path);
      if (entry.isFile()) left -= statSync(path).size;
      left -= BYTES_PER_ENTRY;
    }
  }
  return left > 0;
}

/** The options of bwrap for a submission. */
export function flagsFor(
  submission: Submission,
  isCopied: boolean,
  exposed: string[],
): string[] {
  const { folder } = submission;
  const scratch = isCopied
    ? ["--ro-bind", folder, ORIGINAL, ...sizedFolder(SCRATCH, "0755")]
    : ["--ro-bind", folder, SCRATCH];
  const paths = [...graderPaths(), ...pathsOf(submission), ...exposed];
  return [
    ...worldFlags(),
    ...SYSTEM_FOLDERS.flatMap((path) => ["--ro-bind-try", path, path]),
    ...["--proc", "/proc", "--dev", "/dev"],
    ...["/tmp", "/dev/shm"].flatMap((path) => sizedFolder(path, "1777")),
    ...scratch,
    ...paths.filter((path) => !isWithin(path, SYSTEM_FOLDERS)).flatMap(
      readOnly,
    ),
    ...["--ro-bind", fileURLToPath(new URL("lab", ROOT)), LAB],
    ...[
      "--ro-bind",
      fileURLToPath(new URL("hosts", import.meta.url)),
      "/etc/hosts",
    ],
    ...["--remount-ro", "/dev", "--remount-ro", "/"],
  ];
}

/** What makes it a world of its own. Root keeps the rights that the grader in it needs. */
function worldFlags(): string[] {
  const spaces = ["user", "ipc", "pid", "net", "uts", "cgroup-try"];
  const own = isRoot() ? spaces.slice(1) : spaces;
  const rights = ["CAP_SETUID", "CAP_SETGID", "CAP_KILL", "CAP_CHOWN"];
  return [
    ...own.map((space) => `--unshare-${space}`),
    ...(isRoot() ? rights.flatMap((right) => ["--cap-add", right]) : []),
    ...["--hostname", "lab", "--die-with-parent", "--new-session"],
  ];
}

/** A folder in memory, of a limited size. */
function sizedFolder(path: string, mode: string): string[] {
  return ["--perms", mode, "--size", `${DISK_BYTES}`, "--tmpfs", path];
}

/** A path as it is, read-only; the folders above it can be passed through. */
function readOnly(path: string): string[] {
  const above: string[] = [];
  for (let folder = dirname(path); folder !== "/"; folder = dirname(folder)) {
    above.unshift(folder);
  }
  const folders = above.flatMap((
    folder,
  ) => ["--perms", "0755", "--dir", folder]);
  return [...folders, "--ro-bind", path, path];
}

/** What the grader itself consists of, and what the packages of Deno are in. */
function graderPaths(): string[] {
  const parts = ["deno.json", "npm", "tools"].map((name) => {
    return fileURLToPath(new URL(name, ROOT));
  });
  return [...parts, Deno.realPathSync(Deno.execPath()), denoFolder()];
}

/** The interpreter of a submission, and the files outside its folder that its command names. */
function pathsOf({ command, folder }: Submission): string[] {
  const files = command.slice(1).filter((word) => isAbsolute(word) && !isWithin(word, [folder]));
  const existing = files.filter((path) => statSync(path, { throwIfNoEntry: false }));
  const program = findProgram(command[0]);
  return [
    ...existing,
    ...isWithin(program, [folder]) ? [] : installationsOf(program),
  ];
}

/** The command that starts the grader in the sandbox. */
export function innerCommand(): string[] {
  const inner = fileURLToPath(new URL("inner.ts", import.meta.url));
  const flags = ["--quiet", "--no-prompt", "--cached-only", "--allow-all"];
  return [
    Deno.realPathSync(Deno.execPath()),
    "run",
    ...flags,
    ...TOOLS_FLAGS,
    inner,
  ];
}

/** The variables of the sandbox: no others of the person who grades, whose secrets may be there. */
export function innerEnvironment(): Record<string, string> {
  const environment: Record<string, string> = {
    PATH: Deno.env.get("PATH") ?? "/usr/bin:/bin",
    HOME: "/tmp",
    LANG: "C.UTF-8",
    DENO_DIR: denoFolder(),
    DENO_NO_UPDATE_CHECK: "1",
  };
  const registries = {
    JSR_URL: Deno.env.get("JSR_URL"),
    NPM_CONFIG_REGISTRY: npmRegistry(),
  };
  for (const [name, value] of Object.entries(registries)) {
    if (value !== undefined) environment[name] = value;
  }
  return environment;
}

let denoFolderPath = "";

/** Deno's cache. Deno is asked for it once. */
function denoFolder(): string {
  if (denoFolderPath === "") {
    denoFolderPath = Deno.realPathSync(findDenoFolder());
  }
  return denoFolderPath;
}

function findDenoFolder(): string {
  const given = Deno.env.get("DENO_DIR");
  if (given !== undefined) return given;
  const args = ["info", "--json", "--no-config"];
  const { stdout } = new Deno.Command(Deno.execPath(), { args }).outputSync();
  return JSON.parse(new TextDecoder().decode(stdout)).denoDir;
}

/** The registry of npm: Deno's cache has a folder for each. Nothing else of .npmrc gets in. */
function npmRegistry(): string | undefined {
  const given = Deno.env.get("NPM_CONFIG_REGISTRY");
  if (given !== undefined) return given;
  try {
    const text = readFileSync(join(homedir(), ".npmrc"), "utf-8");
    return text.match(/^registry\s*=\s*(\S+)/m)?.[1];
  } catch {
    return undefined;
  }
}
