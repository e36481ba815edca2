/**
 * Chooses where the packages of `@std` come from, for the tasks of deno.json: prints the flag that
 * follows `deno run`. It has deno.json, unless the registry JSR is not reached: then it has
 * npm/deno.json. The flag is needed in both cases, since Deno takes tools/deno.json for a module of
 * `tools/`. A line on standard error says so to the person at the terminal; the causes
 * stand in it only where npm is not reached, either.
 *
 * Only this one failure leads to npm. Where something else is wrong (an integrity in deno.lock that
 * does not fit, say) Deno's own message says it, and the task goes on with deno.json and meets it
 * again. main.ts is not loaded here: what is wrong with it is seen when the task runs it.
 *
 * @module
 */

const JSR_FLAG = "--config=deno.json";
const NPM_FLAG = "--config=npm/deno.json";
const NPM_MODULES = ["assert", "log", "msgpack", "parse_args"].map((name) => `npm/${name}.ts`);
const CERTIFICATES = "Where a proxy has a certificate of its own, set DENO_TLS_CA_STORE=system";

/** Loads every package that main.ts and the tests import: with deno.json, from JSR. */
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

/** Loads what takes their place from npm; returns Deno's words where that fails. */
async function loadFromNpm(): Promise<string | undefined> {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["cache", "--quiet", NPM_FLAG, ...NPM_MODULES],
    cwd: new URL("../..", import.meta.url),
    env: { NO_COLOR: "1", RUST_BACKTRACE: "0" }, // so that an error is a sentence
  }).output();
  return success ? undefined : new TextDecoder().decode(stderr).trim().replaceAll(/\s+/g, " ");
}

try {
  await loadFromJsr();
  console.error("Packages: from JSR");
  console.log(JSR_FLAG);
} catch (error) {
  if (!isUnreachable(error)) throw error;
  const npmFailure = await loadFromNpm();
  console.error(
    npmFailure === undefined
      ? "Packages: from npm, JSR is not reached"
      : `Packages: JSR and npm are not reached. ${CERTIFICATES}. ${error.message} ${npmFailure}`,
  );
  console.log(NPM_FLAG);
}
