/**
 * What checks are compared with: the same with a good client. A miss says nothing about a check if the
 * good client fares no better.
 *
 * @module
 */

import * as beyond from "./checks_beyond.ts";
import * as lab from "./checks_lab.ts";

/** The check with a good client in the place of the strange one. */
export interface Control {
  /** Its name, for the grader in a sandbox. */
  readonly name: string;
  /** The experiment. */
  readonly run: lab.Check;
  /** What the server does if this fails, too: the reason for "not judged". */
  readonly otherwise: string;
  /** What a right server does. */
  readonly expected: string;
}

/** Whether it serves a client at all. */
export const SERVES: Control = {
  name: "serves",
  run: lab.servesFirst,
  expected: "a good client is served",
  otherwise: "it serves no client, not even a good one",
};

/** Whether a second client is served. */
export const SECOND: Control = {
  name: "second",
  run: lab.servesNext,
  expected: "a second client is served",
  otherwise: "no second client is served, even after a good one",
};

/** Whether an ordinary request is taken. */
export const WHOLE: Control = {
  name: "whole",
  run: beyond.takesWhole,
  expected: "a request in one piece is answered or printed",
  otherwise: "a whole request is neither answered nor printed, either",
};

/** Whether an ordinary name is printed. */
export const ORDINARY: Control = {
  name: "ordinary",
  run: beyond.printsOrdinary,
  expected: "an ordinary name is printed",
  otherwise: "an ordinary name is not printed, either",
};

/** All controls. */
export const CONTROLS: Control[] = [SERVES, SECOND, WHOLE, ORDINARY];
