/**
 * Tests of the command line: what is wrong is said in one line, and names are what differs.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { HELP } from "./options.ts";
import { CHECKS } from "./texts.ts";
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
    says: "--points: garbage is not among --only",
    args: ["--only=greets", "--points=garbage=2", PYTHON, SERVER],
  },
  { says: '--advice: "garbage" must be like', args: ["--advice=garbage", PYTHON, SERVER] },
  { says: '--advice: "garbage= " must be like', args: ["--advice=garbage= ", PYTHON, SERVER] },
  { says: "--advice: there is no check garbag", args: ["--advice=garbag=x", PYTHON, SERVER] },
  { says: "--csv is there twice", args: ["--csv=a.csv", "--csv=b.csv", PYTHON, SERVER] },
  { says: "--roster: cannot read /nowhere", args: ["--roster=/nowhere", PYTHON, SERVER] },
  { says: "--roster has to come before", args: [PYTHON, SERVER, "--roster", "roster.txt"] },
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

Deno.test({ name: "grade --help: a word on each check, on lab and beyond", ignore }, async () => {
  const { code, out } = await grade("--help");
  assertEquals(code, 0);
  assert(out.split("\n").every((line) => line.length <= 100), out);
  for (const { name, done } of CHECKS) {
    assert(out.includes(`\n  ${name.padEnd(20)} ${done}: `), name);
  }
  const [lab, beyond] = [out.indexOf("The lab's text asks"), out.indexOf("beyond the lab: nobody")];
  assert(lab > 0 && lab < out.indexOf("\n  greets") && out.indexOf("\n  resets") < beyond, out);
});

Deno.test({ name: "grade --help: it fetches no package", ignore }, async () => {
  const cache = await Deno.makeTempDir();
  const nobody = "http://127.0.0.1:9/"; // a registry that does not answer
  const env = { DENO_DIR: cache, NPM_CONFIG_REGISTRY: nobody, JSR_URL: nobody, NO_COLOR: "1" };
  const help = await run(Deno.execPath(), [...graderCommand(), "--help"], env);
  const wrong = await run(Deno.execPath(), [...graderCommand(), "--prot", "12000"], env);
  await Deno.remove(cache, { recursive: true });
  assertEquals([help.code, help.out, help.err], [0, `${HELP}\n`, ""]);
  assertEquals([wrong.code, wrong.out, wrong.err], [2, "", "Unknown option '--prot'\n"]);
});

Deno.test({ name: "grade: a roster, and advice in the course's own words", ignore }, async () => {
  await using submissions = await Submissions.create();
  const paths = [
    await submissions.addFault("wrong id", "brownalice_12345_67890_lab3"),
    await submissions.addFault("none", "somebody_else"),
  ];
  const folder = submissions.folder;
  await Deno.writeTextFile(`${folder}/roster.txt`, "Alice Brown\nBob Green\n");
  const files = ["--roster", `${folder}/roster.txt`, "--csv", `${folder}/grades.csv`];
  const options = [...files, "--out", `${folder}/out`, "--only", "greets"];
  const advice = ["--advice", "greets=See week 5.", "--advice", "garbage = See week 6."];
  const { code, out, err } = await grade(...options, ...advice, PYTHON, ...paths);
  const words = ["Not handed in (1): Bob Green", "Not on the roster (1): somebody_else"];
  assertEquals(code, 1, err);
  assert(err.startsWith(`Grading 2 submissions (checks: 1)\n${words.join("\n")}\n`), err);
  assert(out.startsWith("Alice Brown: 0 of 1; lab: missed greets\n"), out);
  assert(out.endsWith(`\n${words.join("\n")}\n`), out);
  const letter = await Deno.readTextFile(`${folder}/out/Alice Brown.txt`);
  assert(/change: .* an integer\. See week 5\.\n/.test(letter), letter);
  const table = await Deno.readTextFile(`${folder}/grades.csv`);
  assert(table.includes("\nBob Green,,1,,not handed in,\r\n"), table);
});

Deno.test({ name: "grade: a report that cannot be written costs no result", ignore }, async () => {
  await using submissions = await Submissions.create();
  const paths = [
    await submissions.addFault("none", "alice"),
    await submissions.addFault("none", "bob"),
  ];
  const page = `${submissions.folder}/out/index.html`;
  await Deno.mkdir(page, { recursive: true }); // where a file should be
  const out = ["--out", `${submissions.folder}/out`, "--only", "greets"];
  const ended = await grade(...out, PYTHON, ...paths);
  const result = "1 of 1; lab: nothing missed";
  assertEquals([ended.code, ended.out], [1, `alice: ${result}\nbob: ${result}\n`]);
  assert(ended.err.includes("The reports cannot be written, and are tried again: "), ended.err);
  assert(ended.err.trimEnd().endsWith(`'${page}'`), ended.err);
});

Deno.test(
  { name: "grade: it expands stars itself, as cmd and PowerShell do not", ignore },
  async () => {
    await using submissions = await Submissions.create();
    for (const name of ["bob", "alice"]) await submissions.addFault("none", name);
    const pattern = `${submissions.folder}/*/server.py`;
    const { code, out, err } = await grade("--only", "says where,greets", PYTHON, pattern);
    assertEquals(code, 0, err);
    const line = "2 of 2; lab: nothing missed";
    assertEquals(out, `alice: ${line}\nbob: ${line}\n`);
    const progress = /^Grading 2 .*\n1\/2 \w+: 2 of 2 \(about \d+ s left\)\n2\/2 \w+: 2 of 2\n$/;
    assert(progress.test(err), err);
  },
);

Deno.test({ name: "grade: points and the exit status", ignore }, async () => {
  const args = ["--only", "greets,two pieces", "--points", "greets=2.5, two pieces = 4"];
  const { code, out } = await grade(...args, PYTHON, SERVER, "wrong id");
  assertEquals(code, 1);
  assert(out.includes("MISS  greets [0/2.5]"), out);
  assert(out.endsWith("fixtures: 4 of 6.5; lab: missed greets; beyond: 1 of 1\n"), out);
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
      /^No sandbox, so the servers run one by one.*: bubblewrap is not installed/m.test(err),
      err,
    );
    assertEquals(out.match(/nothing missed/g)?.length, 2);
  },
);
