/**
 * Runs the tests of `tests/soak_test.ts`: `deno task soak`.
 *
 * @module
 */

import { serverFlags } from "../shared/config.ts";
import { deno } from "./deno.ts";

const HELP = `Usage: deno task soak

Serves a class of thirty with all defaults, and then 100,000 clients one after the other, of whom a
tenth misbehaves: nobody is lost, and memory and open files do not grow. It takes about 4 minutes.`;

const RIGHTS = ["net", "run", "read", "write", "env"].map((name) => `--allow-${name}`);

if (Deno.args.includes("--help")) console.log(HELP);
else {
  const flags = [...await serverFlags(), ...RIGHTS];
  Deno.exit(deno("test", ...flags, "tests/soak_test.ts", "--", "soak"));
}
