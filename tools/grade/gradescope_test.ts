/**
 * Tests of the scripts that Gradescope runs: in a folder as its images have it.
 *
 * @module
 */

import { dirname } from "node:path";
import { assert, assertEquals } from "@std/assert";
import { canTest, pathOf, run, Submissions } from "./testing.ts";

const ignore = !(await canTest());

/** Runs `run_autograder` on a submission with these files; returns what Gradescope would read. */
async function runAutograder(files: Record<string, string>, env: Record<string, string> = {}) {
  await using folder = await Submissions.create();
  const root = folder.folder;
  await Deno.mkdir(`${root}/source`);
  for (const name of ["deno.json", "lab", "npm", "tools"]) {
    await run("cp", ["-R", pathOf(name), `${root}/source`]);
  }
  for (const [name, text] of Object.entries(files)) {
    await Deno.mkdir(dirname(`${root}/submission/${name}`), { recursive: true });
    await Deno.writeTextFile(`${root}/submission/${name}`, text);
  }
  const script = pathOf("tools/grade/gradescope/run_autograder");
  const { code, out } = await run(script, [], { AUTOGRADER: root, ...env });
  const text = await Deno.readTextFile(`${root}/results/results.json`).catch(() => undefined);
  return { code, out, results: text === undefined ? undefined : JSON.parse(text) };
}

Deno.test(
  { name: "grade: Gradescope's script grades the server that it finds", ignore },
  async () => {
    const server = await Deno.readTextFile(pathOf("tools/grade/fixtures/server.py"));
    const { results } = await runAutograder({
      "lab3-main/src/Server.py": server,
      "lab3-main/src/old/server.py": "raise SystemExit",
      "__MACOSX/server.py": "",
      ".git/server.py": "",
    });
    assertEquals([results.score, results.tests.length], [13, 22]);
    assertEquals(results.extra_data.sandbox, true);
  },
);

/** Submissions that cannot be graded, and what the student reads. */
const WITHOUT_SERVER: { files: Record<string, string>; says: string; found: string }[] = [
  {
    files: { "lab3/lab3.py": "", "lab3/notes.txt": "", "__MACOSX/lab3.py": "" },
    says: "There is no file server.py in this submission.",
    found: "lab3/lab3.py\nlab3/notes.txt",
  },
  {
    files: { ".DS_Store": "" },
    says: "There is no file server.py in this submission.",
    found: "none at all",
  },
  {
    files: { "a/server.py": "", "b/server.js": "" },
    says: "There are several servers in this submission: a/server.py b/server.js",
    found: "a/server.py\nb/server.js",
  },
];

Deno.test("grade: Gradescope's script says what it has found, and where it should be", async (t) => {
  for (const { files, says, found } of WITHOUT_SERVER) {
    await t.step(`${says} ${found}`, async () => {
      const { code, results } = await runAutograder(files);
      const advice = "Hand in one file server.py (or server.js). Your submission has these files:";
      assertEquals([code, results.score, results.output], [0, 0, `${says}\n${advice}\n${found}`]);
    });
  }
});

Deno.test({ name: "grade: trouble of the grader is no score on Gradescope", ignore }, async () => {
  const programs = await Deno.makeTempDir();
  await Deno.writeTextFile(`${programs}/deno`, "#!/bin/sh\necho no disk >&2\nexit 3\n");
  await Deno.chmod(`${programs}/deno`, 0o755);
  const PATH = `${programs}:${Deno.env.get("PATH")}`;
  const { code, out, results } = await runAutograder({ "server.py": "" }, { PATH });
  await Deno.remove(programs, { recursive: true });
  assertEquals([code, results], [1, undefined]);
  assert(out.includes("This says nothing about the submission"), out);
});
