/**
 * Texts that fit: into a picture, and into one line of a terminal.
 *
 * @module
 */

/** What could move a cursor or forge a line, and what XML does not allow. */
const UNSAFE = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}\p{Cs}\p{Noncharacter_Code_Point}]/gu;

/** The text with escapes in the place of what is invisible: what a server has sent may be anything. */
export function printable(text: string): string {
  return text.replace(UNSAFE, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** The text, or its beginning with `…` if it is longer than so many characters. */
export function shorten(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}

/** The words of a text in lines of about so many characters. */
export function wrap(text: string, length: number): string[] {
  const lines = [""];
  for (const word of text.split(" ")) {
    const line = lines[lines.length - 1];
    const longer = line === "" ? word : `${line} ${word}`;
    if (longer.length > length) lines.push(word);
    else lines[lines.length - 1] = longer;
  }
  return lines.filter((line) => line !== "");
}
