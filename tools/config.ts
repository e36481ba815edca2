/**
 * How a child process finds the packages of `@std` where this process finds them.
 *
 * @module
 */

const PACKAGES = ["cli/parse-args", "log/base-handler", "log/logger", "msgpack", "bytes/concat"];

/** The folder of the project, where `main.ts` is. */
export const ROOT: URL = new URL("..", import.meta.url);

/**
 * The flags for `deno run`: none where JSR gives the packages, the other configuration where npm
 * does, or an import map that was given on the command line.
 */
export function configFlags(): string[] {
  const own = import.meta.resolve("@std/msgpack");
  if (own.startsWith("jsr:")) return [];
  if (own.startsWith(new URL("npm/", ROOT).href)) return ["--config", "npm/deno.json"];
  const imports = PACKAGES.map((name) => [`@std/${name}`, import.meta.resolve(`@std/${name}`)]);
  const map = JSON.stringify({ imports: Object.fromEntries(imports) });
  return ["--no-lock", "--import-map", `data:application/json,${encodeURIComponent(map)}`];
}
