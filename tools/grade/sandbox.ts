/**
 * Runs each experiment in a sandbox: bubblewrap (`bwrap`) gives it a network, processes and files of
 * its own. The grader starts itself in it, since its clients must be there, too: inner.ts.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import { ROOT } from "../shared/config.ts";
import type { Experiment } from "./experiment.ts";
import { EXPERIMENT_MS } from "./limits.ts";
import type { Outcome } from "./outcome.ts";
import * as flags from "./sandbox_flags.ts";
import type { Submission } from "./submission.ts";

/** What the inner grader is told, as JSON on its standard input. */
export interface Task {
  /** What the outcome must repeat: a submission does not know it. */
  readonly key: string;
  /** The experiment. */
  readonly experiment: Experiment;
  /** The command, with the paths of the sandbox. */
  readonly command: string[];
  /** Whether the folder is copied; else it is there read-only. */
  readonly isCopied: boolean;
  /** The user id that the submission runs with, where root grades. */
  readonly user?: number;
  /** The programs that limit the server, before its command. */
  readonly wrappers: string[];
  /** Where the server listens if it does not say so. */
  readonly port: number;
  /** How long a silent client may keep the next one out, in seconds. */
  readonly silence: number;
}

/** What is the same for all sandboxes of a grading. */
export interface SandboxSettings {
  /** Further paths that the submissions may read. */
  readonly exposed: string[];
  /** Where a server listens if it does not say so. */
  readonly port: number;
  /** How long a silent client may keep the next one out, in seconds. */
  readonly silence: number;
}

const running = new Set<Deno.ChildProcess>();

/** Ends all sandboxes at once, with all that runs in them. */
export function endSandboxes(): void {
  for (const process of running) {
    try {
      process.kill("SIGKILL");
    } catch {
      // It has just ended.
    }
  }
}

/**
 * Why this machine can make no sandbox: nothing if it can. It tries one as they all are, with the
 * grader in it, which says that it is ready.
 */
export async function whyNoSandbox(): Promise<string | undefined> {
  if (Deno.build.os !== "linux") return "sandboxes need Linux and bubblewrap";
  const command = [Deno.execPath()];
  const submission = {
    name: "",
    path: "",
    command,
    folder: fileURLToPath(PROBED),
  };
  try {
    const wrapped = [...flags.wrappersFor(flags.nextUser()), "true"];
    const options = flags.flagsFor(submission, true, []);
    const limits = await run([...options, "--", ...wrapped], "");
    if (limits.status !== 0) return firstLine(limits.errors);
    const { status, errors } = await run([
      ...options,
      "--",
      ...flags.innerCommand(),
    ], "{}");
    return status === 0 ? undefined : firstLine(errors);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      return "bwrap (bubblewrap) is not installed";
    }
    throw error;
  }
}

/** A small folder, which the sandbox that is only tried has in the place of a submission's. */
const PROBED = new URL("fixtures/", import.meta.url);

function firstLine(text: string): string {
  return text.trim().split("\n")[0];
}

/**
 * Makes an experiment in a sandbox.
 *
 * @throws {Error} When the sandbox or the grader in it does not work: that is no fault of the server.
 */
export async function performInSandbox(
  experiment: Experiment,
  submission: Submission,
  settings: SandboxSettings,
): Promise<Outcome> {
  const isCopied = flags.isSmall(submission.folder);
  const command = submission.command.map((word) => flags.inScratch(word, submission.folder));
  const user = flags.nextUser();
  const wrappers = flags.wrappersFor(user);
  const { port, silence } = settings;
  const key = crypto.randomUUID();
  const task: Task = {
    key,
    experiment,
    command,
    isCopied,
    user,
    wrappers,
    port,
    silence,
  };
  const options = flags.flagsFor(submission, isCopied, settings.exposed);
  const ended = await run(
    [...options, "--", ...flags.innerCommand()],
    JSON.stringify(task),
  );
  const answers = ended.output.split("\n").filter((line) => line.startsWith(`{"key":"${key}"`));
  if (answers.length > 0) return readAnswer(answers[0]);
  if (ended.isLate) return broken(`no end within ${EXPERIMENT_MS / 1000} s`);
  if (ended.status > 128) {
    return broken("the server has ended the grader that visits it");
  }
  throw new Error(`the sandbox failed: ${firstLine(ended.errors)}`);
}

function readAnswer(line: string): Outcome {
  const { outcome, error } = JSON.parse(line);
  if (error !== undefined) throw new Error(error);
  return outcome;
}

function broken(seen: string): Outcome {
  const met = ["says where"];
  return {
    verdict: "miss",
    seen,
    note: "",
    advice: "",
    met,
    output: [],
    lastWords: "",
  };
}

/** Runs bwrap with this text on its standard input. */
async function run(args: string[], input: string) {
  const process = new Deno.Command("bwrap", {
    args,
    cwd: ROOT,
    clearEnv: true,
    env: flags.innerEnvironment(),
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  running.add(process);
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    process.kill("SIGKILL");
  }, EXPERIMENT_MS);
  try {
    await new Response(input).body?.pipeTo(process.stdin).catch(() => {}); // bwrap may have failed
    const { code, stdout, stderr } = await process.output();
    const [output, errors] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
    return { status: code, output, errors, isLate };
  } finally {
    clearTimeout(timer);
    running.delete(process);
  }
}
