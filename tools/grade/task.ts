/**
 * What the grader outside and the grader in a sandbox have in common.
 *
 * @module
 */

import type { Experiment } from "./experiment.ts";

/** Where a server finds its folder: a copy, in which it may write. */
export const SCRATCH = "/submission";
/** Where it finds the lab's `pickle.py`: a traceback does not show the folders of the teacher. */
export const LAB = "/lab";
/** Where its folder is as it was handed in, read-only. */
export const ORIGINAL = "/original";

/** What the grader in a sandbox is told. */
export interface Task {
  /** What the answer must repeat: a submission does not know it. */
  readonly key: string;
  /** The experiment. */
  readonly experiment: Experiment;
  /** The command, with the paths of the sandbox. */
  readonly command: string[];
  /** The programs that limit the server, before its command. */
  readonly wrappers: string[];
  /** The folder that the server gets as its root; empty where it has the same as the grader. */
  readonly world: string;
  /** The entries of the folder that are too large to be copied. */
  readonly large: string[];
  /** The user id that the server runs with, where root grades. */
  readonly user?: number;
  /** The text of the lab's `pickle.py`. */
  readonly pickle: string;
  /** Where the server listens if it does not say so. */
  readonly port: number;
  /** How long a silent client may keep the next one out, in seconds. */
  readonly silence: number;
}
