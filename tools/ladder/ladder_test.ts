/**
 * Tests of the ladder: what it shows of a log, and what it says of one that it cannot read.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { assertMatch, processTest, startTool, textsOf } from "../shared/testing.ts";
import { draw } from "./command.ts";
import { readLog } from "./records.ts";

/** A line of a log. */
function logLine(client: string, fields: object): string {
  const time = "2026-01-01T00:00:00.000Z";
  return JSON.stringify({ time, event: "wire", client, message: `${client}: words`, ...fields });
}

/** The texts of the ladder of this log. */
async function ladderOf(lines: string[], client?: string): Promise<string[]> {
  return textsOf(await draw(readLog(lines.join("\n")), client)).map(({ text }) => text);
}

const TWO_CLIENTS = [
  "Packages: from npm",
  logLine("127.0.0.1:1", { step: "accepted" }),
  logLine("127.0.0.1:2", { step: "accepted" }),
  logLine("127.0.0.1:2", { step: "recv", bytes: 9 }),
  logLine("127.0.0.1:2", { step: "received", bytes: 9, value: "<script>\u001b" }),
  logLine("127.0.0.1:2", { event: "idle", level: "INFO", message: "127.0.0.1:2: silent" }),
  logLine("127.0.0.1:2", { step: "closed", by: "client", message: "127.0.0.1:2: left" }),
  logLine("127.0.0.1:2", { event: "closed", message: "127.0.0.1:2: left" }),
];

Deno.test("the ladder shows one client of the log, and nothing of it is markup", async () => {
  const first = await ladderOf(TWO_CLIENTS);
  const second = await ladderOf(TWO_CLIENTS, "127.0.0.1:2");
  assert(first.some((text) => text.includes("127.0.0.1:1")));
  assert(second.includes("a whole value, 9 bytes: <script>\\u001b"), second.join("\n"));
  assert(second.includes("idle: silent"));
  assert(second.includes("closed by the client"));
  assert(!second.includes("closed: left"), "it says the same as the record of the wire");
});

Deno.test("the title says how the bytes came and what they were, and a screen reader, too", async () => {
  const svg = await draw(readLog(TWO_CLIENTS.join("\n")), "127.0.0.1:2");
  const title = "1 recv brought 9 bytes, which were 1 whole value";
  assert(textsOf(svg).some(({ text }) => text === title));
  assert(svg.includes(`<title>${title}</title>`) && svg.includes('role="img"'));
});

Deno.test("what a container or a journal writes in front of a record is no part of it", async () => {
  const prefixed = TWO_CLIENTS.map((line) => `server-1  | Nov 30 16:00:00 lab[7]: ${line}`);
  assertEquals(await ladderOf(prefixed, "127.0.0.1:2"), await ladderOf(TWO_CLIENTS, "127.0.0.1:2"));
});

Deno.test("a clock that was set back is named, and does not change the order", async () => {
  const at = (time: string, step: string) => logLine("127.0.0.1:1", { step, by: "client", time });
  const texts = await ladderOf([
    at("2026-01-01T10:00:00.000Z", "accepted"),
    at("2026-01-01T09:00:00.000Z", "recv"),
    at("2026-01-01T09:00:01.500Z", "closed"),
    at("no time", "closed"),
  ]);
  const times = texts.filter((text) => /^\+|^0 ms|clock|NaN/.test(text));
  assertEquals(times, ["0 ms", "clock set back", "+1.50 s"]);
});

processTest("the ladder's exit status: 1 without a session, 2 for a wrong option", async () => {
  const log = logLine("127.0.0.1:1", { step: "accepted" });
  const info = logLine("127.0.0.1:1", { event: "left", step: undefined });
  const cases: [args: string[], input: string, code: number, says: RegExp][] = [
    [[], "INFO no record\n", 1, /^No session .* json\. It has no record .* is: INFO no record$/],
    [[], `${info}\n`, 1, /^No session .*DEBUG .* none of the wire: 1\.$/],
    [["--client", "127.0.0.1:9"], log, 1, /^No client 127.0.0.1:9 .* there are 127.0.0.1:1$/],
    [["--clinet", "x"], log, 2, /^Unknown option --clinet: .*$/],
    [[], `${log}\n{"time": "2026`, 0, /^Lines that are no records: 1, .* is: {"time": "2026$/],
    [[], `Packages: from npm\n${log}`, 0, /^$/],
  ];
  await Promise.all(cases.map(async ([args, input, code, says]) => {
    const ended = await startTool("tools/ladder/main.ts", args, { input }).end();
    assertMatch(ended.err.join("\n"), says);
    assertEquals([ended.code, ended.out.length > 0], [code, code === 0]);
  }));
});
