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

async function addHostile(
  submissions: Submissions,
  deed: string,
  target: string,
): Promise<string> {
  const text = await Deno.readTextFile(
    pathOf("tools/grade/fixtures/hostile.py"),
  );
  const hostile = text
    .replace(/^DEED = .*$/m, `DEED = ${JSON.stringify(deed)}`)
    .replace(/^TARGET = .*$/m, `TARGET = ${JSON.stringify(target)}`);
  return await submissions.add(deed, hostile);
}

/** What hostile submissions, between two good ones, have done. */
interface Harm {
  /** What each was graded with, by its name. */
  readonly graded: Map<string, Graded>;
  /** What all of them printed. */
  readonly printed: string;
  /** The connections that came to this process. */
  readonly connections: number;
}

async function gradeHostile(
  submissions: Submissions,
  mark: string,
): Promise<Harm> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  let connections = 0;
  (async () => {
    for await (const _ of listener) connections += 1;
  })();
  const targets: Record<string, string> = {
    "reads a secret": secretOf(mark),
    "writes beside itself": `${submissions.folder}/none/stolen.txt`,
    "connects outward": `127.0.0.1:${listener.addr.port}`,
  };
  const paths = [await submissions.addFault("none")];
  for (const deed of DEEDS) {
    paths.push(await addHostile(submissions, deed, targets[deed] ?? ""));
  }
  paths.push(await submissions.addFault("none", "none again"));
  const grades = await gradesOf(PYTHON, "-X", `mark=${mark}`, ...paths);
  const graded = new Map(grades.submissions.map((one) => [one.name, one]));
  return {
    graded,
    printed: grades.submissions.map(outputOf).join("\n"),
    connections,
  };
}

/** A file in the home folder of the person who grades. */
function secretOf(mark: string): string {
  return `${homedir()}/.${mark}`;
}

async function noProcessHas(mark: string): Promise<void> {
  for (let tries = 0; (await run("pgrep", ["-f", mark])).code === 0; tries++) {
    assert(tries < 200, "a process is still there");
  }
}

Deno.test(
  { name: "grade: hostile submissions do no harm", ignore },
  async (t) => {
    const mark = crypto.randomUUID();
    await using submissions = await Submissions.create();
    await Deno.writeTextFile(secretOf(mark), mark);
    const { graded, printed, connections } = await gradeHostile(
      submissions,
      mark,
    )
      .finally(() => Deno.remove(secretOf(mark)));
    const missed = (name: string) => missedIn(graded.get(name) as Graded);

    await t.step("each has its row, and the good ones have all points", () => {
      for (const name of ["none", "none again"]) assertEquals(missed(name), []);
      for (const deed of DEEDS) assert(missed(deed).length > 0, deed);
    });
    await t.step("no secret is read, and nobody is reached", () => {
      assert(
        !printed.includes(`SECRET ${mark}`) && !printed.includes("CONNECTED"),
        printed,
      );
      assert(
        printed.includes("REFUSED [Errno 2]") &&
          printed.includes("REFUSED [Errno 111]"),
        printed,
      );
      assertEquals(connections, 0);
    });
    await t.step(
      "what is written is gone",
      async () => await nothingIsWritten(printed, submissions),
    );
    await t.step("memory and disk end before the machine's do", () => {
      assertEquals(graded.get("fills the memory")?.lastWords, "MemoryError");
      assert(/REFUSED \[Errno 2[78]\]/.test(printed), printed);
    });
    await t.step("no process is left", () => noProcessHas(mark));
  },
);

async function nothingIsWritten(
  printed: string,
  { folder }: Submissions,
): Promise<void> {
  assert(printed.includes("WRITTEN /submission/written.txt"), printed);
  assert(printed.includes(`NOT WRITTEN ${folder}/none/stolen.txt`), printed);
  const files = await run("find", [folder, "-type", "f"]);
  assertEquals(files.out.trim().split("\n").length, DEEDS.length + 2);
}

Deno.test(
  { name: "grade: what outlives its parent in a sandbox ends with it", ignore },
  async () => {
    await using submissions = await Submissions.create();
    const mark = crypto.randomUUID();
    const path = await addHostile(submissions, "stays", "");
    const { submissions: [graded] } = await gradesOf(
      PYTHON,
      "-X",
      `mark=${mark}`,
      path,
    );
    assertEquals(graded.checks[0].verdict, "pass"); // it did run
    await noProcessHas(mark);
  },
);
