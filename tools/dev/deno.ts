/**
 * Deno as a command of the tasks.
 *
 * @module
 */

import { ROOT } from "../shared/config.ts";

/** Runs `deno` with these arguments, here at this terminal, and returns its exit status. */
export function deno(...args: string[]): number {
  const output = { stdin: "inherit", stdout: "inherit", stderr: "inherit" } as const;
  return new Deno.Command(Deno.execPath(), { args, cwd: ROOT, ...output }).outputSync().code;
}
