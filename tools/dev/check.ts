/**
 * All that can be checked without running the server: `deno task check`.
 *
 * @module
 */

import { serverFlags, TOOLS_FLAGS } from "../shared/config.ts";
import { deno } from "./deno.ts";

const HELP = `Usage: deno task check

Checks all that can be checked without running anything: the formatting, the linter's rules, the
types, and that every exported name is documented. It takes about 15 s. Exit status 1: something is
wrong. "deno fmt" mends the formatting.`;

/** The commands, each of `deno`. */
async function commands(): Promise<string[][]> {
  const flags = await serverFlags();
  // `deno doc` takes its packages from deno.json whatever --config says; an import map it obeys.
  const docFlags = flags.filter((flag) => flag !== "--config=deno.json")
    .map((flag) => flag.replace("--config", "--import-map"));
  return [
    ["fmt", "--check"],
    ["lint"],
    ["check", ...flags, "main.ts", "server_test.ts", "tests"],
    ["check", ...TOOLS_FLAGS, "tools"],
    ["doc", "--lint", ...docFlags, "main.ts"],
  ];
}

function passes(args: string[]): boolean {
  const success = deno(...args) === 0;
  console.log(`${success ? "ok    " : "FAILED"} deno ${args[0]}`);
  return success;
}

if (Deno.args.includes("--help")) {
  console.log(HELP);
} else {
  const results = (await commands()).map(passes);
  Deno.exit(results.includes(false) ? 1 : 0);
}
