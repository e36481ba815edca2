/**
 * Tests of the sandbox: hostile submissions do no harm, each gets its row, and nothing of them is
 * left on the machine.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { homedir } from "node:os";
import { type Graded, type Grades, Trouble } from "./outcome.ts";
import { readAnswer } from "./sandbox.ts";
import { canTest, graderCommand, missedIn, pathOf, PYTHON, run, Submissions } from "./testing.ts";

/** The deeds of fixtures/hostile.py, and what each of them prints if it has done no harm. */
const DEEDS: Record<string, RegExp> = {
  "reads a secret": /REFUSED \[Errno 2\]/,
  "writes beside itself": /NOT WRITTEN .*stolen.txt.*\nWRITTEN .submission.written.txt/,
  "connects outward": /REFUSED \[Errno 111\]/,
  "forks without end": /^/,
  "fills the memory": /MemoryError/,
  "fills the disk": /REFUSED \[Errno 2[78]\]/,
  "kills its parent": /REFUSED|KILLED 1\n/,
  "kills all": /REFUSED/,
  "stays": /Listening/,
  "becomes a daemon": /Listening/,
  "finds files": /FOUND/,
  "writes programs": /NEVER RAN/,
  "floods the grader": /FLOODED 0/,
  "forges": /REFUSED/,
  "mounts more": /NOT MOUNTED/,
  "debugs the grader": /REFUSED \[Errno 111\]/,
  "writes to open files": /Listening/,
};
/** What none of them prints then. */
const HARM = /SECRET|CONNECTED|RAN AS|FORGED|DEBUGGING/;
/** Those for which it matters whether the grader has the same user id. */
const DEEDS_TO_GRADER = [
  "kills its parent",
  "kills all",
  "finds files",
  "writes programs",
  "floods the grader",
  "forges",
  "mounts more",
  "debugs the grader",
];

/** All that a server finds which is not the system's. An ordinary user's finds Deno, too. */
const FILES = ["/lab/pickle.py", "/original/server.py", "/submission/server.py"];

const ignore = !(await canTest());

/** All that a server printed in all of its checks. */
function outputOf(graded: Graded): string {
  return graded.checks.flatMap(({ output }) => output).join("\n");
}

async function addHostile(submissions: Submissions, deed: string, target = ""): Promise<string> {
  const text = await Deno.readTextFile(pathOf("tools/grade/fixtures/hostile.py"));
  const hostile = text
    .replace(/^DEED = .*$/m, `DEED = ${JSON.stringify(deed)}`)
    .replace(/^TARGET = .*$/m, `TARGET = ${JSON.stringify(target)}`);
  return await submissions.add(deed, hostile);
}

/** A user who grades: the programs before the grader's command, and its environment. */
interface User {
  readonly wrappers: string[];
  readonly env: Record<string, string>;
}

/**
 * Grades as somebody whose shell has left a file open and lets nobody read new ones, and who has a
 * folder in PATH that a submission can make: `npx` may put one under a temporary folder there.
 */
async function gradeCarelessly({ wrappers, env }: User, args: string[]): Promise<Grades> {
  const open = await Deno.makeTempFile();
  const PATH = `/tmp/npx/bin:${Deno.env.get("PATH")}`;
  const options = ["--jobs", "3", "--json", "-"]; // most of it is waiting
  const grader = [...wrappers, Deno.execPath(), ...graderCommand(), ...options, ...args];
  const shell = ["-c", `umask 077; exec 7>>${open}; exec "$@"`, "sh", ...grader];
  const { out, err } = await run("/bin/sh", shell, { ...env, PATH });
  const written = await Deno.readTextFile(open);
  await Deno.remove(open);
  assert(out !== "", err);
  assertEquals(written, "");
  return JSON.parse(out);
}

/** Each hostile submission has its row and has done no harm; the good ones have all points. */
function assertHarmless({ submissions }: Grades): void {
  for (const graded of submissions) {
    const output = outputOf(graded);
    const isGood = graded.name.startsWith("none");
    assertEquals(missedIn(graded).length > 0, !isGood, graded.name);
    assert(isGood || DEEDS[graded.name].test(output), `${graded.name}:\n${output}`);
    assert(!HARM.test(output), output);
    const found = output.match(/(?<=FOUND ).*/g) ?? FILES;
    assertEquals([...new Set(found)].filter((path) => path !== "/deno").sort(), FILES);
  }
}

async function noProcessHas(mark: string): Promise<void> {
  for (let tries = 0; (await run("pgrep", ["-f", mark])).code === 0; tries++) {
    assert(tries < 200, "a process is still there");
  }
}

Deno.test({ name: "grade: hostile submissions do no harm", ignore }, async () => {
  const mark = crypto.randomUUID();
  const secret = `${homedir()}/.${mark}`;
  await using submissions = await Submissions.create();
  await using listener = new Listener();
  const targets: Record<string, string> = {
    "reads a secret": secret,
    "writes beside itself": `${submissions.folder}/none/stolen.txt`,
    "connects outward": `127.0.0.1:${listener.port}`,
  };
  const paths = [await submissions.addFault("none")];
  for (const deed of Object.keys(DEEDS)) {
    paths.push(await addHostile(submissions, deed, targets[deed]));
  }
  paths.push(await submissions.addFault("none", "none again"));
  await Deno.writeTextFile(secret, "secret");
  const args = [PYTHON, "-X", `mark=${mark}`, ...paths];
  const grades = await gradeCarelessly({ wrappers: [], env: {} }, args)
    .finally(() => Deno.remove(secret));
  assertHarmless(grades);
  assertEquals(listener.connections, 0);
  const files = await run("find", [submissions.folder, "-type", "f"]);
  assertEquals(files.out.trim().split("\n").length, paths.length); // what was written is gone
  await noProcessHas(mark);
});

/** It counts the connections that come to it. */
class Listener implements AsyncDisposable {
  connections = 0;
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly port = this.#listener.addr.port;
  readonly #end = this.#count();

  async #count(): Promise<void> {
    for await (const conn of this.#listener) {
      this.connections += 1;
      conn.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#end;
  }
}

/** Where root tests, this is an ordinary user. */
const NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

/** Whether root tests, and others may read the project. */
async function canBeNobody(): Promise<boolean> {
  if (ignore || Deno.uid() !== 0) return false;
  const [setpriv, ...ids] = NOBODY;
  return (await run(setpriv, [...ids, "test", "-r", pathOf("lab/pickle.py")])).code === 0;
}

Deno.test({
  name: "grade: a server with the user id of the grader cannot reach it",
  ignore: !(await canBeNobody()),
}, async () => {
  await using submissions = await Submissions.create();
  const home = await Deno.makeTempDir();
  const { out } = await run(Deno.execPath(), ["info", "--json", "--no-config"]);
  const packages = ["npm", "dl"].map((name) => `${JSON.parse(out).denoDir}/${name}`);
  await run("cp", ["-R", ...packages, home]);
  await run("chown", ["-R", "65534", home]);
  const paths = [await submissions.addFault("none")];
  for (const deed of DEEDS_TO_GRADER) paths.push(await addHostile(submissions, deed));
  const user = { wrappers: NOBODY, env: { HOME: home, DENO_DIR: home } };
  const args = ["--require-sandbox", "--only", "says where,greets", PYTHON, ...paths];
  assertHarmless(await gradeCarelessly(user, args));
  await Deno.remove(home, { recursive: true });
});

/** What the grader makes of this answer from a sandbox. */
function verdictIn(answer: unknown): string {
  try {
    return readAnswer(typeof answer === "string" ? answer : JSON.stringify(answer)).verdict;
  } catch (error) {
    if (error instanceof Trouble) return "trouble";
    throw error;
  }
}

Deno.test("grade: what comes out of a sandbox is an outcome, or trouble", () => {
  const texts = { seen: "", note: "", advice: "", lastWords: "" };
  const outcome = { verdict: "pass", met: ["greets"], output: ["a line"], ...texts };
  assertEquals(verdictIn({ key: "", outcome }), "pass");
  const broken = [
    '{"key":"", "outcome":',
    "null",
    { key: "" },
    { key: "", error: "there is no cp", outcome },
    { key: "", outcome: { ...outcome, verdict: "full marks" } },
    { key: "", outcome: { ...outcome, output: [1] } },
    { key: "", outcome: { ...outcome, met: "greets" } },
    { key: "", outcome: { ...outcome, seen: undefined } },
  ];
  assertEquals(broken.map(verdictIn), broken.map(() => "trouble"));
});

/** A folder with a `bwrap` that is this script, for the front of PATH. */
async function withBwrap(script: string): Promise<{ env: Record<string, string> }> {
  const folder = await Deno.makeTempDir();
  await Deno.writeTextFile(`${folder}/bwrap`, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return { env: { PATH: `${folder}:${Deno.env.get("PATH")}` } };
}

Deno.test({ name: "grade --require-sandbox: it says why not and what to do", ignore }, async () => {
  await using submissions = await Submissions.create();
  const path = await submissions.add("alice", "open('started.txt', 'w').close()\n");
  const { env } = await withBwrap(
    "echo 'bwrap: setting up uid map: Permission denied' >&2; exit 1",
  );
  const args = [...graderCommand(), "--only", "says where", "--require-sandbox", PYTHON, path];
  const { code, err } = await run(Deno.execPath(), args, env);
  assertEquals(code, 1, err);
  assert(/No sandbox: .*Permission denied.*apt install apparmor-profiles/.test(err), err);
  const files = Array.from(Deno.readDirSync(`${submissions.folder}/alice`), ({ name }) => name);
  assertEquals(files, ["server.py"]); // it was not started
});

/** This sandbox writes without end where it is eve's. */
const BROKEN_FOR_EVE = `
case "$*" in
  *eve*) exec cat /dev/zero ;;
esac
exec /usr/bin/bwrap "$@"`;

Deno.test({ name: "grade: a broken sandbox costs its own row", ignore }, async () => {
  await using submissions = await Submissions.create();
  const paths = [];
  for (const name of ["eve", "alice"]) paths.push(await submissions.addFault("none", name));
  const { env } = await withBwrap(BROKEN_FOR_EVE);
  const args = [...graderCommand(), "--json", "-", "--only", "says where,greets", PYTHON, ...paths];
  const { out } = await run(Deno.execPath(), args, env);
  const [eve, alice] = (JSON.parse(out) as Grades).submissions;
  assertEquals([eve.points, /the sandbox has failed/.test(eve.trouble)], [null, true]);
  assertEquals([alice.points, alice.trouble], [2, ""]);
});
