/**
 * Whether two printed lines are of one kind.
 *
 * @module
 */

/** Shorter beginnings mean nothing. */
const MIN_BEGINNING = 3;

/** A line without what differs each time: times, ports, addresses in memory. */
export function withoutNumbers(line: string): string {
  return line.replaceAll(/0x[\da-f]+|\d+/gi, "");
}

/**
 * Whether a line begins with the words that are before the name in a good client's line. Where there
 * are no such words, it is taken to be one of the same kind.
 */
export function beginsAlike(line: string, good: string, name: string): boolean {
  const beginning = withoutNumbers(good.slice(0, good.indexOf(name)));
  return beginning.length < MIN_BEGINNING ||
    withoutNumbers(line).startsWith(beginning);
}
