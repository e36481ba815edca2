/**
 * Tests of the scripts that Gradescope runs: in a folder as its images have it.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { canTest, pathOf, run, Submissions } from "./testing.ts";

const ignore = !(await canTest());

/** Runs `run_autograder` on a submission with these files; returns what Gradescope would read. */
async function runAutograder(files: Record<string, string>) {
  await using folder = await Submissions.create();
  const root = folder.folder;
  await Deno.mkdir(`${root}/source`);
  for (const name of ["deno.json", "lab", "npm", "tools"]) {
    await run("cp", ["-R", pathOf(name), `${root}/source`]);
  }
  await Deno.mkdir(`${root}/submission/alice`, { recursive: true });
  for (const [name, text] of Object.entries(files)) {
    await Deno.writeTextFile(`${root}/submission/${name}`, text);
  }
  const env = { AUTOGRADER: root };
  const { code, err } = await run(pathOf("tools/grade/gradescope/run_autograder"), [], env);
  assertEquals(code, 0, err);
  return JSON.parse(await Deno.readTextFile(`${root}/results/results.json`));
}

Deno.test(
  { name: "grade: Gradescope's script grades the server that it finds", ignore },
  async () => {
    const server = await Deno.readTextFile(pathOf("tools/grade/fixtures/server.py"));
    const results = await runAutograder({ "alice/server.py": server });
    assertEquals([results.score, results.tests.length], [13, 22]);
    assertEquals(results.extra_data.sandbox, true);
  },
);

Deno.test(
  { name: "grade: Gradescope's script says what is wrong with a submission", ignore },
  async () => {
    const none = await runAutograder({ "alice/notes.txt": "" });
    assertEquals(none.score, 0);
    assert(none.output.includes("There is no file server.py"), none.output);
    const two = await runAutograder({ "alice/server.py": "", "server.js": "" });
    assert(two.output.includes("several servers in this submission: alice/server.py server.js"));
  },
);
