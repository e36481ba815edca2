/**
 * Tests of the reports: each is read back by a program that others wrote.
 *
 * @module
 */

import { Ajv } from "ajv";
import { parse as parseCsv } from "csv-parse/sync";
import { parse as parseJunit } from "junit2json";
import { assert, assertEquals } from "@std/assert";
import type { CheckResult, Graded, Grades } from "./outcome.ts";
import { classroom50Of } from "./report/classroom50.ts";
import { csvOf } from "./report/csv.ts";
import { gradescopeOf } from "./report/gradescope.ts";
import { junitOf } from "./report/junit.ts";
import { pageOf } from "./report/page.ts";
import { letterFor, summarize, tableOf } from "./report/text.ts";
import { fileNamesOf } from "./report/write.ts";
import { canTest, grade, graderCommand, PYTHON, run, Submissions } from "./testing.ts";

const ignore = !(await canTest());

/** What breaks reports that are made by joining strings. */
const NASTY = `=1+1 "quotes", <b>&amp; ]]> \ufffd[31m`;

function check(part: Partial<CheckResult>): CheckResult {
  return {
    name: "garbage",
    part: "lab",
    verdict: "pass",
    points: 1,
    maxPoints: 1,
    done: "A client comes",
    expected: "it is served",
    seen: "it is served",
    note: "",
    change: "",
    inPython: "",
    output: [],
    seconds: 0.5,
    ...part,
  };
}

const CHECKS = [
  check({ name: "greets", note: "its port is 8000" }),
  check({ verdict: "miss", points: 0, seen: NASTY, change: NASTY, output: [NASTY] }),
  check({ name: "missing key", verdict: "not judged", points: 0, seen: "builds on garbage" }),
  check({ name: "two pieces", part: "beyond", verdict: "miss", points: 0, maxPoints: 0 }),
];

/** Results with these names; those of whom the trouble is told have no mark. */
function gradesFor(names: string[], troubles: Record<string, string> = {}): Grades {
  const submissions = names.map((name): Graded => ({
    name,
    path: `../${name}/server.py`,
    points: troubles[name] === undefined ? 1 : null,
    maxPoints: 3,
    trouble: troubles[name] ?? "",
    checks: troubles[name] === undefined ? CHECKS : [],
    lastWords: NASTY,
    seconds: 1.5,
  }));
  const date = "2026-11-27T10:00:00.000Z";
  return { schema: "lab3/grades/v2", version: "2.0.0", date, isSandboxed: true, submissions };
}

const HEAD = ["name", "points", "max", "greets", "garbage", "missing key", "two pieces"];

function readCsv(grades: Grades): string[][] {
  return parseCsv(csvOf(grades), { bom: true });
}

Deno.test("grade --csv: a row for each submission, and nothing that a spreadsheet would run", () => {
  const rows = readCsv(gradesFor(["alice", NASTY, "carl"], { carl: "no sandbox" }));
  assertEquals(rows, [
    [...HEAD, "why no mark", "path"],
    ["alice", "1", "3", ...CELLS, "", "../alice/server.py"],
    [`'${NASTY}`, "1", "3", ...CELLS, "", `../${NASTY}/server.py`],
    ["carl", "", "3", "", "", "", "", "no sandbox", "../carl/server.py"],
  ]);
  const text = csvOf(gradesFor(["alice"]));
  assert(text.startsWith("\ufeffname,points,max,") && text.endsWith("\r\n"), text);
});

const CELLS = [
  "pass: its port is 8000",
  `miss: ${NASTY}`,
  "not judged: builds on garbage",
  "miss: it is served",
];

/** Who is in the class: in another order than the submissions. */
const ROSTER = { students: ["zoe", "bob", "alice"], missing: ["bob"], unexpected: ["solution"] };

Deno.test("grade --csv: with a roster its rows are in the order of the gradebook", () => {
  const rows = readCsv({ ...gradesFor(["alice", "solution", "zoe"]), roster: ROSTER });
  const names = rows.map(([name, points]) => `${name} ${points}`);
  assertEquals(names, ["name points", "zoe 1", "bob ", "alice 1", "solution 1"]);
  assertEquals(rows[2].slice(-2), ["not handed in", ""]);
});

async function suitesOf(grades: Grades) {
  const read = await parseJunit(junitOf(grades));
  return read && "testsuite" in read ? read.testsuite ?? [] : [];
}

Deno.test("grade --junit: a JUnit reader finds every case, under a name of its own", async () => {
  const suites = await suitesOf(gradesFor(["alice", NASTY]));
  assertEquals(suites.map(({ name }) => name), ["alice", NASTY]);
  const { testcase = [] } = suites[1];
  assertEquals(testcase[0].name, `${NASTY}: greets`);
  assertEquals(testcase[0].classname, NASTY);
  assertEquals(testcase[1].failure?.[0].message, NASTY);
  assert(testcase[1].failure?.[0].inner?.includes(`Change: ${NASTY}`));
  const names = suites.flatMap(({ testcase = [] }) => testcase.map(({ name }) => name));
  assertEquals([names.length, new Set(names).size], [8, 8]);
});

Deno.test("grade --junit: what is beyond the lab is no failure, and trouble is an error", async () => {
  const [alice, carl] = await suitesOf(gradesFor(["alice", "carl"], { carl: "no sandbox" }));
  assertEquals([alice.tests, alice.failures, alice.errors, alice.skipped], [4, 1, 0, 2]);
  const skipped = alice.testcase?.flatMap((one) => one.skipped?.[0].message ?? []);
  assertEquals(skipped, ["builds on garbage", "beyond the lab, not required: it is served"]);
  assertEquals([carl.tests, carl.failures, carl.errors, carl.skipped], [1, 0, 1, 0]);
  assertEquals(carl.testcase?.[0].error?.[0].message, "no sandbox");
});

Deno.test("grade --junit: a check that the course gives points for is no less than the lab's", async () => {
  const grades = gradesFor(["alice"]);
  const [graded] = grades.submissions;
  const checks = graded.checks.map((check) => ({ ...check, maxPoints: 2 }));
  const [alice] = await suitesOf({ ...grades, submissions: [{ ...graded, checks }] });
  assertEquals([alice.failures, alice.skipped], [2, 1]);
});

Deno.test("grade: what was not judged stands together, with its reason", () => {
  const [graded] = gradesFor(["alice"]).submissions;
  const more = [
    check({ name: "resets", verdict: "not judged", seen: "builds on garbage" }),
    check({ name: "prints", verdict: "not judged", seen: "it was not started here" }),
  ];
  const table = tableOf({ ...graded, checks: [...graded.checks, ...more] });
  const [lab, beyond] = table.split("\n\n");
  const lines = lab.split("\n").slice(-2);
  assertEquals(lines, [
    "-     not judged, builds on garbage: missing key, resets",
    "-     not judged, it was not started here: prints",
  ]);
  assert(beyond.startsWith("Beyond the lab (not required):\nno    two pieces: "), beyond);
});

Deno.test("grade: a trouble is no mark, in the texts, too", () => {
  const grades = gradesFor(["carl"], { carl: "no sandbox" });
  assertEquals(summarize(grades.submissions[0]), "no mark: no sandbox");
  const letter = letterFor(grades.submissions[0], grades);
  assert(letter.includes("Points:     no mark\n") && letter.includes("it is no zero"), letter);
  assertEquals([gradescopeOf(grades), classroom50Of(grades)], [undefined, undefined]);
});

Deno.test("grade --out: the page shows what is in the results as text", async () => {
  const page = await pageOf(gradesFor(["alice", NASTY]));
  assert(!page.includes("<b>") && page.includes("&lt;b&gt;&amp;amp; ]]&gt;"), page);
  assert(page.startsWith("<!DOCTYPE html>") && page.includes('<a href="#submission-2">'));
});

Deno.test("grade --out: the page has the marks of the class, and what is beyond the lab apart", async () => {
  const grades = gradesFor(["alice", "bob", "carl"], { carl: "no sandbox" });
  const page = (await pageOf(grades)).replace(/\s+/g, " ");
  const parts = page.split(/<h2>/).map((part) =>
    part.replace(/<[^>]*>/g, " ").replace(/\s+/g, " ")
  );
  const [, marks, lab, beyond, details] = parts;
  assert(
    marks.startsWith("Marks Mean: 1.0 of 3 points, in 2 submissions. The others have no"),
    marks,
  );
  assert(marks.includes("Points Submissions 1 2"), marks);
  assert(lab.includes(" alice 1 of 3 ok miss – "), lab);
  assert(lab.includes(" carl no mark no sandbox ") && lab.includes(" missed 0 2 0 "), lab);
  assert(beyond.includes(" alice no ") && beyond.includes(" not there 2 "), beyond);
  assert(details.includes("its port is 8000") && !page.includes("<details open"), details);
});

Deno.test("grade --out: file names that every system takes, each once", () => {
  const names = ["a/b", "Zoë 李小龙", "../..", "A_B", "a:b"];
  const graded = names.map((name) => gradesFor([name]).submissions[0]);
  const expected = ["a_b.txt", "Zoë 李小龙.txt", "_.txt", "A_B-2.txt", "a_b-3.txt"];
  assertEquals(fileNamesOf(graded), expected);
});

// ------------------------------------------------------------------------ two formats in JSON --

const NUMBER = { type: "number", minimum: 0 };
const TEXT = { type: "string" };
const VISIBILITY = { enum: ["hidden", "after_due_date", "after_published", "visible"] };
const FORMAT = { enum: ["text", "html", "simple_format", "md", "ansi"] };

/** What Gradescope's documentation says of results.json. */
const GRADESCOPE = {
  type: "object",
  additionalProperties: false,
  required: ["score", "tests"],
  properties: {
    score: NUMBER,
    execution_time: NUMBER,
    output: TEXT,
    output_format: FORMAT,
    visibility: VISIBILITY,
    stdout_visibility: VISIBILITY,
    extra_data: { type: "object" },
    tests: {
      type: "array",
      items: {
        type: "object",
        additionalProperties: false,
        required: ["name"],
        properties: {
          score: NUMBER,
          max_score: NUMBER,
          status: { enum: ["passed", "failed"] },
          name: TEXT,
          number: TEXT,
          output: TEXT,
          output_format: FORMAT,
          tags: { type: "array", items: TEXT },
          visibility: VISIBILITY,
        },
      },
    },
  },
};

const POINTS = { type: "integer", minimum: 0 };

/** What the documentation of Classroom 50 says of result.json. */
const CLASSROOM50 = {
  type: "object",
  additionalProperties: false,
  required: ["schema", "datetime", "score", "max-score", "tests"],
  properties: {
    schema: { const: "classroom50/result/v1" },
    classroom: TEXT,
    assignment: TEXT,
    submission: TEXT,
    commit: TEXT,
    release: TEXT,
    review: TEXT,
    datetime: { type: "string", pattern: "^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\dZ$" },
    score: POINTS,
    "max-score": POINTS,
    tests: {
      type: "array",
      items: {
        type: "object",
        additionalProperties: false,
        required: ["test-name", "passed", "score", "max-score"],
        properties: {
          "test-name": TEXT,
          passed: { type: "boolean" },
          score: POINTS,
          "max-score": POINTS,
        },
      },
    },
  },
};

function validate(schema: object, value: unknown): void {
  const ajv = new Ajv();
  assert(ajv.validate(schema, value), ajv.errorsText());
}

/** The reports of one server with a fault, by all options at once. */
async function reportsOf(folder: string, path: string) {
  const files = {
    gradescope: `${folder}/results.json`,
    classroom50: `${folder}/result.json`,
    json: `${folder}/grades.json`,
    csv: `${folder}/grades.csv`,
    junit: `${folder}/report.xml`,
  };
  const options = Object.entries(files).flatMap(([name, file]) => [`--${name}`, file]);
  const only = ["--only", "greets,garbage,two pieces", "--points", "garbage=3"];
  const args = [...graderCommand(), ...options, ...only, "--out", `${folder}/out`, PYTHON, path];
  const { code } = await run(Deno.execPath(), args, { CLASSROOM: "networks", ASSIGNMENT: "lab3" });
  const text = (file: string) => Deno.readTextFile(file);
  return { code, files, text };
}

Deno.test({ name: "grade: all reports of one submission", ignore }, async (t) => {
  await using submissions = await Submissions.create();
  const path = await submissions.addFault("dies on garbage", "Alice Brown");
  const { code, files, text } = await reportsOf(submissions.folder, path);
  assertEquals(code, 0); // as Classroom 50 wants it

  await t.step("Gradescope's", async () => seeGradescope(await text(files.gradescope)));
  await t.step("Classroom 50's", async () => seeClassroom50(await text(files.classroom50)));
  await t.step("the others come from the JSON", async () => {
    const grades: Grades = JSON.parse(await text(files.json));
    assertEquals(grades.submissions[0].name, "Alice Brown");
    assertEquals(csvOf(grades), await text(files.csv));
    assertEquals(junitOf(grades), await text(files.junit));
    assertEquals(await pageOf(grades), await text(`${submissions.folder}/out/index.html`));
  });
  await t.step("the letter", async () => {
    seeLetter(await text(`${submissions.folder}/out/Alice Brown.txt`));
  });
});

function seeGradescope(text: string): void {
  const results = JSON.parse(text);
  validate(GRADESCOPE, results);
  assertEquals([results.score, results.tests.length], [1, 3]);
  const [, garbage, pieces] = results.tests;
  assertEquals([garbage.score, garbage.max_score, garbage.status], [0, 3, "failed"]);
  assert(garbage.output.includes("change:"));
  assertEquals([pieces.name, pieces.status], ["beyond the lab: two pieces", undefined]);
}

function seeClassroom50(text: string): void {
  const result = JSON.parse(text);
  validate(CLASSROOM50, result);
  assertEquals([result.score, result["max-score"], result.classroom], [1, 4, "networks"]);
  const greets = { "test-name": "greets", passed: true, score: 1, "max-score": 1 };
  const garbage = { "test-name": "garbage", passed: false, score: 0, "max-score": 3 };
  assertEquals(result.tests, [greets, garbage]); // what is beyond the lab would be a failure here
}

function seeLetter(letter: string): void {
  for (const words of ["Submission: Alice Brown", "Points:     1 of 4", "MISS  garbage [0/3]"]) {
    assert(letter.includes(words), letter);
  }
  assert(/^Date: {7}\d{4}-\d\d-\d\d \d\d:\d\d UTC\nGrader: {5}lab server \d/m.test(letter), letter);
  assert(letter.includes("What the server printed:\n\n-- garbage --"), letter);
  assert(letter.includes("Traceback (most recent call last):"), letter);
}

/** Opens all details, and leaves how wide the page is and how wide the window. */
const MEASURE = `<script>
  for (const one of document.querySelectorAll("details")) one.open = true;
  const { scrollWidth, clientWidth } = document.documentElement;
  document.body.dataset.widths = scrollWidth + " in " + clientWidth;
</script>`;

/** What a browser with a window of this width makes of a page: nothing where there is no browser. */
async function domOf(page: string, width: number, folder: string): Promise<string | undefined> {
  const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"];
  const profile = [`--user-data-dir=${folder}/profile`, "--no-first-run"];
  const size = `--window-size=${width},900`;
  await Deno.writeTextFile(`${folder}/page.html`, page + MEASURE);
  const args = [...flags, ...profile, size, "--dump-dom", `file://${folder}/page.html`];
  const { code, out } = await run("chromium", args).catch(() => ({ code: 127, out: "" }));
  return code === 127 ? undefined : out;
}

Deno.test(
  { name: "grade: a browser shows the whole page, and cuts nothing off", ignore },
  async () => {
    await using submissions = await Submissions.create();
    const paths: string[] = [];
    for (const fault of ["none", "wrong id", "get"]) paths.push(await submissions.addFault(fault));
    const out = `${submissions.folder}/out`;
    await grade("--only", "greets,missing key", "--out", out, PYTHON, ...paths);
    const page = await Deno.readTextFile(`${out}/index.html`);
    const dom = await domOf(page, 1280, submissions.folder);
    if (dom === undefined) return console.log("Not looked at: chromium is not installed");
    assertEquals([...dom.matchAll(/<td><a href="#submission-(\d)">/g)].length, 3);
    assert(dom.includes('<td class="mark miss" title="missing key: a dict without sid is'));
    const long = gradesFor(["alice", "x".repeat(300)]);
    for (const width of [1280, 500]) {
      const dom = await domOf(await pageOf(long), width, submissions.folder);
      const [, whole, seen] = /data-widths="(\d+) in (\d+)"/.exec(dom ?? "") ?? [];
      assertEquals(whole, seen);
    }
  },
);
