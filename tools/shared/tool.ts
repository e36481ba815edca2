/**
 * How a tool of the command line begins and ends.
 *
 * @module
 */

/** The exit status for a wrong command line, of our server, too. */
const USAGE_STATUS = 2;

/** A wrong command line; its message says what would be right. */
export class UsageError extends Error {}

/** The part of a tool that does the work. */
export interface Command {
  /** Runs the tool, and returns its exit status. */
  run(args: string[]): Promise<number>;
}

/**
 * Runs a tool and ends the process: prints the help, or else loads the module of the command and
 * runs it. The module's address is no text in an `import`, because Deno fetches all packages of
 * `tools/deno.json` before it runs a program that could import one of them: who asks for the help
 * shall not wait for that.
 *
 * @param help What `--help` prints.
 * @param module The address of a module that exports what {@linkcode Command} has.
 */
export async function runTool(help: string, module: URL): Promise<never> {
  if (Deno.args.includes("--help")) {
    console.log(help);
    Deno.exit();
  }
  try {
    const { run } = await import(module.href) as Command;
    Deno.exit(await run(Deno.args));
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    Deno.exit(statusOf(error));
  }
}

/** The exit status for an error; the error of a server that did not start has the server's own. */
function statusOf(error: unknown): number {
  if (error instanceof UsageError) return USAGE_STATUS;
  return error instanceof Error && error.cause === USAGE_STATUS ? USAGE_STATUS : 1;
}
