/**
 * How a child process finds its packages. A module of `tools/` takes those of `tools/deno.json`, all
 * from npm. The server takes its own from JSR or from npm, as at a user's.
 *
 * @module
 */

/** The folder of the project, where `main.ts` is. */
export const ROOT: URL = new URL("../..", import.meta.url);

/** What follows `deno run` where a child process runs a module of `tools/`. */
export const TOOLS_FLAGS = ["--config", "tools/deno.json"];

let chosen: Promise<string[]> | undefined;

/**
 * What follows `deno run` where a child process runs `main.ts` or imports it: the flag with deno.json,
 * or with `npm/deno.json` where JSR cannot be reached. The task `packages` chooses, once for this
 * process.
 */
export function serverFlags(): Promise<string[]> {
  return chosen ??= choosePackages();
}

async function choosePackages(): Promise<string[]> {
  const { success, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["task", "--quiet", "packages"],
    cwd: ROOT,
    stderr: "inherit",
  }).output();
  if (!success) throw new Error("The packages of main.ts cannot be had, as said above");
  return [new TextDecoder().decode(stdout).trim()];
}
