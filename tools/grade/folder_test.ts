/**
 * Tests of what of a folder a server may see.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { dirname } from "node:path";
import { codeElsewhere, warningsAbout } from "./folder.ts";
import type { Graded, Grades } from "./outcome.ts";
import { canTest, grade, gradesOf, missedIn, pathOf, PYTHON, Submissions } from "./testing.ts";

const ignore = !(await canTest());
const ONLY = ["--only", "says where,greets"];

/** The lines of these words that a server printed in its first check. */
function printed({ checks: [first] }: Graded, word: string): string[] {
  return first.output.filter((line) => line.startsWith(word));
}

/** Adds the good server, with these lines of Python before its own. */
async function addWith(submissions: Submissions, name: string, lines: string): Promise<string> {
  const path = await submissions.addFault("none", name);
  const text = await Deno.readTextFile(path);
  await Deno.writeTextFile(path, text.replace("import io\n", `${lines}\nimport io\n`));
  return path;
}

Deno.test({ name: "grade: in a flat folder each server sees its own file", ignore }, async () => {
  await using submissions = await Submissions.create();
  const hostile = await Deno.readTextFile(pathOf("tools/grade/fixtures/hostile.py"));
  const eve = await submissions.add("flat", hostile.replace(/^DEED.*$/m, 'DEED = "finds files"'));
  const bob = await submissions.addFault("none", "flat/inner");
  const alice = `${submissions.folder}/flat/alice.py`;
  await Deno.copyFile(bob, alice);
  const { out, err } = await grade("--json", "-", ...ONLY, PYTHON, eve, alice, bob);
  const { submissions: [first, ...others] } = JSON.parse(out) as Grades;
  const found = printed(first, "FOUND").filter((line) => line !== "FOUND /deno").sort();
  const files = ["/lab/pickle.py", "/original/server.py", "/submission/server.py"];
  assertEquals(found, files.map((path) => `FOUND ${path}`));
  assertEquals(others.map(missedIn), [[], []]);
  assert(err.includes("several submissions in"), err);
});

/** More than a server may write. */
const LARGE_BYTES = 130 * 2 ** 20;

/** What a server in a folder with much beside it does there. */
const DEEDS_BESIDE = `
import getpass
import os
with open("new.txt", "w") as file:
    file.write("new")
with open("small.txt", "a") as file:
    file.write("more")
print("SEEN", open("small.txt").read(), os.path.getsize("large.bin"), len(os.listdir("many")))
print("SEEN", getpass.getuser())`;

Deno.test({ name: "grade: a folder with much in it stays writable", ignore }, async () => {
  await using submissions = await Submissions.create();
  const path = await addWith(submissions, "alice", DEEDS_BESIDE);
  const folder = `${submissions.folder}/alice`;
  await Deno.writeTextFile(`${folder}/small.txt`, "some");
  await Deno.writeFile(`${folder}/large.bin`, new Uint8Array(LARGE_BYTES));
  await Deno.mkdir(`${folder}/many`);
  for (let number = 0; number < 5000; number++) {
    Deno.writeTextFileSync(`${folder}/many/${number}`, "");
  }
  const { submissions: [alice] } = await gradesOf(...ONLY, PYTHON, path);
  assertEquals(printed(alice, "SEEN"), [`SEEN somemore ${LARGE_BYTES} 5000`, "SEEN student"]);
  assertEquals(missedIn(alice), []);
});

Deno.test({ name: "grade: code behind a link is not somebody's own", ignore }, async () => {
  await using submissions = await Submissions.create();
  const alice = await submissions.addFault("none", "alice");
  const { folder } = submissions;
  await Deno.mkdir(`${folder}/bob`);
  await Deno.symlink("../alice/server.py", `${folder}/bob/server.py`);
  await Deno.symlink("alice", `${folder}/carol`);
  await Deno.mkdir(`${folder}/dora/src`, { recursive: true });
  await Deno.rename(await submissions.addFault("none"), `${folder}/dora/src/server.py`);
  await Deno.symlink("src/server.py", `${folder}/dora/server.py`);
  const paths = ["alice", "bob", "carol", "dora"].map((name) => `${folder}/${name}/server.py`);
  const all = paths.map((path) => {
    return { name: "", path, command: [PYTHON, path], folder: path.replace("/server.py", "") };
  });
  const real = await Deno.realPath(alice);
  const elsewhere = [undefined, real, dirname(real), undefined];
  assertEquals(all.map((one) => codeElsewhere(one, all)), elsewhere);
  assertEquals(all.map((one) => codeElsewhere(one, [one])), elsewhere);
  const grades = await gradesOf(...ONLY, PYTHON, ...paths);
  assertEquals(grades.submissions.map(({ points }) => points), [2, null, null, 2]);
});

Deno.test({ name: "grade: a folder with the teacher's own files is named", ignore }, async () => {
  await using submissions = await Submissions.create();
  const { folder } = submissions;
  await Deno.mkdir(`${folder}/.config`);
  await Deno.writeTextFile(`${folder}/.config/user-dirs.dirs`, 'XDG_DOWNLOAD_DIR="$HOME/Saved"\n');
  const isNamed = (own: string) => {
    const command = [PYTHON, `${own}/server.py`];
    return warningsAbout([{ name: "alice", path: "", command, folder: own }], folder).length > 0;
  };
  const folders = [folder, `${folder}/Saved`, `${folder}/Downloads`, `${folder}/alice`];
  assertEquals(folders.map(isNamed), [true, true, true, false]);
});
