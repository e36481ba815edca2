/**
 * What the tests of the hand-out share: the Pythons that are found here, programs, folders, and the
 * hand-out's client.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { ROOT } from "../shared/config.ts";

/** The folder that students get. */
export const LAB = new URL("lab/", ROOT);
/** What only the tests have. */
export const FIXTURES = new URL("tools/lab/fixtures/", ROOT);
const STEPS_AT_ONCE = 8;
const RUN_MS = 300_000; // for a program; the grader waits long for a server that does nothing

// -------------------------------------------------------------------------------- permissions --

const NEEDED = ["net", "run", "read", "write", "env"] as const;
const granted = await Promise.all(NEEDED.map((name) => Deno.permissions.query({ name })));
const isAllowed = granted.every(({ state }) => state === "granted");
if (!isAllowed) console.log("Ignoring the tests of lab/: they need --allow-all");

// ----------------------------------------------------------------------------------- programs --

/** What a program did. */
export interface Result {
  /** The exit status. */
  code: number;
  /** What is on standard output. */
  out: string;
  /** What is on standard error. */
  err: string;
}

/** How a program is run. */
export interface RunOptions {
  /** The working directory. */
  cwd?: string;
  /** What it reads from standard input. */
  input?: string;
}

/** Runs a program to its end. */
export async function run(
  program: string,
  args: string[],
  options: RunOptions = {},
): Promise<Result> {
  const signal = AbortSignal.timeout(RUN_MS);
  const child = new Deno.Command(program, {
    args,
    cwd: options.cwd,
    env: { PYTHONDONTWRITEBYTECODE: "1", NO_COLOR: "1" },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    signal,
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(options.input ?? "")).catch(() => {});
  await writer.close().catch(() => {});
  const { code, stdout, stderr } = await child.output();
  const text = new TextDecoder();
  return { code, out: text.decode(stdout), err: text.decode(stderr) };
}

/** The path of a file URL on this system. */
export function pathOf(url: URL): string {
  const path = decodeURIComponent(url.pathname);
  return Deno.build.os === "windows" ? path.slice(1) : path;
}

/** A new folder with these files, each under its own name; it is removed in the end. */
export class Folder {
  private constructor(readonly path: string) {}

  static async with(...files: URL[]): Promise<Folder> {
    const folder = new Folder(await Deno.makeTempDir());
    for (const file of files) {
      await Deno.copyFile(file, folder.file(file.pathname.split("/").at(-1) ?? ""));
    }
    return folder;
  }

  /** The folder that students get. */
  static handOut(): Promise<Folder> {
    const names = ["pickle.py", "client.py", "clienthelper.py", "server.py", "check.py"];
    return Folder.with(...names.map((name) => new URL(name, LAB)));
  }

  file(name: string): string {
    return `${this.path}/${name}`;
  }

  async write(name: string, text: string): Promise<string> {
    await Deno.writeTextFile(this.file(name), text);
    return this.file(name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true });
  }
}

// ------------------------------------------------------------------------- the Pythons of here --

/** A Python that was found. */
export interface Python {
  /** Its path: what its name finds may be a script that takes longer than Python itself. */
  program: string;
  /** Such as 3.11.2. */
  version: string;
  /** Whether it has the package msgpack. */
  hasMsgpack: boolean;
}

const OLDEST_MINOR = 6;
const NEWEST_MINOR = 14;

function namesOfPython(): string[] {
  if (Deno.build.os === "windows") return ["py", "python"];
  const names = ["python3", "/usr/bin/python3"];
  for (let minor = OLDEST_MINOR; minor <= NEWEST_MINOR; minor++) names.push(`python3.${minor}`);
  return names;
}

const PROBE = `
import importlib.util, json, os, platform, sys
print(json.dumps({
    "program": sys.executable,
    "place": os.path.realpath(sys.executable),
    "minor": sys.version_info[1],
    "version": platform.python_version(),
    "hasMsgpack": importlib.util.find_spec("msgpack") is not None,
}))
`;

/** Each Python from 3.6 on, once, although it may have several names. */
async function findPythons(): Promise<Python[]> {
  const found = new Map<string, Python>();
  for (const name of namesOfPython()) {
    const result = await run(name, ["-c", PROBE]).catch(() => undefined);
    if (result?.code !== 0) continue;
    const { program, place, minor, version, hasMsgpack } = JSON.parse(result.out);
    if (minor >= OLDEST_MINOR && !found.has(place)) {
      found.set(place, { program, version, hasMsgpack });
    }
  }
  return [...found.values()];
}

/** The Pythons that were found. */
export const pythons = isAllowed ? await findPythons() : [];
if (isAllowed) {
  const list = pythons.map(({ program, version }) => `${version} (${program})`).join(", ");
  console.log(`Python: ${list || "none was found, so the tests of lab/ are ignored"}`);
}

/** What a test does with a Python. */
export type PythonTest = (python: Python, t: Deno.TestContext) => Promise<void>;

/** A test with each of the Pythons. */
export function pythonTest(name: string, fn: PythonTest): void {
  for (const python of pythons) {
    Deno.test(`${name}: Python ${python.version}`, (t) => fn(python, t));
  }
  if (pythons.length === 0) Deno.test({ name, ignore: true, fn: () => {} });
}

/** Makes a step of a test for each of these, several at once: they wait more than they compute. */
export async function stepsSideBySide<T>(
  t: Deno.TestContext,
  items: readonly T[],
  nameOf: (item: T) => string,
  step: (item: T) => Promise<void>,
): Promise<void> {
  const waiting = [...items];
  const ends = new Map<T, Promise<void>>();
  const work = async () => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) {
      const end = step(item);
      ends.set(item, end);
      await end.catch(() => {}); // its step says so
    }
  };
  await Promise.all(Array.from({ length: STEPS_AT_ONCE }, work));
  for (const [item, end] of ends) await t.step(nameOf(item), () => end);
}

// --------------------------------------------------------------------------------- the client --

/** What a good client sends. */
export const ALICE = ["Alice Brown", "abrown", "123456789"];
/** The line that a server prints for it. */
export const ALICE_LINE =
  "Connected: Student: Alice Brown, Github Username: abrown, sid: 123456789";
/** What the hand-out's client prints when it is served. */
export const TRANSCRIPT = new RegExp(
  "^\\{'clientid': \\d+\\} has successfully connected to 127\\.0\\.0\\.1/\\d+\r?\n" +
    "Data acknowledged by server and you passed the test\r?\n$",
);

/** Runs the hand-out's client. */
export function runClient(python: Python, folder: Folder, port: number, args = ALICE, input = "") {
  const words = [folder.file("client.py"), "--port", String(port), ...args];
  return run(python.program, words, { input });
}

/** It was served, and said nothing else. */
export function assertPassed({ code, out, err }: Result): void {
  assertEquals([code, err], [0, ""]);
  assert(TRANSCRIPT.test(out), out);
}
