/**
 * All that can be checked without running the server: `deno task check`.
 *
 * @module
 */

import { ROOT, serverFlags, TOOLS_FLAGS } from "../shared/config.ts";

const flags = await serverFlags();
// `deno doc` takes its packages from deno.json whatever --config says; an import map it obeys.
const docFlags = flags.map((flag) => flag.replace("--config", "--import-map"));

/** The commands, each of `deno`. */
const COMMANDS = [
  ["fmt", "--check"],
  ["lint"],
  ["check", ...flags, "main.ts", "server_test.ts", "tests"],
  ["check", ...TOOLS_FLAGS, "tools"],
  ["doc", "--lint", ...docFlags, "main.ts"],
];

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
