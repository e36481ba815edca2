/**
 * How a child process finds the packages of `@std` where this process finds them.
 *
 * @module
 */

/** The folder of the project, where `main.ts` is. */
export const ROOT: URL = new URL("..", import.meta.url);

/** The packages that `main.ts` and its tests import, and what the sources of those import. */
const IMPORTS = [
  "@std/assert",
  "@std/bytes/concat",
  "@std/cli/parse-args",
  "@std/log/base-handler",
  "@std/log/logger",
  "@std/msgpack",
];

/** Where the packages come from: a name for people, and the flags that say so to `deno run`. */
export interface Configuration {
  /** `deno.json`, `npm/deno.json` or `an import map`. */
  readonly name: string;
  /** What follows `deno run` in the command of a child process. */
  readonly flags: string[];
}

/**
 * The configuration that this process was started with. The address of a package tells it: only
 * `npm/deno.json` gives a file in `npm/`, and only an import map of the command line gives another
 * file. Everything else is the default, for which no flag is needed.
 */
export function configuration(): Configuration {
  const address = import.meta.resolve("@std/msgpack");
  if (address.startsWith(new URL("npm/", ROOT).href)) {
    return { name: "npm/deno.json", flags: ["--config", "npm/deno.json"] };
  }
  if (!address.startsWith("file:")) return { name: "deno.json", flags: [] };
  const imports = Object.fromEntries(IMPORTS.map((name) => [name, import.meta.resolve(name)]));
  const map = `data:application/json,${encodeURIComponent(JSON.stringify({ imports }))}`;
  return { name: "an import map", flags: ["--no-lock", "--import-map", map] };
}

/** The flags of {@linkcode configuration}: a child process that has them finds the same packages. */
export function configFlags(): string[] {
  return configuration().flags;
}
