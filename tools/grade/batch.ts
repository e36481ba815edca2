/**
 * The grading of many submissions, side by side where each has a sandbox.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import { ROOT } from "../shared/config.ts";
import project from "../../deno.json" with { type: "json" };
import { perform } from "./experiment.ts";
import { codeElsewhere, warningsAbout } from "./folder.ts";
import { gradeSubmission, sideBySide } from "./grading.ts";
import type { Options } from "./options.ts";
import { type Graded, type Grades, type Outcome, Trouble } from "./outcome.ts";
import { sandboxFor } from "./sandbox.ts";
import type { Experiment } from "./experiment.ts";
import type { Submission } from "./submission.ts";

/** What happens while a batch is graded. */
export interface Listener {
  /** Tells the person at the terminal something. */
  readonly say: (words: string) => void;
  /** Called when this check begins. */
  readonly onCheck: (name: string) => void;
  /** Called after each submission, with all that were graded so far, in the order of the command. */
  readonly onGraded: (graded: Graded, grades: Grades) => Promise<void>;
}

/** Grades all submissions; returns their results in the order of the command. */
export async function gradeAll(
  options: Options,
  isSandboxed: boolean,
  listener: Listener,
): Promise<Grades> {
  for (const words of warningsAbout(options.submissions)) listener.say(words);
  const done = new Map<Submission, Graded>();
  const head = headOf(options, isSandboxed);
  const gradesSoFar = (): Grades => ({
    ...head,
    submissions: options.submissions.flatMap((submission) => done.get(submission) ?? []),
  });
  const usedPorts = new Set([options.port]);
  const grade = async (submission: Submission) => {
    const graded = await gradeSubmission({
      submission,
      checks: options.checks,
      points: options.points,
      perform: performer(submission, options, isSandboxed, usedPorts, listener.say),
      onCheck: listener.onCheck,
      isSandboxed,
    });
    done.set(submission, graded);
    await listener.onGraded(graded, gradesSoFar());
  };
  await sideBySide(options.submissions, isSandboxed ? options.jobs : 1, grade);
  return gradesSoFar();
}

/** What the results begin with. */
function headOf({ roster }: Options, isSandboxed: boolean): Omit<Grades, "submissions"> {
  const date = new Date().toISOString();
  return { schema: "lab3/grades/v2", version: project.version, date, isSandboxed, roster };
}

function performer(
  submission: Submission,
  options: Options,
  isSandboxed: boolean,
  usedPorts: Set<number>,
  say: (words: string) => void,
): (experiment: Experiment) => Promise<Outcome> {
  const { command, folder } = submission;
  const elsewhere = command.length > 0 ? codeElsewhere(submission, options.submissions) : undefined;
  if (elsewhere !== undefined) {
    const words = `a link leads out of its folder, to ${elsewhere}: is that this student's code?`;
    return () => Promise.reject(new Trouble(words));
  }
  if (isSandboxed && command.length > 0) return sandboxFor(submission, options);
  const { port, silence } = options;
  const labFolder = fileURLToPath(new URL("lab", ROOT));
  const launch = command.length > 0 ? { command, folder, labFolder, wrappers: [] } : undefined;
  const setting = { launch, port, silence, isAlone: false, usedPorts, say };
  return (experiment) => perform(experiment, setting);
}
