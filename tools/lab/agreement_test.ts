/**
 * `lab/check.py` and the grader agree: whatever both of them judge they judge alike, on every server of
 * the grader's tests. They visit a server that runs already, each a fresh one.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { gradeAll } from "../grade/batch.ts";
import { type Row, ROWS } from "../grade/fixtures/rows.ts";
import { type Options, readOptions } from "../grade/options.ts";
import { ROOT } from "../shared/config.ts";
import { freePort } from "../shared/testing.ts";
import { Folder, LAB, pathOf, type Python, pythons, run, stepsSideBySide } from "./testing.ts";

/** For a server to listen. Some never do. */
const START_MS = 5000;

/** What a program says about each check that it judges. */
type Verdicts = Map<string, "pass" | "miss">;

/** How Linux writes that somebody listens at an IPv4 address. */
const LISTENER = /:([0-9A-F]{4}) 0+:0000 0A /g;

/** Whether somebody listens at this port. Linux lists those who listen before all connections. */
function isListening(port: number): boolean {
  using list = Deno.openSync("/proc/net/tcp");
  const space = new Uint8Array(65536);
  for (;;) {
    const part = new TextDecoder().decode(space.subarray(0, list.readSync(space) ?? 0));
    const ports = Array.from(part.matchAll(LISTENER), ([, digits]) => parseInt(digits, 16));
    if (ports.includes(port)) return true;
    if (ports.length === 0) return false; // these are connections, or it is the end
  }
}

/** A server of the grader's tests with a fault, in a process group of its own. */
class Faulty implements AsyncDisposable {
  readonly port = freePort();
  readonly #process: Deno.ChildProcess;

  constructor(python: Python, fault: string) {
    const script = pathOf(new URL("tools/grade/fixtures/server.py", ROOT));
    this.#process = new Deno.Command(python.program, {
      args: [script, fault, String(this.port)],
      env: { PYTHONPATH: pathOf(LAB), PYTHONDONTWRITEBYTECODE: "1" },
      stdin: "piped",
      stdout: "null",
      stderr: "null",
      detached: true,
    }).spawn();
  }

  /** Waits until it listens, without a visit. */
  async untilListening(): Promise<void> {
    const deadline = performance.now() + START_MS;
    let hasEnded = false;
    this.#process.status.then(() => hasEnded = true);
    while (!isListening(this.port)) {
      if (hasEnded || performance.now() > deadline) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      Deno.kill(-this.#process.pid, "SIGKILL");
    } catch { // All of them have ended.
    }
    await this.#process.stdin.close().catch(() => {});
    await this.#process.status;
  }
}

/** What check.py says about a server with this fault. */
async function checked(python: Python, folder: Folder, fault: string): Promise<Verdicts> {
  await using server = new Faulty(python, fault);
  await server.untilListening();
  const args = [folder.file("check.py"), "--port", String(server.port)];
  const { code, out, err } = await run(python.program, args);
  assertEquals(err, "");
  const lines = out.matchAll(/^(ok|MISS|open) +([^:]+): /gm);
  const marks = [...lines].map(([, mark, name]) => [mark, name]);
  assertEquals(code, marks.some(([mark]) => mark === "MISS") ? 1 : 0, out);
  return new Map(marks.map(([mark, name]) => [name, mark === "ok" ? "pass" : "miss"]));
}

/** What check.py and the grader both look at, in the order in which a running server meets it. */
const SHARED = [
  "greets",
  "acknowledges",
  "serves the next",
  "one at a time",
  "two at once",
  "leaves at once",
  "missing key",
  "leaves in the middle",
  "garbage",
  "resets",
  "two pieces",
  "two in one",
];

/** What the grader says about it. */
async function graded(python: Python, fault: string): Promise<Verdicts> {
  await using server = new Faulty(python, fault);
  await server.untilListening();
  const options = readOptions(["--port", String(server.port), "--only", SHARED.join()]) as Options;
  const listener = { say: () => {}, onCheck: () => {}, onGraded: async () => {} };
  const { submissions: [{ checks }] } = await gradeAll(options, false, listener);
  const verdicts: Verdicts = new Map();
  for (const { name, verdict } of checks) if (verdict !== "not judged") verdicts.set(name, verdict);
  return verdicts;
}

/** The first check that is missed, if there is one. */
function firstMissed(verdicts: Verdicts): string | undefined {
  return SHARED.find((name) => verdicts.get(name) === "miss");
}

/** What both say of a check must be the same, and the first one that is missed, too. */
function assertAlike(one: Verdicts, other: Verdicts): void {
  const both = SHARED.filter((name) => one.has(name) && other.has(name));
  const of = (verdicts: Verdicts) => both.map((name) => `${name}: ${verdicts.get(name)}`);
  assertEquals(of(one), of(other));
  assertEquals(firstMissed(one), firstMissed(other));
}

// ----------------------------------------------------------------------------- every server --

/** Why no client that comes to 127.0.0.1 and the usual port can see the fault, or the server. */
const UNSEEN: Record<string, string> = {
  "prints the incomplete": "the line is in the server's window",
  "another host": "nobody is at 127.0.0.1",
  "another port": "nobody is at the usual port",
  "hidden port": "nobody is at the usual port",
};

/** The marks of the grader, each server started anew for each check: rows_test.ts proves them. */
function marks({ missed, notJudged = [], only = SHARED }: Row): Verdicts {
  const judged = SHARED.filter((name) => only.includes(name) && !notJudged.includes(name));
  return new Map(judged.map((name) => [name, missed.includes(name) ? "miss" : "pass"]));
}

const [python] = pythons;
const ignore = python === undefined || Deno.build.os !== "linux";

Deno.test({
  name: "check.py sees every server of the grader's tests as the grader does",
  ignore,
  fn: async (t) => {
    await using folder = await Folder.handOut();
    const rows = ROWS.filter(({ fault }) => !(fault in UNSEEN));
    await stepsSideBySide(t, rows, ({ fault }) => fault, async (row) => {
      assertAlike(await checked(python, folder, row.fault), marks(row));
    });
  },
});

// --------------------------------------------------------------------- a server that runs already --

/** One server for each check that both make, and one without a fault. */
const RUNNING = [
  "none",
  "wrong id",
  "says ok",
  "never acknowledges",
  "a thread for each",
  "no queue",
  "dies on leaving",
  "dies on a missing key",
  "dies in the middle",
  "dies on garbage",
  "dies on a reset",
  "one recv",
  "answers once",
];

Deno.test({
  name: "check.py and the grader agree on a server that runs already",
  ignore,
  fn: async (t) => {
    await using folder = await Folder.handOut();
    await stepsSideBySide(t, RUNNING, (fault) => fault, async (fault) => {
      assertAlike(await checked(python, folder, fault), await graded(python, fault));
    });
  },
});
