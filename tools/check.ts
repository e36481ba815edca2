/**
 * All that can be checked without running the server: `deno task check`.
 *
 * @module
 */

import { configuration, ROOT } from "./config.ts";

const { name, flags } = configuration();
const MODULES = ["main.ts", "server_test.ts", "tools"];
// `deno doc` takes its packages from deno.json whatever --config says; an import map it obeys.
const docFlags = flags.map((flag) => flag === "--config" ? "--import-map" : flag);

/** The commands, each of `deno`. Without `--no-lock` the packages of the tools would get into deno.lock. */
const COMMANDS = [
  ["fmt", "--check"],
  ["lint"],
  ["check", ...flags, "--no-lock", ...MODULES],
  ["doc", "--lint", ...docFlags, "main.ts"],
];

console.log(`Checking with ${name}`);
let failed = 0;
for (const args of COMMANDS) {
  const { success } = new Deno.Command(Deno.execPath(), {
    args,
    cwd: ROOT,
    stdout: "inherit",
    stderr: "inherit",
  }).outputSync();
  console.log(`${success ? "ok    " : "FAILED"} deno ${args[0]}`);
  if (!success) failed++;
}
Deno.exit(failed > 0 ? 1 : 0);
