/**
 * Tests of the skeleton and of a solution with the grader: what it makes of both, and that its advice,
 * followed line by line, leads from one to the other.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import type { Graded } from "../grade/outcome.ts";
import { gradeHere, missedIn } from "../grade/testing.ts";
import { ROOT, TOOLS_FLAGS } from "../shared/config.ts";
import { bodyOf, folderWithServer, type Methods, placeOf, SKELETON, SOLUTION } from "./student.ts";
import { Folder, pathOf, type Python, pythons, pythonTest, type Result, run } from "./testing.ts";

/** Grades the server of a folder. */
function grade(python: Python, folder: Folder, port: number, ...more: string[]): Promise<Result> {
  const flags = new Set(["run", "--no-prompt", ...TOOLS_FLAGS, "--allow-all"]);
  const options = ["--port", String(port), ...more, python.program, folder.file("server.py")];
  return run(Deno.execPath(), [...flags, "tools/grade/main.ts", ...options], { cwd: pathOf(ROOT) });
}

const [anyPython] = pythons;

/** A test with one Python, where there is one. */
function graderTest(name: string, fn: (python: Python) => Promise<void>): void {
  Deno.test({
    name,
    ignore: anyPython === undefined,
    fn: () => fn(anyPython),
  });
}

graderTest("the skeleton passes hardly a check of the grader", async (python) => {
  const { folder, port } = await folderWithServer(SKELETON);
  await using _ = folder;
  const { code, out } = await grade(python, folder, port);
  const passed = out.match(/^ok /gm) ?? [];
  assertEquals([code, passed.length < 3], [1, true], out);
});

/** What a student writes when the grader says this. */
interface Edit {
  /** What the grader says: of a method that is missing, or what to change. */
  advice: RegExp;
  /** The text that is there. */
  old: string;
  /** The text that takes its place. */
  new: string;
}

/** The edit that writes the body of a method of the skeleton. */
function writeMethod(name: string, lines: string[]): Edit {
  return { advice: new RegExp(`method ${name} `), old: placeOf(name), new: bodyOf(lines) };
}

const DRAFT_OF_LINE = "Connected: Student: %s, Github Username: %s, sid: %s";
const DRAFT_OF_VALUES = "student['student_name'], student['github_username'], student['sid']";

/** The skeleton's methods as a beginner may write them: each works with one good client. */
const FIRST_DRAFT: Methods = {
  create_socket: ["self.socket = socket.socket()"],
  bind: ["self.socket.bind((self.host, self.port))"],
  listen: [
    "self.socket.listen(BACKLOG)",
    'print(f"Listening at {self.host}/{self.port}")',
  ],
  accept_clients: [
    "conn, address = self.socket.accept()",
    "self.serve_client(conn, address)",
    "conn.close()",
  ],
  serve_client: [
    "self.greet(conn, address)",
    "student = self.receive(conn)",
    "self.print_student(student)",
    "self.acknowledge(conn)",
  ],
  greet: ['conn.sendall(pickle.dumps({"clientid": address[1]}))'],
  receive: ["return pickle.loads(conn.recv(1024))"],
  print_student: [`print("${DRAFT_OF_LINE}" % (${DRAFT_OF_VALUES}))`],
  acknowledge: ["conn.sendall(pickle.dumps(1))"],
};

/** The edits that write the first draft. */
function firstDraft(): Edit[] {
  return Object.entries(FIRST_DRAFT).map(([name, lines]) => writeMethod(name, lines));
}

/** What the beginner changes in it, advice by advice. */
const CHANGES: Edit[] = [
  {
    advice: /accept and all that follows/,
    old: `        conn, address = self.socket.accept()
        self.serve_client(conn, address)
        conn.close()
`,
    new: `        while True:
            conn, address = self.socket.accept()
            self.serve_client(conn, address)
            conn.close()
`,
  },
  {
    advice: /Catch what loads raises|Catch OSError|Catch KeyError|[Hh]andle (its|the) error/,
    old: `            self.serve_client(conn, address)
`,
    new: `            try:
                self.serve_client(conn, address)
            except:
                pass
`,
  },
  {
    advice: /what has happened and to whom/,
    old: `                pass
`,
    new: `                print("Exception:", address, sys.exc_info()[1])
`,
  },
  {
    advice: /KeyboardInterrupt/,
    old: `            except:
`,
    new: `            except Exception:
`,
  },
  {
    advice: /line of its own when a client leaves|returns b''|brings no bytes/,
    old: `        student = self.receive(conn)
        self.print_student(student)
        self.acknowledge(conn)
`,
    new: `        student = self.receive(conn)
        if student is None:
            print("left without a request:", address)
        while student is not None:
            self.print_student(student)
            self.acknowledge(conn)
            student = self.receive(conn)
`,
  },
  {
    advice: /line of its own when a client leaves|returns b''|brings no bytes/,
    old: `        return pickle.loads(conn.recv(1024))
`,
    new: `        data = conn.recv(1024)
        return pickle.loads(data) if data else None
`,
  },
  {
    advice: /Read up to 4096|it is (a )?whole|keep (the rest|what is left)/,
    old: `        data = conn.recv(1024)
        return pickle.loads(data) if data else None
`,
    new: `        try:
            return pickle.load(self.reader)
        except EOFError:
            return None
`,
  },
  {
    advice: /Read up to 4096|it is (a )?whole|keep (the rest|what is left)/,
    old: `        self.greet(conn, address)
`,
    new: `        self.reader = conn.makefile("rb")
        self.greet(conn, address)
`,
  },
  {
    advice: /settimeout/,
    old: `        self.reader = conn.makefile("rb")
`,
    new: `        conn.settimeout(2)
        self.reader = conn.makefile("rb")
`,
  },
  {
    advice: /isprintable/,
    old: "(student['student_name'],",
    new: "(''.join(c if c.isprintable() else '?' for c in student['student_name']),",
  },
  {
    advice: /SO_REUSEADDR/,
    old: `        self.socket.bind(`,
    new: `        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(`,
  },
  {
    advice: /as UTF-8/,
    old: `def main():
`,
    new: `sys.stdout = open(1, "w", encoding="utf-8", buffering=1)


def main():
`,
  },
];

/** How long a silent client may keep the next one out, in seconds: these servers wait for 2. */
const SILENCE = 3;

/** Grades this text of a server, on the checks that are named or on all. */
function gradeText(
  python: Python,
  folder: Folder,
  text: string,
  only?: string[],
): Promise<Graded> {
  const commandAt = (port: number) => {
    const script = folder.file(`server${port}.py`);
    Deno.writeTextFileSync(script, text.replace("PORT = 12000", `PORT = ${port}`));
    return [python.program, script];
  };
  const { path } = folder;
  const place = { folder: path, labFolder: path, commandAt };
  return gradeHere({ name: "a student's", ...place, only, silence: SILENCE });
}

pythonTest("the solution passes every check of the grader", async (python) => {
  await using folder = await Folder.handOut();
  const { checks } = await gradeText(python, folder, SOLUTION);
  const wrong = checks.filter(({ verdict }) => verdict !== "pass");
  assertEquals(wrong.map(({ name, seen }) => `${name}: ${seen}`), []);
});

/** What the grader says about the checks that are missed. */
function adviceIn({ checks }: Graded): string {
  const missed = checks.filter(({ verdict }) => verdict === "miss");
  return missed.map(({ seen, change, inPython }) => `${seen}\n${change}\n${inPython}\n`).join("");
}

/** The skeleton after all edits that the grader's advice asks for, one after the other. */
async function followAdvice(python: Python, folder: Folder): Promise<string> {
  let text = SKELETON;
  let only: string[] | undefined; // what was missed is graded again alone, and all of it in the end
  const edits = new Set([...firstDraft(), ...CHANGES]);
  for (;;) {
    const graded = await gradeText(python, folder, text, only);
    const advice = adviceIn(graded);
    if (advice === "" && only === undefined) return text;
    const due = [...edits].filter((edit) => edit.advice.test(advice) && text.includes(edit.old));
    assert(due.length > 0 || advice === "", `the advice leads no further:\n${advice}\n${text}`);
    for (const edit of due) {
      text = text.replace(edit.old, () => edit.new);
      edits.delete(edit); // each is made once, so this loop has an end
    }
    only = advice === "" ? undefined : missedIn(graded);
  }
}

graderTest("the grader's advice, followed line by line, leads to a pass", async (python) => {
  await using drafts = await Folder.handOut();
  const { folder, port } = await folderWithServer(await followAdvice(python, drafts));
  await using _ = folder;
  const { code, out } = await grade(python, folder, port, "--silence", `${SILENCE}`);
  assertEquals([code, /^MISS|not judged/m.test(out)], [0, false], out);
});
