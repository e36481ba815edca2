/** `parseArgs` of `@std/cli`, from minimist, of which it is a port. */
// @ts-types="@types/minimist"
import minimist from "minimist";

/** What main.ts uses of the options of `parseArgs`. */
export interface ParseOptions {
  /** Options that take a value. */
  string: string[];
  /** Called with everything that is no option of these. */
  unknown: (arg: string) => unknown;
}

/** Options by name; the last one counts where one is given twice, as in `@std/cli`. */
export function parseArgs(args: string[], options: ParseOptions): Record<string, unknown> {
  for (const arg of args) { // minimist takes --no-NAME for another spelling, and breaks at others
    const [, name] = arg.match(/^--([^=]+)/) ?? ["", ""];
    if (name.startsWith("no-") || name in Object.prototype) options.unknown(arg);
  }
  const parsed = minimist(args, {
    string: options.string,
    unknown: (arg) => options.unknown(arg) !== false,
  });
  return Object.fromEntries(
    Object.entries(parsed).map(([name, value]) => [
      name,
      Array.isArray(value) && name !== "_" ? value.at(-1) : value,
    ]),
  );
}
