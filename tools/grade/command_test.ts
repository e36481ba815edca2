/**
 * Tests of the command line: what is wrong is said in one line, and names are what differs.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { canTest, grade, graderCommand, pathOf, PYTHON, run, Submissions } from "./testing.ts";

const ignore = !(await canTest());
const SERVER = pathOf("tools/grade/fixtures/server.py");

/** Wrong command lines, and how the line about each begins. */
const WRONG: { says: string; args: string[] }[] = [
  { says: "Name a command or a --port", args: [] },
  { says: "Name a command or a --port", args: ["--silence", "3"] },
  { says: "Unknown option '--prot'", args: ["--prot", "12000", PYTHON, SERVER] },
  { says: "There is no file ../nobody/server.py", args: [PYTHON, "../nobody/server.py"] },
  { says: "There is no file ..\\nobody\\server.py", args: [PYTHON, "..\\nobody\\server.py"] },
  { says: "There is no file ../nobody/*.py", args: [PYTHON, "../nobody/*.py"] },
  { says: "There is no program pyhton3 on this machine's PATH", args: ["pyhton3", SERVER] },
  { says: "There is no program ./pyhton3", args: ["./pyhton3", SERVER] },
  { says: "--csv has to come before the command", args: [PYTHON, SERVER, "--csv", "grades.csv"] },
  { says: "--csv needs a name: grades.csv", args: ["--csv", PYTHON, SERVER] },
  { says: "--json needs a name: grades.json", args: ["--json", PYTHON, SERVER] },
  { says: "--junit needs a name: report.xml", args: ["--junit=report", PYTHON, SERVER] },
  { says: "--out needs the name of a folder", args: ["--out=", PYTHON, SERVER] },
  {
    says: "Cannot write /nowhere/grades.csv",
    args: ["--csv", "/nowhere/grades.csv", PYTHON, SERVER],
  },
  { says: "--port must be from 1 to 65535", args: ["--port=0", PYTHON, SERVER] },
  { says: "--port must be from 1 to 65535", args: ["--port", "x", PYTHON, SERVER] },
  { says: "--silence must be from 1 to", args: ["--silence", "99", PYTHON, SERVER] },
  { says: "--jobs must be from 1 to 64", args: ["--jobs", "1.5", PYTHON, SERVER] },
  { says: "Option '--port <value>' argument missing", args: ["--port"] },
  { says: "--expose: there is no /nowhere", args: ["--expose", "/nowhere", PYTHON, SERVER] },
  { says: "--only: there is no check garbag", args: ["--only", "garbag", PYTHON, SERVER] },
  { says: "--points: there is no check garbag", args: ["--points", "garbag=1", PYTHON, SERVER] },
  { says: '--points: "garbage" must be like', args: ["--points", "garbage", PYTHON, SERVER] },
  { says: '--points: "garbage=x" must be', args: ["--points", "garbage=x", PYTHON, SERVER] },
  {
    says: "--gradescope is for one submission, and here are 2",
    args: ["--gradescope", "results.json", PYTHON, SERVER, SERVER],
  },
  {
    says: "--classroom50 needs whole numbers as --points",
    args: ["--classroom50", "result.json", "--points", "garbage=0.5", PYTHON, SERVER],
  },
];

Deno.test({ name: "grade: a wrong command is said in one line, status 2", ignore }, async (t) => {
  for (const { says, args } of WRONG) {
    await t.step(`${says} (${args.length} words)`, async () => {
      const { code, out, err } = await grade(...args);
      assertEquals([code, out, err.split("\n").length], [2, "", 2], err);
      assert(err.startsWith(says), err);
    });
  }
});

Deno.test({ name: "grade --help: what there is, in 40 lines", ignore }, async () => {
  const { code, out } = await grade("--help");
  assertEquals(code, 0);
  assert(out.split("\n").length <= 40 && out.includes("says where, greets"), out);
  assert(out.split("\n").every((line) => line.length <= 100), out);
});

Deno.test(
  { name: "grade: it expands stars itself, as cmd and PowerShell do not", ignore },
  async () => {
    await using submissions = await Submissions.create();
    for (const name of ["bob", "alice"]) await submissions.addFault("none", name);
    const pattern = `${submissions.folder}/*/server.py`;
    const { code, out, err } = await grade("--only", "says where,greets", PYTHON, pattern);
    assertEquals(code, 0, err);
    const line = "lab 2/2, points 2/2, missed: nothing";
    assertEquals(out, `alice: ${line}\nbob: ${line}\n`);
    assert(/^1\/2 \w+: lab 2\/2, points 2\/2 \(about \d+ s left\)\n2\/2 \w+: /.test(err), err);
  },
);

Deno.test({ name: "grade: points and the exit status", ignore }, async () => {
  const args = ["--only", "greets,two pieces", "--points", "greets=2.5, two pieces = 4"];
  const { code, out } = await grade(...args, PYTHON, SERVER, "wrong id");
  assertEquals(code, 1);
  assert(out.includes("MISS  greets [0/2.5]"), out);
  assert(out.endsWith("lab 0/1, beyond 1/1, points 4/6.5, missed: greets\n"), out);
});

Deno.test(
  { name: "grade: without bubblewrap it says so, and grades one by one", ignore },
  async () => {
    await using submissions = await Submissions.create();
    const paths = [
      await submissions.addFault("none", "alice"),
      await submissions.addFault("none", "bob"),
    ];
    const programs = await Deno.makeTempDir();
    await Deno.symlink(Deno.execPath(), `${programs}/deno`);
    for (const name of ["ss", "python3"]) {
      await Deno.symlink(
        `/usr/bin/${name}`,
        `${programs}/${name}`,
      );
    }
    const args = [...graderCommand(), "--only", "says where,starts again", "python3", ...paths];
    const { code, out, err } = await run(Deno.execPath(), args, { PATH: programs });
    await Deno.remove(programs, { recursive: true });
    assertEquals(code, 0, out + err);
    assert(
      err.startsWith("No sandbox (bwrap (bubblewrap) is not installed): the servers run"),
      err,
    );
    assertEquals(out.match(/missed: nothing/g)?.length, 2);
  },
);
