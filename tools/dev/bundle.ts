/**
 * Makes one JavaScript file of main.ts and its packages: `deno task bundle`.
 *
 * @module
 */

import { serverFlags } from "../shared/config.ts";
import { deno } from "./deno.ts";

const HELP = `Usage: deno task bundle

Makes dist/lab.js, in a few seconds: main.ts and its packages in one file. A machine that reaches no
registry, but has Deno, runs it with "deno run --allow-net lab.js".`;

if (Deno.args.includes("--help")) console.log(HELP);
else Deno.exit(deno("bundle", ...await serverFlags(), "--output", "dist/lab.js", "main.ts"));
