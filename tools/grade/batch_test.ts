/**
 * Tests of the grader as a whole: a batch in which each submission gets what it gets alone, the
 * project's own server, a server that runs already, and servers in other languages.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { serverFlags } from "../shared/config.ts";
import type { Graded } from "./outcome.ts";
import {
  canTest,
  grade,
  graderCommand,
  gradesOf,
  missedIn,
  pathOf,
  PYTHON,
  run,
  Submissions,
} from "./testing.ts";

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
  const paths: string[] = [];
  for (const name of others) paths.push(await submissions.addFault(name));
  const alone: string[][] = [];
  for (const path of paths) {
    alone.push(marksOf((await gradesOf(PYTHON, path)).submissions[0]));
  }
  const crashing = await submissions.addFault(fault);
  const batch = [paths[0], crashing, paths[1], paths[2]];
  const { submissions: [first, crashed, ...rest] } = await gradesOf(
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
    const only = "greets,acknowledges,prints,garbage";
    const args = [
      "--only",
      only,
      "node",
      pathOf("tools/grade/fixtures/server.js"),
    ];
    const { submissions: [{ checks }] } = await gradesOf(...args);
    assertEquals(checks.map(({ verdict }) => verdict), [
      "pass",
      "pass",
      "pass",
      "miss",
    ]);
    assert(
      /the server ended \(status 1\): TypeError: this is no dict/.test(
        checks[3].seen,
      ),
    );
    assertEquals(checks[3].inPython, "");
    assert(checks[3].change.includes("decoder"));
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
async function gradeRunning(
  fault: string,
): Promise<{ code: number; out: string }> {
  const port = freePort();
  const server = new Deno.Command(PYTHON, {
    args: [pathOf("tools/grade/fixtures/server.py"), fault, port],
    env: { PYTHONPATH: pathOf("lab") },
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const reader = server.stdout.getReader();
  await reader.read(); // it listens
  try {
    return await grade("--port", port, "--silence", "3");
  } finally {
    try {
      server.kill("SIGKILL");
    } catch {
      // A client has ended it.
    }
    await reader.cancel();
    await server.status;
  }
}

/** A port that nobody has. */
function freePort(): string {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return `${listener.addr.port}`;
}

Deno.test(
  { name: "grade --port: a server that runs already", ignore },
  async () => {
    const { code, out } = await gradeRunning("none");
    assertEquals(code, 0, out);
    assert(out.includes("lab: nothing missed (not judged: says where, prints"), out);
    assertEquals(out.match(/: not judged, it was not started here/g)?.length, 9);
  },
);

Deno.test(
  { name: "grade --port: a server that a client ends", ignore },
  async () => {
    const { code, out } = await gradeRunning("dies on garbage");
    assertEquals(code, 1);
    assert(out.includes("lab: missed garbage (not judged:"), out);
    assert(out.includes("missing key [0/1]: not judged, nobody accepts at port"), out);
  },
);

Deno.test({ name: "grade --port: nobody is there", ignore }, async () => {
  const { code, out } = await grade("--port", freePort());
  assertEquals(code, 1);
  assert(out.includes("start the server first"), out);
});

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
