/**
 * Tests of the list of submissions: what is understood in part only is refused, since it would give
 * one student's mark to another.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { UsageError } from "./outcome.ts";
import { submissionsOf } from "./submission.ts";
import { canTest, PYTHON, Submissions } from "./testing.ts";

const ignore = !(await canTest());

/** Lists with alice's and bob's files, each a word of the command behind Python's, and the refusal. */
const WRONG = [
  { words: ["alice.py", "bob.py", "-v"], says: "-v is no file, and stands among 2 files to grade" },
  { words: ["alice.py", "x", "bob.py"], says: "x is no file, and stands among 2 files to grade" },
  { words: ["alice.py", "carol.py"], says: "There is no file carol.py" },
  { words: ["alice.py", "bob.py", "folder"], says: "folder is a folder: name the file in it" },
  { words: ["alice.py", "folder"], says: "folder is a folder: name the file in it" },
  { words: ["alice.py", "notes.txt"], says: "are files of two kinds" },
];

/** What is understood: the names of the submissions, and the words of the last one's command. */
const RIGHT = [
  { words: ["alice.py", "bob.py"], names: ["alice", "bob"], last: ["bob.py"] },
  { words: ["-u", "alice.py", "bob.py"], names: ["alice", "bob"], last: ["-u", "bob.py"] },
  { words: ["alice.py", "12000", "-v"], names: ["alice.py"], last: ["alice.py", "12000", "-v"] },
];

/** How a list is refused: with a UsageError, and with these words. */
function refusalOf(words: string[]): string {
  try {
    return `it is taken for ${submissionsOf(words).length} submissions`;
  } catch (error) {
    assert(error instanceof UsageError, `${error}`);
    return error.message;
  }
}

Deno.test({ name: "grade: a list that is understood in part is refused", ignore }, async (t) => {
  await using submissions = await Submissions.create();
  const { folder } = submissions;
  for (const name of ["alice.py", "bob.py", "notes.txt"]) {
    await Deno.writeTextFile(`${folder}/${name}`, "");
  }
  await Deno.mkdir(`${folder}/folder`);
  const before = Deno.cwd();
  Deno.chdir(folder);
  try {
    for (const { words, says } of WRONG) {
      await t.step(words.join(" "), () => {
        const refusal = refusalOf([PYTHON, ...words]);
        assert(refusal.includes(says), refusal);
      });
    }
    await t.step("a script in the place of its program", () => {
      const refusal = refusalOf(["./alice.py", "bob.py"]);
      assert(refusal.includes("alice.py is no program: name the one that runs it"), refusal);
    });
    for (const { words, names, last } of RIGHT) {
      await t.step(words.join(" "), () => {
        const found = submissionsOf([PYTHON, ...words]);
        assertEquals(found.map(({ name }) => name), names);
        const relative = found.at(-1)?.command.slice(1).map((word) => word.split("/").at(-1));
        assertEquals(relative, last);
      });
    }
  } finally {
    Deno.chdir(before);
  }
});
