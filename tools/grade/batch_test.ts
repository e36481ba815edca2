/**
 * Tests of the grader as a whole: a batch in which each submission gets what it gets alone, the
 * project's own server, a server that runs already, and servers in other languages.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { serverFlags } from "../shared/config.ts";
import { Process } from "../shared/process.ts";
import type { CheckResult, Graded, Verdict } from "./outcome.ts";
import {
  canTest,
  grade,
  gradeFaultHere,
  graderCommand,
  gradesOf,
  missedIn,
  pathOf,
  PYTHON,
  run,
  Submissions,
} from "./testing.ts";
import { CHECKS } from "./texts.ts";

const ignore = !(await canTest());

/** What a submission got: the names and the verdicts of its checks. */
function marksOf({ checks }: Graded): string[] {
  return checks.map(({ name, verdict }) => `${name}: ${verdict}`);
}

Deno.test({
  name: "grade: nobody pays for a server that crashes before",
  ignore,
}, async () => {
  await using submissions = await Submissions.create();
  const fault = "dies 20 ms after bad data"; // without SO_REUSEADDR: its port stays in TIME_WAIT
  const others = ["no reuse", "none", "one recv"];
  const only = ["leaves in the middle", "garbage", "missing key", "two pieces", "starts again"];
  const paths: string[] = [];
  for (const name of others) paths.push(await submissions.addFault(name));
  const alone: string[][] = [];
  const lab = await submissions.addLab();
  for (const name of others) alone.push(marksOf(await gradeFaultHere(name, lab, only)));
  const crashing = await submissions.addFault(fault);
  const batch = [paths[0], crashing, paths[1], paths[2]];
  const { submissions: [first, crashed, ...rest] } = await gradesOf(
    "--only",
    only.join(),
    PYTHON,
    ...batch,
  );
  assertEquals([first, ...rest].map(marksOf), alone);
  assertEquals(missedIn(crashed), [
    "leaves in the middle",
    "garbage",
    "missing key",
    "starts again",
  ]);
});

Deno.test({
  name: "grade: the project's own server passes every check",
  ignore,
}, async () => {
  const flags = (await serverFlags()).map((flag) => {
    return flag.replace(/^--config=(.+)/, (_, file) => `--config=${pathOf(file)}`);
  });
  const command = [
    Deno.execPath(),
    "run",
    ...flags,
    "--allow-net",
    pathOf("main.ts"),
  ];
  const { submissions: [own] } = await gradesOf(...command);
  const wrong = own.checks.filter(({ verdict }) => verdict !== "pass");
  assertEquals(wrong.map(({ name, seen }) => `${name}: ${seen}`), []);
});

Deno.test(
  {
    name: "grade: a server in JavaScript gets its error, and no Python",
    ignore,
  },
  async () => {
    const { submissions: [graded] } = await gradesOf(
      "node",
      pathOf("tools/grade/fixtures/server.js"),
    );
    // Node serves all at once, and what fails in a callback ends it: so does a half of a request.
    assertEquals([graded.points, graded.maxPoints], [9, 13]);
    const missed = missedIn(graded).slice(0, 3);
    assertEquals(missed, ["one at a time", "leaves in the middle", "garbage"]);
    const garbage = graded.checks.find(({ name }) => name === "garbage") as CheckResult;
    assert(/the server ended \(status 1\): TypeError: this is no dict/.test(garbage.seen));
    assertEquals(garbage.inPython, "");
    assert(garbage.change.includes("decoder"));
  },
);

Deno.test(
  { name: "grade: a locale that has no other scripts does not matter", ignore },
  async () => {
    const args = [
      ...graderCommand(),
      "--only",
      "prints,other script",
      "--json",
      "-",
    ];
    const server = pathOf("tools/grade/fixtures/server.py");
    const env = { PYTHONIOENCODING: "ascii", LC_ALL: "C", LANG: "C" };
    const { out } = await run(Deno.execPath(), [...args, PYTHON, server], env);
    assertEquals(missedIn(JSON.parse(out).submissions[0]), []);
  },
);

/** Starts a server here, as a teacher does in another terminal, and grades it where it runs. */
async function gradeRunning(command: string[]) {
  const env = { PYTHONPATH: pathOf("lab") };
  await using server = await Process.server(command[0], command.slice(1), { env });
  const unread = [server.stdout.rest(), server.stderr.rest()];
  const { code, out } = await grade("--port", `${server.port}`, "--json", "-");
  await server.stop();
  await Promise.all(unread);
  return { code, graded: JSON.parse(out).submissions[0] as Graded };
}

/** The command of a server with this fault, at a port that nobody has. */
function atFreePort(fault: string): string[] {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return [PYTHON, pathOf("tools/grade/fixtures/server.py"), fault, `${listener.addr.port}`];
}

/** The checks of a server that was not started here: all but those that need its output. */
const REMOTE = CHECKS.filter(({ isLocal }) => isLocal !== true).map(({ name }) => name);

Deno.test({ name: "grade --port: servers that run already", ignore }, async (t) => {
  const own = [Deno.execPath(), "run", "--quiet", ...await serverFlags(), "--allow-net", "main.ts"];
  for (const command of [[...own, "--port=0"], atFreePort("none")]) {
    await t.step(command.at(-2) as string, async () => {
      const { code, graded } = await gradeRunning(command);
      assertEquals(code, 0);
      assertEquals(namesWith(graded, "pass"), REMOTE);
    });
  }
});

/** What a client ends, and what cannot be seen then. */
const DEADLY = [
  { fault: "dies on a reset", missed: ["resets"], unseen: ["two pieces", "two in one"] },
  { fault: "dies on garbage", missed: ["garbage"], unseen: ["resets", "two pieces", "two in one"] },
];

Deno.test({ name: "grade --port: a server that a client ends", ignore }, async (t) => {
  for (const { fault, missed, unseen } of DEADLY) {
    await t.step(fault, async () => {
      const { code, graded } = await gradeRunning(atFreePort(fault));
      assertEquals(code, 1);
      assertEquals(missedIn(graded), missed);
      const notJudged = namesWith(graded, "not judged").filter((name) => REMOTE.includes(name));
      assertEquals(notJudged, unseen);
      const [last] = graded.checks.filter(({ name }) => name === "two in one");
      assertEquals(last.seen, `the server has ended, probably by "${missed[0]}"`);
    });
  }
});

Deno.test({ name: "grade --port: nobody is there, and that is no mark", ignore }, async () => {
  const port = atFreePort("none").at(-1) as string;
  const { code, out } = await grade("--port", port, "--json", "-");
  const [{ points, trouble }] = JSON.parse(out).submissions;
  assertEquals([code, points], [3, null]);
  assertEquals(trouble, `nobody accepts at port ${port}: start the server first`);
});

/** The names of the checks with this verdict. */
function namesWith({ checks }: Graded, verdict: Verdict): string[] {
  return checks.filter((check) => check.verdict === verdict).map(({ name }) => name);
}

Deno.test({ name: "grade: ^C ends the servers, too", ignore }, async () => {
  await using submissions = await Submissions.create();
  const mark = crypto.randomUUID();
  const path = await submissions.addFault("never listens");
  const grader = new Deno.Command(Deno.execPath(), {
    args: [...graderCommand(), PYTHON, "-X", `mark=${mark}`, path],
    stdout: "null",
    stderr: "null",
  }).spawn();
  const isRunning = async (words: string) => (await run("pgrep", ["-f", words])).code === 0;
  const server = `^${PYTHON} -X mark=${mark} /submission`;
  while (!(await isRunning(server))) {
    assert(await isRunning(mark), "the grader has ended");
  }
  grader.kill("SIGINT");
  assertEquals((await grader.status).code, 130);
  for (let tries = 0; await isRunning(mark); tries++) {
    assert(tries < 200, "a process is still there");
  }
});
