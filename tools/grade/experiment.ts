/**
 * Runs one experiment of the table: a fresh server, one check, one outcome.
 *
 * @module
 */

import { printable } from "../shared/text.ts";
import { RUNS } from "./checks.ts";
import { MAX_REPORTED_LENGTH } from "./limits.ts";
import { Miss, NoServer, NotJudged, type Outcome, type Verdict } from "./outcome.ts";
import { adviceOnStart } from "./start.ts";
import { CHECKS } from "./texts.ts";
import { type Setting, Trial } from "./trial.ts";

/** Which experiment. It can be sent as JSON. */
export interface Experiment {
  /** The name of the check. */
  readonly check: string;
  /** The kind of client that it is made with: the name of the check, or one of its kinds. */
  readonly kind: string;
}

/** Makes an experiment. What the server does is an outcome; an error is not the server's. */
export async function perform({ check, kind }: Experiment, setting: Setting): Promise<Outcome> {
  const row = CHECKS.find(({ name }) => name === check);
  if (!row) throw new Error(`There is no check ${check}`);
  const trial = new Trial(setting);
  try {
    const seen = await RUNS[check](trial, kind);
    return outcomeOf(trial, "pass", seen ?? row.expected);
  } catch (error) {
    if (error instanceof NotJudged) return outcomeOf(trial, "not judged", error.message);
    if (error instanceof Miss) return await outcomeOfMiss(trial, error);
    throw error;
  } finally {
    await trial.end();
  }
}

async function outcomeOfMiss(trial: Trial, miss: Miss): Promise<Outcome> {
  const seen = miss.message + await trial.comment();
  const isStart = miss instanceof NoServer && trial.server;
  const advice = isStart ? await adviceOnStart(isStart, trial.said() !== undefined) : "";
  return { ...outcomeOf(trial, "miss", seen), advice };
}

function outcomeOf(trial: Trial, verdict: Verdict, seen: string): Outcome {
  return {
    verdict,
    seen: shorten(printable(seen)),
    note: shorten(printable(trial.note)),
    advice: "",
    met: [...trial.met],
    output: trial.server?.excerpt().map(shorten) ?? [],
    lastWords: shorten(trial.server?.lastWords() ?? ""),
  };
}

function shorten(text: string): string {
  if (text.length <= MAX_REPORTED_LENGTH) return text;
  return `${text.slice(0, MAX_REPORTED_LENGTH - 100)} ... ${text.slice(-100)}`;
}
