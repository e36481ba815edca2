/**
 * Tests of `lab/check.py`: a right server passes, a student finds the fault of another by what it says,
 * and wrong input is told in a sentence.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { type Ended, Process } from "../shared/process.ts";
import {
  BY_THE_README,
  folderWithServer,
  type Methods,
  SOLUTION,
  startServer,
  withMethods,
} from "./student.ts";
import {
  ALICE_LINE,
  Folder,
  LAB,
  type Python,
  pythons,
  pythonTest,
  type Result,
  run,
  stepsSideBySide,
} from "./testing.ts";

/** Runs check.py of a folder. */
function check(python: Python, folder: Folder, ...args: string[]): Promise<Result> {
  return run(python.program, [folder.file("check.py"), ...args]);
}

/** How check.py sees a server, and the lines that the server has printed meanwhile. */
async function checked(python: Python, text: string): Promise<Result & { server: Ended }> {
  const { folder, port } = await folderWithServer(text);
  await using _ = folder;
  await using server = await startServer(python, folder);
  const result = await check(python, folder, "--port", String(port));
  return { ...result, server: await server.stop("SIGKILL") };
}

/** The marks of a report: `ok`, `MISS`, or `open` where it is beyond the lab. */
function marksOf(out: string): string[] {
  return [...out.matchAll(/^(ok|MISS|open) /gm)].map(([, mark]) => mark);
}

pythonTest("check.py: the solution passes everything", async (python) => {
  const { code, out, err } = await checked(python, SOLUTION);
  assertEquals([code, err], [0, ""], out);
  assertEquals(marksOf(out), Array(13).fill("ok"), out);
});

pythonTest(
  "check.py: a server by lab/README.md passes, and its window is as it says",
  async (python) => {
    const { code, out, err, server } = await checked(python, withMethods(BY_THE_README));
    assertEquals([code, err], [0, ""], out);
    assertEquals(marksOf(out), [...Array(11).fill("ok"), "open", "open"], out);
    assert(/\n {2}Listening at 127\.0\.0\.1\/\d+\nand nine times or more\n/.test(out), out);
    assert(out.includes(`\n  ${ALICE_LINE}\n`), out);
    assertEquals(server.out, Array(9).fill(ALICE_LINE));
    const errors = server.err.filter((line) => /^(\w+\.)?(\w+Error): /.test(line));
    assertEquals(errors.length, 6, server.err.join("\n")); // two of them are beyond the lab
  },
);

/** A server as a student writes it, and how check.py leads to its fault. */
interface Student {
  /** What is wrong with it. */
  readonly fault: string;
  /** The methods that are not as README.md says. */
  readonly methods: Methods;
  /** The first check that is missed. */
  readonly missed: string;
  /** What the report says from there on. */
  readonly says: RegExp;
}

const STUDENTS: Student[] = [
  {
    fault: "receives before it greets",
    methods: { serve_client: ["self.receive(conn)", "self.greet(conn, address)"] },
    missed: "greets",
    says: /no greeting: nothing came within 2 s.*before receive, conn\.sendall/,
  },
  {
    fault: "greets with its own port",
    methods: { greet: ['conn.sendall(pickle.dumps({"clientid": self.port}))'] },
    missed: "greets",
    says: /{'clientid': \d+} \(dict\); the port of this client is \d+.*address\[1\]/,
  },
  {
    fault: "greets with a text",
    methods: { greet: ['conn.sendall(str({"clientid": address[1]}).encode())'] },
    missed: "greets",
    says: /Seen: b"{'clientid': \d+}": .*pickle\.dumps/,
  },
  {
    fault: "acknowledges with a text",
    methods: { acknowledge: ['conn.sendall(b"1")'] },
    missed: "acknowledges",
    says: /Seen: 49 \(int\), in the bytes b'1'\..*pickle\.dumps\(1\)/,
  },
  {
    fault: "acknowledges twice",
    methods: { acknowledge: ["conn.sendall(pickle.dumps(1))", "conn.sendall(pickle.dumps(1))"] },
    missed: "acknowledges",
    says: /the int 1, once.*Seen: b'\\x01\\x01': /,
  },
  {
    fault: "reads until the client closes",
    methods: {
      receive: [
        "data = piece = conn.recv(4096)",
        'while piece != b"":',
        "    piece = conn.recv(4096)",
        "    data += piece",
        "return pickle.loads(data)",
      ],
    },
    missed: "acknowledges",
    says: /no answer to its request: nothing came within 2 s.*Do not wait for b""/,
  },
  {
    fault: "looks for a key that is not there",
    methods: { print_student: ['print(student["name"])'] },
    missed: "acknowledges",
    says: /the server has closed the connection.*the server's window: its last line says more/,
  },
  {
    fault: "accepts one client",
    methods: {
      accept_clients: [
        "conn, address = self.socket.accept()",
        "self.serve_client(conn, address)",
        "conn.close()",
      ],
    },
    missed: "serves the next",
    says: /the next client has no .*`while True`/,
  },
  {
    fault: "waits for a client that has closed",
    methods: {
      receive: [
        "data = conn.recv(4096)",
        'while data == b"":',
        "    data = conn.recv(4096)",
        "return pickle.loads(data)",
      ],
    },
    missed: "serves the next",
    says: /the next client has no greeting: nothing came within 2 s.*When recv brings b""/,
  },
  {
    fault: "has a thread for each client",
    methods: {
      accept_clients: [
        "import threading",
        "while True:",
        "    arguments = self.socket.accept()",
        "    threading.Thread(target=self.serve_client, args=arguments, daemon=True).start()",
      ],
    },
    missed: "one at a time",
    says: /it gets {'clientid': \d+} \(dict\), while the first one.*without a thread for each/,
  },
  {
    fault: "has no try",
    methods: {
      accept_clients: [
        "while True:",
        "    conn, address = self.socket.accept()",
        "    self.serve_client(conn, address)",
        "    conn.close()",
      ],
    },
    missed: "missing key",
    says: /the next client has no .*put a try around serve_client/,
  },
  {
    fault: "catches what a request can raise, and nothing else",
    methods: {
      accept_clients: [
        "while True:",
        "    conn, address = self.socket.accept()",
        "    try:",
        "        self.serve_client(conn, address)",
        "    except (pickle.UnpicklingError, KeyError) as error:",
        "        print(error)",
        "    conn.close()",
      ],
    },
    missed: "resets",
    says: /the next client has no .*raises an OSError\. Catch it in the same try/,
  },
  {
    fault: "does not miss the sid",
    methods: { print_student: ['print(student["student_name"], student.get("sid"))'] },
    missed: "missing key",
    says: /it is acknowledged with 1 \(int\).*student\["sid"\] \(not get\)/,
  },
  {
    fault: "acknowledges before it prints",
    methods: {
      serve_client: [
        "self.greet(conn, address)",
        "student = self.receive(conn)",
        "while student is not None:",
        "    self.acknowledge(conn)",
        "    self.print_student(student)",
        "    student = self.receive(conn)",
      ],
    },
    missed: "missing key",
    says: /it is acknowledged with 1 \(int\).*Print before you send 1/,
  },
  {
    fault: "never accepts",
    methods: { accept_clients: ["import time", "time.sleep(100)"] },
    missed: "greets",
    says: /no greeting: nothing came within 2 s.*after accept/,
  },
];

async function leadsToFault(python: Python, { methods, missed, says }: Student): Promise<void> {
  const { code, out, err } = await checked(python, withMethods({ ...BY_THE_README, ...methods }));
  assertEquals([code, err], [1, ""], out);
  assertEquals(out.match(/^MISS +([^:]+):/m)?.[1], missed, out);
  const words = out.slice(out.indexOf("MISS")).replaceAll(/\s+/g, " ");
  assert(says.test(words), out);
}

const [anyPython] = pythons;

Deno.test({
  name: "check.py: a student sees the first fault, and what to change",
  ignore: anyPython === undefined,
  fn: (t) =>
    stepsSideBySide(t, STUDENTS, ({ fault }) => fault, (one) => leadsToFault(anyPython, one)),
});

pythonTest("check.py: no server, no such machine, wrong options", async (python) => {
  await using folder = await Folder.handOut();
  const none = await check(python, folder, "--port", "1");
  assertEquals([none.code, none.err], [1, ""]);
  assert(/refused[^]*start server\.py first/.test(none.out), none.out);
  for (const host of ["no.such.invalid", "\u200e127.0.0.1", `${"a".repeat(70)}.org`]) {
    const { code, out, err } = await check(python, folder, "--host", host);
    assertEquals([code, err], [1, ""]);
    assert(/the client has no connection: /.test(out), out);
  }
  for (const port of ["0", "65536", "x", "9".repeat(5000)]) {
    assertEquals((await check(python, folder, "--port", port)).code, 2);
  }
});

pythonTest("check.py: ^C is a word, and no traceback", async (python) => {
  await using folder = await Folder.handOut();
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 }); // it accepts nobody
  const args = ["-u", folder.file("check.py"), "--port", String(listener.addr.port)];
  await using checker = new Process(python.program, args);
  await checker.stdout.until("listens");
  const { code, err } = await checker.stop("SIGINT");
  assertEquals([code, err], [1, ["Stopped."]]);
});

const SYNTAX = `
import ast, sys
for name in sys.argv[1:]:
    ast.parse(open(name, encoding="utf-8").read(), name, feature_version=(3, 6))
`;

pythonTest("server.py and check.py have the syntax of Python 3.6", async (python) => {
  await using folder = await Folder.with(new URL("server.py", LAB), new URL("check.py", LAB));
  const names = ["server.py", "check.py"].map((name) => folder.file(name));
  const { code, err } = await run(python.program, ["-c", SYNTAX, ...names]);
  assertEquals([code, err], [0, ""]);
});
