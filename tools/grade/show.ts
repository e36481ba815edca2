/**
 * How a report shows what a server has sent and printed: so that every difference can be seen, and
 * so that nothing in it moves a cursor or looks like a line of the grader.
 *
 * @module
 */

import { decode } from "@std/msgpack";
import type { Client, Received } from "../shared/client.ts";

/** Bytes of a message that are shown. */
const SHOWN_BYTES = 24;

/** What a text can hold and nobody sees, but for the control characters that JSON escapes. */
const INVISIBLE = /[\p{Cf}\p{Zl}\p{Zp}\u{7f}-\u{9f}]/gu;

/** A printed line in quotes: a space at its end, a `\r`, a colour or a mark without width shows. */
export function quote(line: string): string {
  const escape = (c: string) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(line).replace(INVISIBLE, escape);
}

/** Bytes in hex: `c4 01 01`. */
export function hex(bytes: Uint8Array): string {
  const shown = Array.from(bytes.subarray(0, SHOWN_BYTES), (byte) => {
    return byte.toString(16).padStart(2, "0");
  });
  return shown.join(" ") + (bytes.length > SHOWN_BYTES ? " ..." : "");
}

/** A MessagePack value as JSON, with bytes in hex. */
export function show(value: unknown): string {
  if (value instanceof Uint8Array) {
    return `the bytes ${hex(value)}${packedTwice(value)}`;
  }
  const text = JSON.stringify(value, (_, inner) => {
    if (typeof inner === "bigint") return Number(inner);
    return inner instanceof Uint8Array ? `bytes ${hex(inner)}` : inner;
  });
  return text ?? "nothing";
}

/** Bytes that hold a value of MessagePack were probably packed twice. */
function packedTwice(bytes: Uint8Array): string {
  try {
    return `, which hold the value ${show(decode(Uint8Array.from(bytes)))}: packed twice?`;
  } catch {
    return "";
  }
}

/** A value that has come, and the bytes behind it if there are some: it may be no MessagePack. */
export function describe(received: Received, client: Client): string {
  const bytes = new Uint8Array([...received.bytes, ...client.pending]);
  const rest = client.pending.length > 0 ? `, from the bytes ${dump(bytes)}` : "";
  return `${show(received.value)}${rest}`;
}

/** Bytes in hex, as text, and what they look like. */
export function dump(bytes: Uint8Array): string {
  const text = String.fromCharCode(...bytes.subarray(0, SHOWN_BYTES));
  return `${hex(bytes)} (as text ${quote(text)})${likeness(bytes)}`;
}

function likeness(bytes: Uint8Array): string {
  if (bytes[0] === 0x80 && bytes[1] >= 2 && bytes[1] <= 5) {
    return ", which look like a real pickle";
  }
  if (/^\s*[{["]/.test(String.fromCharCode(...bytes.subarray(0, 8)))) {
    return ", which look like JSON or str(...)";
  }
  return "";
}
