/**
 * What the lines mean that a server prints.
 *
 * @module
 */

/** How the line of an error begins in Python, Node, Deno, Java, Go and Rust. */
const ERROR_LINES = [
  /^(Uncaught |error: )*(\(in promise\) )*[\w.$]*(Error|Exception|Interrupt|Exit)\b/,
  /^Exception in thread "[^"]*" /,
  /^panic: /,
  /panicked at/,
];

/** Lines that runtimes print below an error, and that say nothing about it. */
const EMPTY_WORDS = [/^\s*$/, /^Node\.js v\d/, /^note: run with/, /^\s+at /, /^exit status \d+$/];

/** A line that speaks of an error, in whatever words. */
const SPEAKS_OF_ERROR = /error|exception|traceback|fail|invalid|refused/i;

/** The last line that is an error's, if there is one. */
export function errorLine(lines: readonly string[]): string | undefined {
  return lines.findLast((line) => ERROR_LINES.some((pattern) => pattern.test(line)))?.trim();
}

/** What a server said last: its error, or else its last line with words in it. */
export function lastWords(lines: readonly string[]): string {
  const hasWords = (line: string) => !EMPTY_WORDS.some((pattern) => pattern.test(line));
  return errorLine(lines) ?? lines.findLast(hasWords)?.trim() ?? "it has printed nothing";
}

/** Whether one of the lines speaks of an error. */
export function speakOfError(lines: readonly string[]): boolean {
  return lines.some((line) => SPEAKS_OF_ERROR.test(line));
}

/** The kind of a line: what is left without what differs each time (times, ports, addresses). */
export function kindOf(line: string): string {
  return line.replaceAll(/0x[\da-f]+|\d+/gi, "");
}

/**
 * Whether a line is the same for this name as a good client's is for another: alike up to the name.
 * An error may quote the name, too, and is another line.
 */
export function isSameLine(line: string, name: string, good: string, goodName: string): boolean {
  const at = good.indexOf(goodName);
  const beginning = kindOf(good.slice(0, at + goodName.length));
  return at >= 0 && kindOf(line.replaceAll(name, goodName)).startsWith(beginning);
}
