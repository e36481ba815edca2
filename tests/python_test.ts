/**
 * Tests with Python's clients: what students write, with and without mistakes.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { flood, serveClass } from "./python.ts";
import { includes, Lab, LINUX, PYTHON, python, runTest, startServer } from "./shared.ts";

// Visits the server with each of these pieces of a student's code, and says for each who it was,
// what the server has answered, and with which exception it has died.
const TRY = `
import json, select, socket, struct, sys
import msgpack
from pickle import dumps, loads
d = {"student_name": "Alice Brown", "github_username": "abrown", "sid": 123456789}
for code in sys.argv[2:]:
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    name = "127.0.0.1:%d" % s.getsockname()[1]
    answers, failure = msgpack.Unpacker(), ""
    try:
        exec(code)
        while data := s.recv(4096):
            answers.feed(data)
    except Exception as error:
        failure = type(error).__name__ + ": " + str(error)
    s.close()
    print(json.dumps([name, list(answers), failure]))
`;

type Mistake = [code: string, level: string, ...words: string[]];
const READS_FIRST = "loads(s.recv(4096)); ";
// deno-fmt-ignore
const MISTAKES: Mistake[] = [
  [`s.send(dumps({key.replace("student_", ""): value for key, value in d.items()}))`, "WARN", "student_name is missing", "the dict has: 'name', 'github_username', 'sid'"],
  [`s.send(dumps({"data": d}))`, "WARN", "student_name is missing", "the dict has: 'data'"],
  [`s.send(dumps({**d, "student_name": "Alice".encode()}))`, "WARN", "student_name must be a string, but it is bytes", "leave out .encode()"],
  [`s.send(dumps({**d, "sid": None}))`, "WARN", "sid must be an integer or a string, but it is None"],
  [`s.send(repr(d).encode())`, "WARN", "the text of a Python dict", "send msgpack.packb(d)", "not str() or repr()"],
  [`s.send(dumps(str(d)))`, "WARN", "a string came", "send msgpack.packb(d), where d is a dict", "packed once and alone"],
  [`s.send(dumps(repr(d).encode()))`, "WARN", "bytes came", "send msgpack.packb(d), where d is a dict"],
  [`s.send(json.dumps(d).encode())`, "WARN", "JSON text", "send msgpack.packb(d)", "not json.dumps()"],
  [`s.send(json.dumps(d, indent=4).encode())`, "WARN", "JSON text"],
  [`s.send(json.dumps([d]).encode())`, "WARN", "JSON text"],
  [`s.send(json.dumps([d], indent=4).encode())`, "WARN", "JSON text"],
  [`s.send(json.dumps(list(d.values())).encode())`, "WARN", "JSON text"],
  [`s.send(dumps(json.dumps(d)))`, "WARN", "a string came", "send msgpack.packb(d), where d is a dict"],
  [`s.send(dumps(json.dumps(d).encode()))`, "WARN", "bytes came", "send msgpack.packb(d), where d is a dict"],
  [`s.send(dumps(dumps(d)))`, "WARN", "bytes came", "packed once and alone", "student_"],
  [`s.send(dumps(list(d.values())))`, "WARN", "expected a dict with the keys student_name, github_username and sid", "a list came", "93 ab 41 6c 69 63 65"],
  [`[s.send(dumps(value)) for value in d.values()]`, "WARN", "expected a dict", "a string came", "Alice Brown"],
  [`s.send(dumps("Alice Brown"))`, "WARN", "expected a dict", "a string came", "Alice Brown"],
  [`s.send(b"Alice Brown")`, "WARN", "expected a dict", "a number, a length or plain text came", '(41 "A")', "msgpack.packb(d)"],
  [`b = dumps(d); s.send(struct.pack(">I", len(b)) + b)`, "WARN", "expected a dict", '(00 ".")', "packed once and alone"],
  [`b = dumps(d); s.send(b"%10d" % len(b) + b)`, "WARN", "expected a dict", '(20 " ")', "packed once and alone"],
  [`b = dumps(d); s.send(b"%-10d" % len(b) + b)`, "WARN", "expected a dict", '(35 "5")', "packed once and alone"],
  [`s.send(dumps(d)); select.select([s], [], []); s.close()`, "WARN", "the client broke the connection", "closed with something unread"],
  [`s.send(dumps(d)[:20]); s.shutdown(socket.SHUT_WR)`, "WARN", "the client closed after 20 bytes of a message"],
  [`s.close()`, "INFO", "left without sending"],
];
const PICKLES: Mistake[] = [
  [
    `loads(s.recv(4096)); s.send(dumps(d))`,
    "INFO",
    "left without sending",
    "put the lab's pickle.py beside it",
    "unpickling stack underflow",
  ],
  ...[2, 3, 4, 5].map((protocol): Mistake => [
    `s.send(dumps(d, ${protocol}))`,
    "WARN",
    "a Python pickle",
    "use msgpack, or put the lab's pickle.py beside the program",
  ]),
];

/** Makes each of these mistakes, one after the other, and looks at both ends. */
async function tryMistakes(mistakes: Mistake[], pickle: "msgpack" | "real", ...options: string[]) {
  await using server = await startServer(...options);
  const { port } = server;
  const before = pickle === "real" ? "" : READS_FIRST;
  const code = mistakes.map(([code]) => before + code);
  const tries = await python(["-c", TRY, `${port}`, ...code], pickle).end();
  assertEquals([tries.code, tries.err, tries.out.length], [0, [], mistakes.length]);
  const { err: console } = await server.stop();
  assertEquals(console.length, mistakes.length + 1, console.join("\n"));
  for (const [i, [code, level, ...words]] of mistakes.entries()) {
    const [name, answers, failure] = JSON.parse(tries.out[i]);
    assert(console[i].startsWith(`${level} ${name}: `), `${code}: ${console[i]}`);
    includes(console[i], ...words);
    if (failure === "") assertEquals(`${level} ${name}: ${answers.at(-1)?.error}`, console[i]);
    else if (pickle === "real") {
      assertEquals(failure, "UnpicklingError: unpickling stack underflow");
    } else includes(code, "s.close()");
  }
}

runTest(
  "Python: each usual mistake is told in words that help, at both ends",
  () => tryMistakes(MISTAKES, "msgpack"),
  PYTHON,
);

runTest(
  "the real pickle, in each protocol, is told at both ends",
  () => tryMistakes(PICKLES, "real"),
  PYTHON,
);

runTest("a student who types for too long is told which option gives more time", async () => {
  const code = "select.select([s], [], []); s.send(dumps(d))"; // sends when it has been told
  const words = ["no whole request within 0.3 s", "--request-timeout"];
  await tryMistakes([[code, "WARN", ...words]], "msgpack", "--request-timeout", "0.3");
}, PYTHON);

runTest("a client that never reads its answers cannot hold the server", async () => {
  await using lab = new Lab({ requestTimeout: 300, turnTimeout: 0 }, "WARN");
  await using client = flood(lab.port);
  const name = `127.0.0.1:${await client.stdout.next()}`;
  using next = await lab.connect();
  await next.greeting();
  const { level, client: who, message } = await lab.log.until("stalled");
  assertEquals([level, who], ["WARN", name]);
  assertEquals(message, `${name}: its answers were left unread for 0.3 s`);
  assertEquals((await client.end()).code, 0);
}, PYTHON && LINUX); // macOS takes no segments of less than 216 bytes.

runTest(
  "thirty at once that never hang up, with the default queue: in order",
  () => serveClass(30, "--keep-alive-timeout", "0.1"),
  PYTHON,
);
