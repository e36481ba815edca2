/**
 * Tests of the command line of the class.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { assertMatch } from "../shared/testing.ts";
import { UsageError } from "../shared/tool.ts";
import { parseOptions, type Target } from "./options.ts";

const HOST = "127.0.0.1";

Deno.test("bad clients are spread among the good ones", () => {
  const { kinds } = parseOptions(["--clients", "8", "--kinds", "silent:2,reset"]).plan;
  assertEquals(kinds.map((kind) => kind[0]).join(""), "gsggsgrg");
});

Deno.test("the limit of a run grows with what the clients are to do", () => {
  const seconds = (...args: string[]) => parseOptions(args).plan.limitMs / 1000;
  assertEquals(seconds(), 10 + 1 + 30 * 3);
  assertEquals(
    seconds("--clients", "4", "--kinds", "silent", "--arrive", "5"),
    10 + 5 + 3 * 3 + 13,
  );
  assertEquals(seconds("--clients", "4", "--stay", "7"), 10 + 1 + 4 * 10);
  assertEquals(seconds("--limit", "2.5"), 2.5);
  assertEquals(seconds("--clients", "1000", "--stay", "3600"), 86400);
});

Deno.test("what follows -- is for our server, and what follows --compare is the second server", () => {
  const cases: [args: string, targets: Target[]][] = [
    ["", [{ serverOptions: [] }]],
    ["--port 12001", [{ host: HOST, port: 12001 }]],
    ["--label Ana --port 12001", [{ label: "Ana", host: HOST, port: 12001 }]],
    ["-- --backlog 1", [{ serverOptions: ["--backlog", "1"] }]],
    ["-- --backlog 1 --compare --backlog 2", [
      { serverOptions: ["--backlog", "1"] },
      { serverOptions: ["--backlog", "2"] },
    ]],
    ["--label lab --compare --label=mine --port=12001", [
      { label: "lab", serverOptions: [] },
      { label: "mine", host: HOST, port: 12001 },
    ]],
    ["--compare --backlog 1 --label 1", [
      { serverOptions: [] },
      { label: "1", serverOptions: ["--backlog", "1"] },
    ]],
  ];
  for (const [args, expected] of cases) {
    const { targets } = parseOptions(args.split(" ").filter((arg) => arg !== ""));
    assertEquals(targets, expected.map((target) => ({ label: undefined, ...target })));
  }
});

Deno.test("a slide has ten clients, and twelve at the most", () => {
  const clients = (...args: string[]) => parseOptions(["--slide", ...args]).plan.kinds.length;
  assertEquals([clients(), clients("--clients", "12")], [10, 12]);
  assertMatch(usageErrorOf(["--slide", "--clients", "13"]), /from 1 to 12, not 13/);
});

/** What is said about a wrong command line. */
function usageErrorOf(args: string[]): string {
  try {
    parseOptions(args);
  } catch (error) {
    assert(error instanceof UsageError);
    return error.message;
  }
  return "nothing was wrong";
}

Deno.test("a wrong option is named, with what would be right", () => {
  const wrong: [args: string[], says: RegExp][] = [
    [["--client", "3"], /Unknown option --client: there are --host, .*--slide/],
    [["extra"], /Unknown option extra/],
    [["--clients"], /--clients needs a value/],
    [["--clients", "0"], /--clients must be a whole number from 1 to 1000, not 0/],
    [["--clients", "1.5"], /whole number/],
    [["--stay", "-1"], /Unknown option -1|--stay/],
    [["--stay", "soon"], /--stay must be a number of seconds/],
    [["--port", "70000"], /--port must be a whole number from 1 to 65535/],
    [["--kinds", "rude"], /--kinds knows good, early/],
    [["--clients", "2", "--kinds", "silent:3"], /--kinds has 3 clients, but --clients is 2/],
    [["--port", "12001", "--", "--backlog", "1"], /leave out --host and --port/],
    [["--compare", "--port", "12001", "--backlog", "1"], /Unknown option --backlog/],
    [["--compare", "--label"], /--label needs a value/],
  ];
  for (const [args, says] of wrong) assertMatch(usageErrorOf(args), says);
});
