/**
 * Tests of texts for people.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { asPython, printable, shorten, wrap } from "./text.ts";

Deno.test("a line ends at a space, and never between a number and its unit", () => {
  assertEquals(wrap("Client 30 waited 60.5 s. It", 21), ["Client 30 waited", "60.5 s. It"]);
  assertEquals(wrap("a so-called seat", 5), ["a", "so-called", "seat"]);
});

Deno.test("a text is cut with a mark, and what is invisible in it is seen", () => {
  assertEquals([shorten("abcd", 4), shorten("abcde", 4)], ["abcd", "abc…"]);
  assertEquals(printable("a\x1b[2J\u202e\n"), "a\\u001b[2J\\u202e\\u000a");
});

Deno.test("a value is shown as Python shows it", () => {
  const cases: [value: unknown, shown: string][] = [
    [1n << 40n, "1099511627776"],
    [2.5, "2.5"],
    [[true, false, null], "[True, False, None]"],
    [{ clientid: 5, name: "Ana" }, "{'clientid': 5, 'name': 'Ana'}"],
    [`it's`, `"it's"`],
    [`it's "a"`, `'it\\'s "a"'`],
    ["a\\b", "'a\\\\b'"],
    [Uint8Array.of(0x61, 0x27, 0xff), "b'a\\'\\xff'"],
    [[[[[[1]]]]], "[[[[...]]]]"],
  ];
  for (const [value, shown] of cases) assertEquals(asPython(value), shown);
});
