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
 * What follows `deno run` where a child process runs `main.ts`: nothing, which means deno.json, or
 * `npm/deno.json` where JSR cannot be reached. The task `packages` chooses, once for this process.
 */
export function serverFlags(): Promise<string[]> {
  return chosen ??= choosePackages();
}

async function choosePackages(): Promise<string[]> {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--config", "deno.json", "tools/dev/packages.ts"],
    cwd: ROOT,
    stderr: "inherit",
  }).output();
  return new TextDecoder().decode(stdout).split(/\s+/).filter((flag) => flag !== "");
}

/** Where the packages come from: a name for people, and the flags that say so to `deno run`. */
export interface Configuration {
  /** `deno.json` or `npm/deno.json`. */
  readonly name: string;
  /** What follows `deno run` in the command of a child process. */
  readonly flags: string[];
}

/**
 * The configuration that this process was started with. The address of a package tells it: only
 * `npm/deno.json` gives a file in `npm/`. Everything else is the default, which needs no flag.
 */
export function configuration(): Configuration {
  const isNpm = import.meta.resolve("@std/msgpack").startsWith(new URL("npm/", ROOT).href);
  if (!isNpm) return { name: "deno.json", flags: [] };
  return { name: "npm/deno.json", flags: ["--config", "npm/deno.json"] };
}

/** The flags of {@linkcode configuration}: a child process that has them finds the same packages. */
export function configFlags(): string[] {
  return configuration().flags;
}
