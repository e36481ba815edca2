/**
 * Grades servers of the lab, in whatever language: visits each with good and bad clients, and says
 * what it did and what to change. Where the machine has bubblewrap, each server is in a sandbox.
 *
 * The parts are in the folder grade/: texts.ts has the table of the checks, checks_lab.ts and
 * checks_beyond.ts what they do, trial.ts a fresh server with its clients, sandbox.ts the sandboxes,
 * report/ the reports.
 *
 * @module
 */

import { main } from "./command.ts";

if (import.meta.main) Deno.exit(await main(Deno.args));
