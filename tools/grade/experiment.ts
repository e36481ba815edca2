/**
 * Runs one experiment of the table: a fresh server, one check, one outcome.
 *
 * @module
 */

import type { Check } from "./checks_lab.ts";
import { MAX_REPORTED_LENGTH } from "./limits.ts";
import {
  Miss,
  NoServer,
  NotJudged,
  type Outcome,
  type Verdict,
} from "./outcome.ts";
import { printable } from "./show.ts";
import { CONTROLS } from "./controls.ts";
import { CHECKS } from "./texts.ts";
import { type Setting, Trial } from "./trial.ts";

/** Which experiment: a check, or the control that some checks have. It can be sent as JSON. */
export type Experiment =
  | { readonly check: string; readonly kind: string }
  | { readonly control: string };

/** What is run, and what is expected of it. */
function rowOf(experiment: Experiment): { run: Check; expected: string } {
  const row = "check" in experiment
    ? CHECKS.find(({ name }) => name === experiment.check)
    : CONTROLS.find(({ name }) => name === experiment.control);
  if (!row) {
    throw new Error(`There is no experiment ${JSON.stringify(experiment)}`);
  }
  return row;
}

/** Makes an experiment. What the server does is an outcome; an error is not the server's. */
export async function perform(
  experiment: Experiment,
  setting: Setting,
): Promise<Outcome> {
  const trial = new Trial(setting);
  const { run, expected } = rowOf(experiment);
  try {
    const seen = await run(trial, "kind" in experiment ? experiment.kind : "");
    return outcomeOf(trial, "pass", seen ?? expected);
  } catch (error) {
    if (error instanceof NotJudged) {
      return outcomeOf(trial, "not judged", error.message);
    }
    if (!(error instanceof Miss)) throw error;
    const seen = error.message + await trial.comment();
    return {
      ...outcomeOf(trial, "miss", seen),
      met: error instanceof NoServer ? [] : ["says where"],
    };
  } finally {
    await trial.end();
  }
}

function outcomeOf(trial: Trial, verdict: Verdict, seen: string): Outcome {
  return {
    verdict,
    seen: shorten(printable(seen)),
    note: "",
    advice: "",
    met: trial.address ? ["says where"] : [],
    output: trial.server?.excerpt().map(shorten) ?? [],
    lastWords: shorten(trial.server?.lastWords() ?? ""),
  };
}

function shorten(text: string): string {
  if (text.length <= MAX_REPORTED_LENGTH) return text;
  return `${text.slice(0, MAX_REPORTED_LENGTH - 100)} ... ${text.slice(-100)}`;
}
