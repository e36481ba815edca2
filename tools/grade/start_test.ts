/**
 * Tests of how a server is started, and of what is said where it does not start.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { canTest, gradesOf, pathOf, PYTHON, run, Submissions } from "./testing.ts";

const ignore = !(await canTest());

/** Programs that do not get as far as to listen, and what the advice must say. */
const BROKEN: { name: string; source: string; advises: RegExp }[] = [
  {
    name: "a bracket is missing",
    source: "import socket\n\nserver = socket.socket(\nserver.bind(1)\n",
    advises: /Mend line 3, which Python cannot read: SyntaxError: '\(' was never closed/,
  },
  {
    name: "a block is not indented",
    source: "while True:\nprint(1)\n",
    advises: /Mend line 2, which Python cannot read: IndentationError: /,
  },
  {
    name: "quotes from a text",
    source: "import socket\nprint(\u201chello\u201d)\n",
    advises: /Write line 2 anew: invalid character '\u201c'/,
  },
  {
    name: "Python 2",
    source: 'print "hello"\n',
    advises: /Write print\(\.\.\.\) in line 1: this is Python 2/,
  },
  {
    name: "another encoding",
    source: "# caf\xe9\nprint(1)\n", // written byte by byte: Latin-1
    advises: /Save the file as UTF-8/,
  },
  {
    name: "a module that nobody has",
    source: "import numpyy\n",
    advises: /Do without the module numpyy/,
  },
  {
    name: "arguments that are required",
    source: "import argparse\nparser = argparse.ArgumentParser()\n" +
      'parser.add_argument("port")\nparser.parse_args()\n',
    advises: /Do not need arguments/,
  },
  {
    name: "a name of another machine",
    source: 'import socket\nsocket.socket().bind(("my-laptop.example", 12000))\n',
    advises: /Listen at "127\.0\.0\.1"/,
  },
  {
    name: "an address of another machine",
    source: 'import socket\nsocket.socket().bind(("192.0.2.1", 12000))\n',
    advises: /Listen at "127\.0\.0\.1"/,
  },
  {
    name: "an error of its own",
    source: "import socket\nserver = socket.socket()\nserver.listenn()\n",
    advises: /Mend line 3, where the server ends before it listens: AttributeError/,
  },
  {
    name: "words without a deed",
    source: 'print("Listening at 127.0.0.1/12000")\nimport time\ntime.sleep(1000)\n',
    advises: /the server says that it listens, and no client reaches it there/,
  },
];

/** Latin-1, in which each of these characters is one byte. */
function latin1(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

Deno.test({ name: "grade: the advice is on how a server fails to start", ignore }, async (t) => {
  await using submissions = await Submissions.create();
  const paths: string[] = [];
  for (const { name, source } of BROKEN) paths.push(await submissions.add(name, source));
  await Deno.writeFile(paths[4], latin1(BROKEN[4].source));
  const skeleton = await Deno.readTextFile(pathOf("lab/server.py"));
  const rows = [...BROKEN, { name: "skeleton", advises: /Write the method create_socket/ }];
  paths.push(await submissions.add("skeleton", skeleton));
  const grades = await gradesOf("--only", "says where,greets", PYTHON, ...paths);
  for (const [index, { name, advises }] of rows.entries()) {
    const { checks: [start, greets], points } = grades.submissions[index];
    await t.step(name, () => {
      assertEquals([points, start.verdict, greets.verdict], [0, "miss", "not judged"]);
      assert(advises.test(start.change), `${start.change}\n${start.output.join("\n")}`);
      assertEquals(greets.seen, 'it builds on "says where", which is not there');
    });
  }
});

Deno.test({ name: "grade: what a program in C prints shows at once", ignore }, async () => {
  await using submissions = await Submissions.create();
  const program = await submissions.add("alice", "", "server");
  const source = pathOf("tools/grade/fixtures/server.c");
  const { code } = await run("cc", ["-o", program, source]).catch(() => ({ code: 127 }));
  if (code === 127) return console.log("Not tried: there is no C compiler");
  await Deno.chmod(program, 0o755);
  const { submissions: [{ checks: [start] }] } = await gradesOf("--only", "says where", program);
  assertEquals([start.verdict, start.note], ["pass", ""], start.seen);
});

Deno.test(
  { name: "grade: a program that cannot start here is trouble, no mark", ignore },
  async () => {
    await using submissions = await Submissions.create();
    const program = await submissions.add("alice", "#!/nowhere/python3\n", "server");
    await Deno.chmod(program, 0o755);
    const { submissions: [graded] } = await gradesOf("--only", "says where", program);
    assertEquals(graded.points, null);
    assert(graded.trouble.includes("its program cannot start here: "), graded.trouble);
  },
);
