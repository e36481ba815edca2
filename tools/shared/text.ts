/**
 * Texts for people: they fit into a picture and into one line of a terminal.
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

/** The words of a text in lines of about so many characters; a number and its unit stay together. */
export function wrap(text: string, length: number): string[] {
  const lines = [""];
  for (const word of text.split(/ (?!s\b)/)) {
    const line = lines[lines.length - 1];
    const longer = line === "" ? word : `${line} ${word}`;
    if (longer.length > length) lines.push(word);
    else lines[lines.length - 1] = longer;
  }
  return lines.filter((line) => line !== "");
}

/** How deep a value is shown: behind that there is `...`. */
const MAX_DEPTH = 4;

/** A value that came in MessagePack, as Python shows it: `{'clientid': 51002}`. */
export function asPython(value: unknown, depth = 0): string {
  const inner = (part: unknown): string => asPython(part, depth + 1);
  if (value === null || value === undefined) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "string") return inQuotes(value);
  if (typeof value !== "object") return `${value}`;
  if (value instanceof Uint8Array) return `b'${Array.from(value, byteText).join("")}'`;
  if (depth === MAX_DEPTH) return "...";
  if (Array.isArray(value)) return `[${value.map(inner).join(", ")}]`;
  const pairs = Object.entries(value).map(([key, part]) => `${inner(key)}: ${inner(part)}`);
  return `{${pairs.join(", ")}}`;
}

/** The text as Python writes it: in double quotes if there are only single ones in it. */
function inQuotes(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  return quote + text.replaceAll("\\", "\\\\").replaceAll(quote, `\\${quote}`) +
    quote;
}

/** A byte of `bytes` as Python writes it: `a`, or `\\xff`. */
function byteText(byte: number): string {
  const character = String.fromCharCode(byte);
  if (character === "'" || character === "\\") return `\\${character}`;
  return /[ -~]/.test(character) ? character : `\\x${byte.toString(16).padStart(2, "0")}`;
}
