/**
 * Chooses where the packages of `@std` come from, for the tasks of deno.json: prints the flag that
 * follows `deno run`. That is nothing, which means deno.json, unless the registry JSR cannot be
 * reached: then it is npm/deno.json. The choice and its reason stand on standard error, for the
 * person at the terminal.
 *
 * Only this one failure leads to npm. Where something else is wrong (an integrity in deno.lock that
 * does not fit, say) Deno's own message says it, and the task goes on with deno.json and meets it
 * again. main.ts is not loaded here: what is wrong with it is seen when the task runs it.
 *
 * @module
 */

/** Loads every package that main.ts and server_test.ts import: with deno.json, from JSR. */
async function loadFromJsr(): Promise<void> {
  await import("@std/assert");
  await import("@std/cli/parse-args");
  await import("@std/log/base-handler");
  await import("@std/log/logger");
  await import("@std/msgpack");
}

/** Whether the registry did not give what it has to say of a package. */
function isUnreachable(error: unknown): error is Error {
  return error instanceof TypeError && error.message.startsWith("JSR package ");
}

try {
  await loadFromJsr();
  console.error("Packages: deno.json, from JSR");
} catch (error) {
  if (!isUnreachable(error)) throw error;
  console.error(`Packages: npm/deno.json, since JSR cannot be reached: ${error.message}`);
  console.log("--config=npm/deno.json");
}
