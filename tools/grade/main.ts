/**
 * Grades servers of the lab, in whatever language: visits each with good and bad clients, and says
 * what it did and what to change. Where the machine has bubblewrap, each server is in a sandbox.
 *
 * Beside it: options.ts reads the command line, command.ts grades and reports; texts.ts has the table
 * of the checks, checks.ts what they do, trial.ts a fresh server with its clients, grading.ts what
 * the outcomes mean together, sandbox.ts the sandboxes, report/ the reports.
 *
 * @module
 */

import { printable } from "../shared/text.ts";
import { HELP, readOptions } from "./options.ts";
import { UsageError } from "./outcome.ts";

/**
 * What grades. Its address is made at run time: of an import that Deno can see beforehand it would
 * fetch all packages, for `--help` and for a wrong option, too.
 */
const COMMAND = new URL("./command.ts", import.meta.url).href;

/** Runs the grader with these arguments; returns its exit status. */
async function main(args: string[]): Promise<number> {
  try {
    const options = readOptions(args);
    if (options === undefined) {
      console.log(HELP);
      return 0;
    }
    const { gradeAndReport }: typeof import("./command.ts") = await import(COMMAND);
    return await gradeAndReport(options);
  } catch (error) {
    console.error(printable((error as Error).message));
    return error instanceof UsageError ? 2 : 1;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
