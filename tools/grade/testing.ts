/**
 * What the tests of the grader share: fixtures, and the grader as a process.
 *
 * @module
 */

import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { ROOT, TOOLS_FLAGS } from "../shared/config.ts";
import { freePort } from "../shared/testing.ts";
import { type Experiment, perform } from "./experiment.ts";
import { gradeSubmission } from "./grading.ts";
import type { Graded, Grades } from "./outcome.ts";
import { CHECKS } from "./texts.ts";

/** The Python of the system, which every sandbox has. */
export const PYTHON = "/usr/bin/python3";

/** The path of a file of the project. */
export function pathOf(name: string): string {
  return fileURLToPath(new URL(name, ROOT));
}

/** How a program has ended, and what it has printed. */
export interface Ended {
  /** Its exit status. */
  readonly code: number;
  /** Its standard output. */
  readonly out: string;
  /** Its standard error. */
  readonly err: string;
}

/** Runs a program in the folder of the project. */
export async function run(
  program: string,
  args: string[],
  env: Record<string, string> = {},
): Promise<Ended> {
  const command = new Deno.Command(program, {
    args,
    cwd: ROOT,
    env,
    stdin: "null",
  });
  const { code, stdout, stderr } = await command.output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { code, out, err };
}

/** The command of the grader, with the rights that the task `grade` gives it. */
export function graderCommand(): string[] {
  const rights = ["net", "run", "read", "write", "env", "sys"].map((what) => `--allow-${what}`);
  return ["run", ...TOOLS_FLAGS, ...rights, pathOf("tools/grade/main.ts")];
}

/** Runs the grader. */
export async function grade(...args: string[]): Promise<Ended> {
  return await run(Deno.execPath(), [...graderCommand(), ...args]);
}

/** Runs the grader on these servers, with `--json`. */
export async function gradesOf(...args: string[]): Promise<Grades> {
  const { out, err } = await grade("--json", "-", ...args);
  if (out === "") throw new Error(err);
  return JSON.parse(out);
}

/** The limit on silence that the grader has by itself, in seconds. */
const USUAL_SILENCE = 15;

/** A server that is graded here. */
export interface ServerHere {
  /** How it is called. */
  readonly name: string;
  /** The folder that it is started in. */
  readonly folder: string;
  /** The folder with the lab's `pickle.py`. */
  readonly labFolder: string;
  /** The checks that it is graded on; all, if it is left out. */
  readonly only?: readonly string[];
  /** How long a silent client may keep the next one out, in seconds. */
  readonly silence: number;
  /** The command that starts it at this port. */
  readonly commandAt: (port: number) => string[];
}

/**
 * Grades a server of the tests without sandboxes, each experiment at a port of its own: the marks are
 * the same, and it takes a third of the time.
 */
export function gradeHere(server: ServerHere): Promise<Graded> {
  const { name, folder, labFolder, only, silence, commandAt } = server;
  const performHere = (experiment: Experiment) => {
    const port = freePort();
    const launch = { command: commandAt(port), folder, labFolder, wrappers: [] };
    const usedPorts = new Set<number>();
    return perform(experiment, { launch, port, silence, isAlone: false, usedPorts, say: () => {} });
  };
  return gradeSubmission({
    submission: { name, path: name, command: commandAt(0), folder },
    checks: only ? CHECKS.filter((check) => only.includes(check.name)) : CHECKS,
    points: new Map(),
    perform: performHere,
    onCheck: () => {},
    isSandboxed: true, // they can be made side by side as if they were
  });
}

/** Grades the server of fixtures/server.py with this fault here. */
export function gradeFaultHere(
  fault: string,
  labFolder: string,
  only?: readonly string[],
): Promise<Graded> {
  const script = pathOf("tools/grade/fixtures/server.py");
  const commandAt = (port: number) => [PYTHON, script, fault, `${port}`];
  const place = { folder: dirname(script), labFolder, commandAt };
  return gradeHere({ name: fault, ...place, only, silence: USUAL_SILENCE });
}

/** A folder that is removed in the end, with a folder in it for each file that is added. */
export class Submissions implements AsyncDisposable {
  private constructor(readonly folder: string) {}

  /** A new folder, empty. */
  static async create(): Promise<Submissions> {
    const folder = await Deno.makeTempDir();
    await Deno.chmod(folder, 0o755); // where root grades, servers run as somebody else
    return new Submissions(folder);
  }

  /** Adds a file; returns its path. */
  async add(name: string, text: string, file = "server.py"): Promise<string> {
    await Deno.mkdir(`${this.folder}/${name}`);
    await Deno.writeTextFile(`${this.folder}/${name}/${file}`, text);
    return `${this.folder}/${name}/${file}`;
  }

  /** Adds the server of fixtures/server.py with this fault; returns its path. */
  async addFault(
    fault: string,
    name: string = fault.replaceAll("/", ""),
  ): Promise<string> {
    const text = await Deno.readTextFile(
      pathOf("tools/grade/fixtures/server.py"),
    );
    const faulty = text.replace(
      /^FAULT = .*$/m,
      `FAULT = ${JSON.stringify(fault)}`,
    );
    return await this.add(name, faulty);
  }

  /** Adds a folder with the lab's pickle.py, where Python may keep it compiled; returns its path. */
  async addLab(): Promise<string> {
    return dirname(
      await this.add("lab", await Deno.readTextFile(pathOf("lab/pickle.py")), "pickle.py"),
    );
  }

  /** Removes all. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** Whether the tests may run programs, and sandboxes work here. */
export async function canTest(): Promise<boolean> {
  const names = ["net", "run", "read", "write", "env", "sys"] as const;
  const granted = await Promise.all(
    names.map((name) => Deno.permissions.query({ name })),
  );
  if (!granted.every(({ state }) => state === "granted")) return false;
  const { whyNoSandbox } = await import("./sandbox.ts");
  const why = await whyNoSandbox();
  if (why !== undefined) console.log(`Ignored: no sandbox (${why})`);
  return why === undefined;
}

/** The names of the missed checks. */
export function missedIn({ checks }: Grades["submissions"][number]): string[] {
  return checks.filter(({ verdict }) => verdict === "miss").map(({ name }) => name);
}
