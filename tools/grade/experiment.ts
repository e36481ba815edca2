/**
 * Runs one experiment of the table: a fresh server, one check, one outcome.
 *
 * @module
 */

import type { Check } from "./checks_lab.ts";
import { MAX_REPORTED_LENGTH } from "./limits.ts";
import { Miss, NoServer, NotTested, type Outcome, type Verdict } from "./outcome.ts";
import { printable } from "./show.ts";
import { CHECKS, type CheckText } from "./texts.ts";
import { type Setting, Trial } from "./trial.ts";

/** Which experiment: it can be sent to another process. */
export interface Experiment {
  /** The name of a check. */
  readonly check: string;
  /** The kind of bad client; the name of the check where it has no kinds. */
  readonly kind: string;
  /** Whether it is the control of the check, with a good client. */
  readonly isControl: boolean;
}

/** The row of the table that has this name. */
export function textOf(name: string): CheckText {
  const text = CHECKS.find((check) => check.name === name);
  if (!text) throw new Error(`There is no check ${name}`);
  return text;
}

function functionOf({ check, isControl }: Experiment): Check {
  const text = textOf(check);
  return isControl && text.control ? text.control.run : text.run;
}

/** Makes an experiment. What the server does is an outcome; an error is not the server's. */
export async function perform(experiment: Experiment, setting: Setting): Promise<Outcome> {
  const trial = new Trial(setting);
  const run = functionOf(experiment);
  try {
    const seen = await run(trial, experiment.kind);
    return outcomeOf(trial, "pass", seen ?? textOf(experiment.check).expected);
  } catch (error) {
    if (error instanceof NotTested) return outcomeOf(trial, "not tested", error.message);
    if (!(error instanceof Miss)) throw error;
    const seen = error.message + await trial.comment();
    return { ...outcomeOf(trial, "miss", seen), isUp: !(error instanceof NoServer) };
  } finally {
    await trial.end();
  }
}

function outcomeOf(trial: Trial, verdict: Verdict, seen: string): Outcome {
  return {
    verdict,
    seen: shorten(printable(seen)),
    isUp: trial.address !== undefined,
    output: trial.server?.excerpt().map(shorten) ?? [],
    lastWords: shorten(trial.server?.lastWords() ?? ""),
  };
}

function shorten(text: string): string {
  if (text.length <= MAX_REPORTED_LENGTH) return text;
  return `${text.slice(0, MAX_REPORTED_LENGTH - 100)} ... ${text.slice(-100)}`;
}
