/**
 * What a sandbox has and what it limits, as options of bubblewrap (`bwrap`).
 *
 * A server has the system's programs, its interpreter, the lab's `pickle.py` and a copy of its own
 * folder. There is no home folder, no other submission, nothing of the grader, and no network but a
 * loopback that nobody else has. The number of processes, the memory of each, and the size of what
 * it writes are limited. All processes end with the sandbox.
 *
 * @module
 */

import { statSync } from "node:fs";
import { basename, dirname, isAbsolute, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { ROOT } from "../shared/config.ts";
import { scriptOf, sharesFolder } from "./folder.ts";
import { installationsOf, isWithin, SYSTEM_FOLDERS } from "./installation.ts";
import { findProgram, type Submission } from "./submission.ts";
import { LAB, ORIGINAL, SCRATCH } from "./task.ts";

/** Bytes that a submission may write: in its folder, and as much in /tmp and /dev/shm. */
const DISK_BYTES = 128 * 2 ** 20;
/** Memory of one process of a submission, in bytes. */
const MEMORY_BYTES = 1024 * 2 ** 20;
/** Processes and threads of a submission, with about 20 threads of the grader. */
const MAX_PROCESSES = 128;
/** What `pickle.py` may have, in bytes. */
const LAB_BYTES = 2 ** 20;
/** The first user id of those that submissions run with where root grades: nobody's. */
const FIRST_USER = 60_000;
/** Where the grader in the sandbox finds programs: nothing that a submission can write. */
const SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin";
/** Where the sandbox has Deno, for the grader in it. */
const DENO = "/deno";

/** Whether the person who grades is root. */
function isRoot(): boolean {
  return Deno.uid() === 0;
}

/**
 * The folder that a server has as its root where root grades: in a changed root, no program can make
 * a namespace of its own, and in that a file system in memory without a limit. Where an ordinary
 * user grades, bwrap's `--disable-userns` sees to that.
 */
export function world(): string {
  return isRoot() ? "/world" : "";
}

/** A user id for the next submission where root grades: limits do not count for root. */
export function nextUser(): number | undefined {
  if (!isRoot()) return undefined;
  runs += 1;
  return FIRST_USER + runs % 1000;
}

let runs = 0;

/** The programs that limit a server, before its command. They become the server: no process more. */
export function wrappersFor(submission: Submission, user: number | undefined): string[] {
  const rights = ["--clear-groups", "--bounding-set=-all", "--inh-caps=-all", "--"];
  const asUser = ["setpriv", `--reuid=${user}`, `--regid=${user}`, ...rights];
  const limits = [
    `--nproc=${MAX_PROCESSES}`,
    `--data=${MEMORY_BYTES}`,
    `--fsize=${DISK_BYTES}`,
    "--core=0",
    "--",
  ];
  return [
    ...(isRoot() ? ["chroot", world(), ...asUser] : []),
    // Where memory is short all the same, the system ends this process before any other.
    ...["choom", "--adjust", "1000", "--", "prlimit", ...limits],
    ...["env", "--chdir", SCRATCH, ...environmentOf(submission)],
  ];
}

/** What a server finds in its environment. Secrets of the person who grades may be there. */
function environmentOf(submission: Submission): string[] {
  const names = isDeno(submission) ? ["PATH", "JSR_URL", "NPM_CONFIG_REGISTRY"] : ["PATH"];
  const kept = names.filter((name) => Deno.env.has(name));
  const variables = kept.map((name) => `${name}=${Deno.env.get(name)}`);
  return ["HOME=/tmp", "USER=student", "LOGNAME=student", ...variables];
}

/** A word of the command, with the path that it has in the sandbox. */
export function inScratch(word: string, submission: Submission, isAlone: boolean): string {
  const path = pathIn(word);
  if (!isOwn(path, submission, isAlone)) return word;
  return word.replace(path, () => join(SCRATCH, relative(submission.folder, path)));
}

/** The path in a word of a command: `/a/b` in `/a/b` and in `--config=/a/b`. */
function pathIn(word: string): string {
  return word.replace(/^-[^=]*=/, "");
}

/** Whether this is the path of something that the submission has in its folder. */
function isOwn(path: string, submission: Submission, isAlone: boolean): boolean {
  if (isAlone) return path === scriptOf(submission);
  return isAbsolute(path) && isWithin(path, [submission.folder]);
}

/** The options of bwrap for one of these submissions. */
export function flagsFor(
  submission: Submission,
  all: readonly Submission[],
  exposed: string[],
): string[] {
  const paths = [...pathsOf(submission, all), ...exposed];
  const roots = [...new Set(["", world()])];
  return [
    ...worldFlags(),
    ...roots.flatMap(systemIn),
    ...["--ro-bind", Deno.realPathSync(Deno.execPath()), DENO],
    ...hidden(submission, all),
    ...sizedFolder("/tmp", "1777", DISK_BYTES),
    ...sizedFolder("/dev/shm", "1777", DISK_BYTES),
    ...sizedFolder(SCRATCH, "0755", DISK_BYTES),
    ...sizedFolder(LAB, "0755", LAB_BYTES),
    ...originalOf(submission, all),
    ...paths.filter((path) => !isWithin(path, SYSTEM_FOLDERS)).flatMap((path) => readOnly(path)),
    ...(isDeno(submission) ? denoPackages() : []),
    ...[...roots.map((root) => `${root}/dev`), "/"].flatMap((path) => ["--remount-ro", path]),
  ];
}

/** What makes it a world of its own. Root keeps the rights that the grader in it needs. */
function worldFlags(): string[] {
  const spaces = ["ipc", "pid", "net", "uts", "cgroup-try"].map((name) => `--unshare-${name}`);
  const rights = ["SETUID", "SETGID", "KILL", "CHOWN", "SYS_CHROOT", "DAC_READ_SEARCH"];
  const ofRoot = rights.flatMap((right) => ["--cap-add", `CAP_${right}`]);
  return [
    ...spaces,
    ...(isRoot() ? ofRoot : ["--unshare-user", ...canDisable() ? ["--disable-userns"] : []]),
    // Its first process is the grader: what has the number 1 cannot be ended from within.
    ...["--hostname", "localhost", "--die-with-parent", "--new-session", "--as-pid-1"],
    ...["--chdir", "/"],
  ];
}

/** Whether this bubblewrap is new enough to forbid further namespaces (0.8). */
function canDisable(): boolean {
  const { stdout } = new Deno.Command(findProgram("bwrap"), { args: ["--help"] }).outputSync();
  return new TextDecoder().decode(stdout).includes("--disable-userns");
}

/** The system's programs, processes and devices. */
function systemIn(root: string): string[] {
  return [
    ...["--perms", "0755", "--dir", `${root}/`],
    ...SYSTEM_FOLDERS.flatMap((path) => ["--ro-bind-try", path, root + path]),
    ...["--proc", `${root}/proc`, "--dev", `${root}/dev`],
  ];
}

/** Covers what is in the system's folders and none of this submission's business. */
function hidden(submission: Submission, all: readonly Submission[]): string[] {
  const program = findProgram(submission.command[0]);
  const folders = new Set([fileURLToPath(ROOT), ...all.map(({ folder }) => folder)]);
  return [...folders]
    .filter((folder) => isWithin(folder, SYSTEM_FOLDERS) && !isWithin(program, [folder]))
    .flatMap((folder) => ["--tmpfs", world() + folder]);
}

/** A folder in memory, of a limited size. */
function sizedFolder(path: string, mode: string, bytes: number): string[] {
  return ["--perms", mode, "--size", `${bytes}`, "--tmpfs", world() + path];
}

/** The folder as it was handed in, without the project if that is in it; or the script alone. */
function originalOf(submission: Submission, all: readonly Submission[]): string[] {
  const { folder } = submission;
  const script = scriptOf(submission);
  const seen = (path: string) => join(world(), ORIGINAL, relative(folder, path));
  if (sharesFolder(submission, all)) return readOnly(script, join(ORIGINAL, basename(script)));
  const project = fileURLToPath(ROOT);
  const isAround = isWithin(project, [folder]) && !isWithin(folder, [project]);
  return ["--ro-bind", folder, seen(folder), ...isAround ? ["--tmpfs", seen(project)] : []];
}

/** A path, read-only, at the same place or at another; folders above it can be passed through. */
function readOnly(path: string, seen: string = path): string[] {
  const above: string[] = [];
  for (let folder = dirname(seen); folder !== "/"; folder = dirname(folder)) above.unshift(folder);
  const folders = above.flatMap((folder) => ["--perms", "0755", "--dir", world() + folder]);
  return [...folders, "--ro-bind", path, world() + seen];
}

/** The interpreter of a submission, and the files outside its folder that its command names. */
function pathsOf(submission: Submission, all: readonly Submission[]): string[] {
  const isAlone = sharesFolder(submission, all);
  const isOther = (path: string) => isAbsolute(path) && !isOwn(path, submission, isAlone);
  const files = submission.command.slice(1).map(pathIn).filter((path) => {
    return isOther(path) && statSync(path, { throwIfNoEntry: false });
  });
  const kept = [fileURLToPath(ROOT), ...all.map(scriptOf)];
  const installations = installationsOf(findProgram(submission.command[0]), kept);
  return [...files, ...installations.filter(isOther)];
}

/** Whether a server is run by the same Deno as the grader. */
function isDeno({ command }: Submission): boolean {
  return Deno.realPathSync(findProgram(command[0])) === Deno.realPathSync(Deno.execPath());
}

/** The packages that Deno has fetched, but not the rest of its cache, where sources are, too. */
function denoPackages(): string[] {
  const args = ["info", "--json", "--no-config"];
  const { stdout } = new Deno.Command(Deno.execPath(), { args }).outputSync();
  const { denoDir } = JSON.parse(new TextDecoder().decode(stdout));
  const folders = ["npm", "remote"].filter((name) => {
    return statSync(join(denoDir, name), { throwIfNoEntry: false });
  });
  return folders.flatMap((name) => readOnly(join(denoDir, name), `/tmp/.cache/deno/${name}`));
}

/**
 * The command of the grader in the sandbox: it reads its program from standard input. SIGUSR1 would
 * start Deno's debugger, and a server with the same user id could send it.
 */
export const INNER_COMMAND: string[] = [
  ...["env", "--block-signal=USR1"],
  ...[DENO, "run", "--quiet", "--no-prompt", "--allow-all"],
  ...["--no-config", "--no-lock", "--no-remote", "--no-npm", "--ext=js", "-"],
];

/** The variables of the grader in the sandbox. */
export const INNER_ENVIRONMENT: Record<string, string> = {
  PATH: SYSTEM_PATH,
  HOME: "/",
  LANG: "C.UTF-8",
  DENO_NO_UPDATE_CHECK: "1",
};
