/** The names of `@std/assert` that the tests use, from Node's own assertions. */
import { AssertionError, deepStrictEqual } from "node:assert/strict";

/** Throws if the value is not truthy. */
export function assert(value: unknown, message = "The value is not truthy"): asserts value {
  if (!value) throw new AssertionError({ message });
}

/** Throws if the two values differ, at any depth. */
export function assertEquals<T>(actual: T, expected: T, message?: string): void {
  if (message === undefined) deepStrictEqual(actual, expected);
  else deepStrictEqual(actual, expected, message);
}
