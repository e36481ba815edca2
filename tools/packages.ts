/**
 * Chooses where the packages of `@std` come from, for the tasks of deno.json: prints the name of the
 * configuration. That is deno.json, unless the registry JSR cannot be reached: then it is
 * npm/deno.json. The choice and its reason stand on standard error, for the person at the terminal.
 *
 * Only this one failure leads to npm. What else is wrong (an integrity in deno.lock that does not
 * fit, say) ends this program and so the task, with Deno's own message. main.ts is not loaded here:
 * what is wrong with it is seen when the task runs it.
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

/** Whether a package could not be had, other than one that is there and wrong. */
function isUnreachable(error: unknown): error is Error {
  return error instanceof TypeError && error.message.startsWith("JSR package ");
}

try {
  await loadFromJsr();
  console.error("Packages: deno.json, from JSR");
  console.log("deno.json");
} catch (error) {
  if (!isUnreachable(error)) throw error;
  console.error(`Packages: npm/deno.json, since JSR cannot be reached: ${error.message}`);
  console.log("npm/deno.json");
}
