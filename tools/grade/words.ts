/**
 * Which line of a server's output says what went wrong with it.
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
const EMPTY_WORDS = [
  /^\s*$/,
  /^Node\.js v\d/,
  /^note: run with/,
  /^\s+at /,
  /^exit status \d+$/,
];

/** The last line that is an error's, if there is one. */
export function errorLine(lines: readonly string[]): string | undefined {
  return lines.findLast((line) =>
    ERROR_LINES.some((pattern) => pattern.test(line))
  )?.trim();
}

/** What a server said last: its error, or else its last line with words in it. */
export function lastWords(lines: readonly string[]): string {
  const hasWords = (line: string) =>
    !EMPTY_WORDS.some((pattern) => pattern.test(line));
  return errorLine(lines) ?? lines.findLast(hasWords)?.trim() ??
    "it has printed nothing";
}
