/**
 * Tests of the sandbox: hostile submissions do no harm, each gets its row, and nothing of them is
 * left on the machine.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { homedir } from "node:os";
import type { Graded } from "./outcome.ts";
import { canTest, gradesOf, missedIn, pathOf, PYTHON, run, Submissions } from "./testing.ts";

/** The deeds of fixtures/hostile.py. */
const DEEDS = [
  "reads a secret",
  "writes beside itself",
  "connects outward",
  "forks without end",
  "fills the memory",
  "fills the disk",
  "kills its parent",
  "kills all",
  "stays",
  "becomes a daemon",
];

const ignore = !(await canTest());

/** All that a server printed in all of its checks. */
function outputOf(graded: Graded): string {
  return graded.checks.flatMap(({ output }) => output).join("\n");
}

async function addHostile(submissions: Submissions, deed: string, target: string): Promise<string> {
  const text = await Deno.readTextFile(pathOf("tools/grade/fixtures/hostile.py"));
  const hostile = text
    .replace(/^DEED = .*$/m, `DEED = ${JSON.stringify(deed)}`)
    .replace(/^TARGET = .*$/m, `TARGET = ${JSON.stringify(target)}`);
  return await submissions.add(deed, hostile);
}

Deno.test({ name: "grade: hostile submissions do no harm", ignore }, async (t) => {
  const mark = crypto.randomUUID();
  const secret = `${homedir()}/.${mark}`;
  await using submissions = await Submissions.create();
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  let connections = 0;
  (async () => {
    for await (const _ of listener) connections += 1;
  })();
  await Deno.writeTextFile(secret, mark);
  try {
    const targets: Record<string, string> = {
      "reads a secret": secret,
      "writes beside itself": `${submissions.folder}/none/stolen.txt`,
      "connects outward": `127.0.0.1:${listener.addr.port}`,
    };
    const paths = [await submissions.addFault("none")];
    for (const deed of DEEDS) {
      paths.push(await addHostile(submissions, deed, targets[deed] ?? ""));
    }
    paths.push(await submissions.addFault("none", "none again"));
    const grades = await gradesOf(PYTHON, "-X", `mark=${mark}`, ...paths);
    const byName = new Map(grades.submissions.map((graded) => [graded.name, graded]));
    const ofDeed = (deed: string) => byName.get(deed) as Graded;

    await t.step("each has its row, and the good ones have all points", () => {
      assertEquals(grades.submissions.length, paths.length);
      for (const name of ["none", "none again"]) assertEquals(missedIn(ofDeed(name)), []);
      for (const deed of DEEDS) assert(missedIn(ofDeed(deed)).length > 0, deed);
    });
    await t.step("no secret is read, nothing is written, nobody is reached", async () => {
      const printed = DEEDS.map((deed) => outputOf(ofDeed(deed))).join("\n");
      assert(!printed.includes(`SECRET ${mark}`) && !printed.includes("CONNECTED"), printed);
      assert(outputOf(ofDeed("reads a secret")).includes("REFUSED [Errno 2]"));
      assert(outputOf(ofDeed("writes beside itself")).includes("NOT WRITTEN"));
      assert(outputOf(ofDeed("writes beside itself")).includes("WRITTEN /submission/written.txt"));
      const files = await run("find", [submissions.folder, "-type", "f"]);
      assertEquals(files.out.trim().split("\n").length, paths.length);
      assertEquals(connections, 0);
      assert(outputOf(ofDeed("connects outward")).includes("REFUSED"));
    });
    await t.step("memory and disk end before the machine's do", () => {
      assertEquals(ofDeed("fills the memory").lastWords, "MemoryError");
      assert(/REFUSED \[Errno 2[78]\]/.test(outputOf(ofDeed("fills the disk"))));
    });
    await t.step("no process is left", async () => {
      for (let tries = 0; (await run("pgrep", ["-f", mark])).code === 0; tries++) {
        assert(tries < 200, "a process is still there");
      }
    });
  } finally {
    await Deno.remove(secret);
  }
});

Deno.test(
  { name: "grade: what outlives its parent in a sandbox ends with it", ignore },
  async () => {
    await using submissions = await Submissions.create();
    const mark = crypto.randomUUID();
    const path = await addHostile(submissions, "stays", "");
    const { submissions: [graded] } = await gradesOf(PYTHON, "-X", `mark=${mark}`, path);
    assertEquals(graded.checks[0].verdict, "pass"); // it did run
    for (let tries = 0; (await run("pgrep", ["-f", mark])).code === 0; tries++) {
      assert(tries < 200, "a process is still there");
    }
  },
);
