/**
 * Runs each experiment in a sandbox: bubblewrap (`bwrap`) gives it a network, processes and files of
 * its own. A part of the grader runs in it, since its clients must be there, too: inner.ts.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import { ROOT, TOOLS_FLAGS } from "../shared/config.ts";
import { printable } from "../shared/text.ts";
import type { Experiment } from "./experiment.ts";
import { largeEntries, sharesFolder } from "./folder.ts";
import { EXPERIMENT_MS, MAX_ANSWER_LENGTH } from "./limits.ts";
import { type Outcome, Trouble, UsageError } from "./outcome.ts";
import * as flags from "./sandbox_flags.ts";
import { findProgram, type Submission } from "./submission.ts";
import type { Task } from "./task.ts";

/** What is the same for all sandboxes of a grading. */
export interface SandboxSettings {
  /** All that is graded: a submission must not see the others. */
  readonly submissions: readonly Submission[];
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
  for (const process of running) end(process);
}

function end(process: Deno.ChildProcess): void {
  try {
    process.kill("SIGKILL");
  } catch {
    // It has just ended.
  }
}

/**
 * Why this machine can make no sandbox, and what to do: nothing if it can. It tries one as they all
 * are, with the grader in it.
 */
export async function whyNoSandbox(): Promise<string | undefined> {
  if (Deno.build.os !== "linux") return "sandboxes need Linux and bubblewrap";
  const folder = fileURLToPath(new URL("fixtures/", import.meta.url));
  const submission = { name: "", path: "", command: [Deno.execPath()], folder };
  try {
    const options = [...flags.flagsFor(submission, [submission], []), "--"];
    const wrappers = flags.wrappersFor(submission, flags.nextUser());
    const limits = await run([...options, ...wrappers, "true"], "");
    if (limits.status !== 0) return reasonOf(limits.errors);
    const inner = await run([...options, ...flags.INNER_COMMAND], await innerCode());
    return inner.status === 0 ? undefined : reasonOf(inner.errors);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return "bubblewrap is not installed; on Debian and Ubuntu: sudo apt install bubblewrap";
  }
}

/** What bwrap says where AppArmor does not let an ordinary user make namespaces. */
const APPARMOR_ERROR = /uid map: Permission denied|RTM_NEWADDR/;
const APPARMOR_ADVICE =
  "Ubuntu has a profile that allows it: sudo apt install apparmor-profiles, " +
  "sudo cp /usr/share/apparmor/extra-profiles/bwrap-userns-restrict /etc/apparmor.d, " +
  "sudo systemctl reload apparmor";

function reasonOf(errors: string): string {
  const reason = printable(errors.trim().split("\n")[0]);
  return APPARMOR_ERROR.test(reason) ? `${reason}; ${APPARMOR_ADVICE}` : reason;
}

/**
 * What makes experiments with a submission, each in a sandbox of its own.
 *
 * @throws {Trouble} Later, when the sandbox or the grader in it does not work.
 */
export function sandboxFor(
  submission: Submission,
  settings: SandboxSettings,
): (experiment: Experiment) => Promise<Outcome> {
  let plan: Promise<Plan> | undefined;
  return async (experiment) => {
    plan ??= planFor(submission, settings);
    return await performInSandbox(experiment, await plan);
  };
}

/** What all sandboxes of a submission have in common. */
interface Plan {
  readonly submission: Submission;
  readonly options: string[];
  readonly task: Omit<Task, "key" | "experiment" | "user" | "wrappers">;
}

async function planFor(submission: Submission, settings: SandboxSettings): Promise<Plan> {
  const { submissions, exposed, port, silence } = settings;
  const isAlone = sharesFolder(submission, submissions);
  return {
    submission,
    options: [...flags.flagsFor(submission, submissions, exposed), "--", ...flags.INNER_COMMAND],
    task: {
      command: submission.command.map((word) => flags.inScratch(word, submission, isAlone)),
      world: flags.world(),
      large: isAlone ? [] : largeEntries(submission.folder),
      pickle: await Deno.readTextFile(new URL("lab/pickle.py", ROOT)),
      port,
      silence,
    },
  };
}

async function performInSandbox(experiment: Experiment, plan: Plan): Promise<Outcome> {
  const key = crypto.randomUUID();
  const user = flags.nextUser();
  const wrappers = flags.wrappersFor(plan.submission, user);
  const task: Task = { ...plan.task, key, experiment, user, wrappers };
  const code = `globalThis.task = ${JSON.stringify(task)};\n${await innerCode()}`;
  const { output, errors, isLate } = await run(plan.options, code);
  const answer = output.split("\n").find((line) => line.startsWith(`{"key":"${key}"`));
  if (answer !== undefined) return readAnswer(answer);
  if (isLate) throw new Trouble(`the sandbox has not ended within ${EXPERIMENT_MS / 1000} s`);
  throw new Trouble(`the sandbox has failed: ${reasonOf(errors) || "it has ended early"}`);
}

const isText = (value: unknown) => typeof value === "string";
const isTexts = (value: unknown) => Array.isArray(value) && value.every(isText);

/** What each part of an outcome must be. */
const SHAPE: Record<keyof Outcome, (value: unknown) => boolean> = {
  verdict: (value) => ["pass", "miss", "not judged"].includes(value as string),
  seen: isText,
  note: isText,
  advice: isText,
  met: isTexts,
  output: isTexts,
  lastWords: isText,
};

/**
 * The outcome in an answer of the grader in the sandbox, in which a submission ran.
 *
 * @throws {Trouble} When it is an error, or no outcome.
 */
export function readAnswer(line: string): Outcome {
  const { outcome, error } = parseObject(line);
  if (error !== undefined) throw new Trouble(`the grader in the sandbox has failed: ${error}`);
  const isWhole = Object.entries(SHAPE).every(([name, isRight]) => isRight(Object(outcome)[name]));
  if (!isWhole) throw new Trouble("what came out of the sandbox is no outcome of a check");
  return outcome as Outcome;
}

function parseObject(text: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(text));
  } catch {
    return {};
  }
}

let code: Promise<string> | undefined;

/** The part of the grader that runs in a sandbox, as one script. It is made once. */
function innerCode(): Promise<string> {
  return code ??= bundleInner();
}

async function bundleInner(): Promise<string> {
  const inner = fileURLToPath(new URL("inner.ts", import.meta.url));
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["bundle", "--quiet", ...TOOLS_FLAGS, inner],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  if (success) return new TextDecoder().decode(stdout);
  const [reason] = new TextDecoder().decode(stderr).trim().split("\n");
  throw new Error(`Deno cannot bundle what runs in a sandbox: ${reason}`);
}

/** Runs bwrap with this text on its standard input. */
async function run(args: string[], input: string) {
  const process = new Deno.Command(findProgram("bwrap"), {
    args,
    clearEnv: true,
    env: flags.INNER_ENVIRONMENT,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  running.add(process);
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    end(process);
  }, EXPERIMENT_MS);
  try {
    const output = firstOf(process.stdout, process);
    const errors = firstOf(process.stderr, process);
    await new Response(input).body?.pipeTo(process.stdin).catch(() => {}); // bwrap may have failed
    const { code: status } = await process.status;
    return { status, output: await output, errors: await errors, isLate };
  } finally {
    clearTimeout(timer);
    running.delete(process);
  }
}

/** What a sandbox writes. One that writes too much is ended. */
async function firstOf(pipe: ReadableStream<BufferSource>, process: Deno.ChildProcess) {
  let text = "";
  for await (const part of pipe.pipeThrough(new TextDecoderStream())) {
    text += part;
    if (text.length <= MAX_ANSWER_LENGTH) continue;
    end(process);
    break;
  }
  return text.slice(0, MAX_ANSWER_LENGTH);
}
