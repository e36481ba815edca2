/**
 * Tests of what submissions are called, and of who has not handed in.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { namesOf } from "./names.ts";
import { UsageError } from "./outcome.ts";
import { compareWithRoster, readRoster } from "./roster.ts";

/** Paths as teachers have them, and the names of these submissions. */
const NAMED: { what: string; paths: string[]; names: string[] }[] = [
  {
    what: "a folder for each student",
    paths: ["../alice/server.py", "../bob/server.py"],
    names: ["alice", "bob"],
  },
  {
    what: "a file for each student",
    paths: ["../all/alice.py", "../all/bob.py"],
    names: ["alice", "bob"],
  },
  {
    what: "files in two languages",
    paths: ["../all/alice.py", "../all/bob.js"],
    names: ["alice.py", "bob.js"],
  },
  {
    what: "folders in folders",
    paths: ["../a/src/server.py", "../a/server.py"],
    names: ["src/server.py", "server.py"],
  },
  {
    what: "folders in folders, with other file names",
    paths: ["../a/x/server.py", "../b/main.py"],
    names: ["a/x/server.py", "b/main.py"],
  },
  {
    what: "one submission",
    paths: ["../a/b/alice/server.py"],
    names: ["alice"],
  },
  {
    what: "one submission in this folder",
    paths: ["server.py"],
    names: ["server.py"],
  },
  {
    what: "one submission in the folder above",
    paths: ["../server.py"],
    names: ["server.py"],
  },
  {
    what: "a name that would forge a line",
    paths: ["../bob\nalice/server.py", "../eve/server.py"],
    names: ["bob\\u000aalice", "eve"],
  },
  {
    what: "Moodle",
    paths: [
      "../moodle/Alice Brown_12345_assignsubmission_file_/server.py",
      "../moodle/Zoë Li_7_assignsubmission_file/src/server.py",
    ],
    names: ["Alice Brown", "Zoë Li"],
  },
  {
    what: "Moodle without folders",
    paths: [
      "../moodle/Alice Brown_12345_assignsubmission_file_server.py",
      "../moodle/Bob Green_7_assignsubmission_file_lab_3_server.py",
    ],
    names: ["Alice Brown", "Bob Green"],
  },
  {
    what: "Moodle, marked without names",
    paths: [
      "../moodle/Participant_12345_assignsubmission_file_/server.py",
      "../moodle/Participant_12346_assignsubmission_file_/server.py",
    ],
    names: ["Participant_12345", "Participant_12346"],
  },
  {
    what: "Canvas, late and handed in again",
    paths: [
      "../canvas/brownalice_12345_67890_server.py",
      "../canvas/greenbob_LATE_12346_67891_server-1.py",
      "../canvas/李小龙_12347_67892_my_lab_3.py",
    ],
    names: ["brownalice", "greenbob", "李小龙"],
  },
  {
    what: "Canvas, two students of one name",
    paths: [
      "../canvas/brownalice_12345_67890_server.py",
      "../canvas/brownalice_LATE_12346_67891_server.py",
    ],
    names: ["brownalice_12345", "brownalice_12346"],
  },
  {
    what: "Canvas, two files of one student",
    paths: [
      "../canvas/brownalice_12345_67890_server.py",
      "../canvas/brownalice_12345_67891_client.py",
    ],
    names: ["brownalice_12345_67890_server", "brownalice_12345_67891_client"],
  },
  {
    what: "Canvas, marked without names",
    paths: [
      "../canvas/anon_Xy12Z_67890_server.py",
      "../canvas/LATE_anon_Qw3rt_67891_server.py",
    ],
    names: ["anon_Xy12Z", "anon_Qw3rt"],
  },
  {
    what: "Canvas, archives that were unpacked",
    paths: [
      "../canvas/brownalice_12345_67890_lab3/lab3-main/src/Server.py",
      "../canvas/greenbob_LATE_12346_67891_lab3/server.py",
    ],
    names: ["brownalice", "greenbob"],
  },
];

Deno.test("grade: a submission is called by the student's part of its path", async (t) => {
  for (const { what, paths, names } of NAMED) {
    await t.step(what, () => assertEquals(namesOf(paths), names));
  }
});

// -------------------------------------------------------------------------------- the roster --

function submissionsAt(paths: string[]) {
  const names = namesOf(paths);
  return paths.map((path, index) => ({
    name: names[index],
    path,
    command: [path],
    folder: "..",
  }));
}

/** A roster, what was handed in, and what the comparison finds. */
const COMPARED = [
  {
    what: "names as people write them",
    roster: ["Alice Brown", "Green, Bob", "Zoë Li", "Carl Grey"],
    paths: [
      "../alice-brown/server.py",
      "../Bob Green/server.py",
      "../zoe_li/server.py",
    ],
    names: ["Alice Brown", "Green, Bob", "Zoë Li"],
    missing: ["Carl Grey"],
    unexpected: [],
  },
  {
    what: "Canvas's names",
    roster: ["Alice Marie Brown", "Brown, Bob"],
    paths: [
      "../brownalicemarie_1_2_server.py",
      "../brownbob_LATE_3_4_server.py",
    ],
    names: ["Alice Marie Brown", "Brown, Bob"],
    missing: [],
    unexpected: [],
  },
  {
    what: "ids, also of two students of one name",
    roster: ["12345", "12346", "12347"],
    paths: [
      "../brownalice_12345_1_server.py",
      "../brownalice_12346_2_server.py",
    ],
    names: ["12345", "12346"],
    missing: ["12347"],
    unexpected: [],
  },
  {
    what: "a name that was not expected",
    roster: ["alice", "bob"],
    paths: ["../alice/server.py", "../solution/server.py"],
    names: ["alice", "solution"],
    missing: ["bob"],
    unexpected: ["solution"],
  },
  {
    what: "two files of one student",
    roster: ["Alice Brown"],
    paths: ["../brownalice_1_2_server.py", "../brownalice_1_3_client.py"],
    names: ["brownalice_1_2_server", "brownalice_1_3_client"],
    missing: [],
    unexpected: [],
  },
  {
    what: "names that are each other's, turned round",
    roster: ["Ana Maria", "Maria Ana"],
    paths: ["../Ana Maria/server.py", "../maria-ana/server.py"],
    names: ["Ana Maria", "Maria Ana"],
    missing: [],
    unexpected: [],
  },
];

Deno.test("grade --roster: who has not handed in, and which name was not expected", async (t) => {
  for (const { what, roster, paths, names, missing, unexpected } of COMPARED) {
    await t.step(what, () => {
      const compared = compareWithRoster(roster, submissionsAt(paths));
      assertEquals(compared.submissions.map(({ name }) => name), names);
      assertEquals(compared.roster, { students: roster, missing, unexpected });
    });
  }
});

/** What the refusal of a roster says. */
function refusalOf(path: string): string {
  try {
    return `read: ${readRoster(path)}`;
  } catch (error) {
    assert(error instanceof UsageError);
    return error.message;
  }
}

Deno.test("grade --roster: a file as a spreadsheet writes it, and what is no roster", async () => {
  const path = await Deno.makeTempFile();
  await Deno.writeTextFile(path, '\ufeffAlice Brown\r\n"Green, Bob"\r\n\r\nAlice Brown\r\n');
  assertEquals(readRoster(path), ["Alice Brown", "Green, Bob"]);
  await Deno.writeTextFile(path, "\n \n");
  assertEquals(refusalOf(path), `--roster: ${path} has no names`);
  await Deno.writeFile(path, new Uint8Array([0xff, 0xfe, 0x41, 0]));
  assertEquals(refusalOf(path), `--roster: cannot read ${path}: it is no text in UTF-8`);
  await Deno.remove(path);
  assert(refusalOf(path).startsWith(`--roster: cannot read ${path}: No such file`));
});
