/** The names of `@std/assert` that the tests use, from Node's own assertions. */
export { deepStrictEqual as assertEquals, ok as assert } from "node:assert/strict";
