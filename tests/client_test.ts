/**
 * Tests of our client: against our server, and against servers that are not the lab's.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { decode, encode } from "@std/msgpack";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { Fault, Framer, type Student, submit } from "../main.ts";
import {
  ALICE,
  ALICE_ARGS,
  asClient,
  assertClientPasses,
  bytes,
  includes,
  Lab,
  LINUX,
  main,
  netTest,
  PICKLED_FRAME,
  runTest,
  slowness,
  table,
  WINDOWS,
} from "./shared.ts";

/** Our client against a server that sends these, and its failure. */
async function submitTo(greeting: Uint8Array, answer: Uint8Array, sid: Student["sid"] = 1) {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  let request: Uint8Array | undefined;
  const serving = (async () => {
    using conn = await listener.accept();
    if (greeting.length > 0) await conn.write(greeting);
    const space = new Uint8Array(1000);
    if (answer.length > 0) request = space.subarray(0, await conn.read(space) ?? 0);
    if (request) await conn.write(answer);
  })();
  const ids: unknown[] = [];
  const { port } = listener.addr as Deno.NetAddr;
  const failure = await submit({ ...ALICE, sid }, { port, onGreeting: (id) => ids.push(id) })
    .then(() => "", (error) => error instanceof Fault ? error.message : error);
  await serving.catch(() => {}); // our client may have left
  return { failure, ids, request };
}

const SMTP = '32 32 30 20 6d 61 69 6c 2e 65 78 61 6d 70 6c 65 ... "220 mail.example"';
const HELLO = encode({ clientid: 60644 });
const HELLO_64 = bytes(0x81, 0xa8, "clientid", 0xd3, 0, 0, 0, 0, 0, 0, 0xec, 0xe4);
/** What a server's sudden end can mean. */
const WHY_CLOSED =
  "its own window says why. If it says nothing, something in between has answered " +
  "(a container, a forwarded port): start the server with --host 0.0.0.0";

/** What is said about a pickle, on either side. */
const PICKLE_ADVICE =
  "this looks like a Python pickle: use msgpack, or put the lab's pickle.py beside the program";

const SERVERS: [name: string, greeting: Uint8Array, answer: Uint8Array, failure: string][] = [
  ["the lab's", HELLO, bytes(1), ""],
  ["integers of 64 bits", HELLO_64, bytes(0xd3, 0, 0, 0, 0, 0, 0, 0, 1), ""],
  ["unsigned ones", HELLO_64.with(10, 0xcf), bytes(0xcf, 0, 0, 0, 0, 0, 0, 0, 1), ""],
  [
    "a negative id",
    encode({ clientid: -5 }),
    bytes(),
    'not the lab\'s server: its greeting is {"clientid":-5} (81 a8 63 6c 69 65 6e 74 69 64 fb "..clientid.")',
  ],
  [
    "an id that is no integer",
    encode({ clientid: "5" }),
    bytes(),
    'not the lab\'s server: its greeting is {"clientid":"5"} (81 a8 63 6c 69 65 6e 74 69 64 a1 35 "..clientid.5")',
  ],
  [
    "greets with None",
    bytes(0xc0),
    bytes(),
    'not the lab\'s server: its greeting is null (c0 ".")',
  ],
  [
    "greets with a list",
    encode(["clientid", 5]),
    bytes(),
    'not the lab\'s server: its greeting is ["clientid",5] (92 a8 63 6c 69 65 6e 74 69 64 05 "..clientid.")',
  ],
  [
    "greets with lists and dicts in each other",
    encode([[{ a: [[5]] }], [{ b: {} }]]),
    bytes(),
    'not the lab\'s server: its greeting is [[{"a":[[5]]}],[{"b":{}}]] (92 91 81 a1 61 91 91 05 91 81 a1 62 80 "....a......b.")',
  ],
  [
    "acknowledges before the request",
    bytes(HELLO, 1),
    bytes(),
    'not the lab\'s server: its answer before the request is 1 (01 ".")',
  ],
  [
    "refuses before the request",
    bytes(HELLO, encode({ error: "too late" })),
    bytes(),
    "the server refused: too late",
  ],
  [
    "greets in pickle",
    bytes(0x80, 4, PICKLED_FRAME),
    bytes(),
    `the server's greeting: ${PICKLE_ADVICE}`,
  ],
  [
    "acknowledges in pickle",
    HELLO,
    bytes(0x80, 4, "K\x01."),
    `the server's acknowledgement: ${PICKLE_ADVICE}`,
  ],
  [
    "a mail server",
    bytes("220 mail.example ESMTP\r\n"),
    bytes(),
    `not the lab's server: its greeting is 50 (${SMTP})`,
  ],
  [
    "a web server",
    bytes("HTTP/1.1 400 Bad Request\r\n"),
    bytes(),
    "the server's greeting: this looks like HTTP: use a socket and msgpack.packb(d)",
  ],
  [
    "greets with text",
    encode("hello"),
    bytes(),
    'not the lab\'s server: its greeting is "hello" (a5 68 65 6c 6c 6f ".hello")',
  ],
  [
    "greets with a map of another kind",
    encode({ id: 5 }),
    bytes(),
    'not the lab\'s server: its greeting is {"id":5} (81 a2 69 64 05 "..id.")',
  ],
  ["greets with an error", encode({ error: "full" }), bytes(), "the server refused: full"],
  ["answers 2", HELLO, bytes(2), 'not the lab\'s server: its acknowledgement is 2 (02 ".")'],
  [
    "answers 2 in 64 bits",
    HELLO,
    bytes(0xd3, 0, 0, 0, 0, 0, 0, 0, 2),
    'not the lab\'s server: its acknowledgement is 2 (d3 00 00 00 00 00 00 00 02 ".........")',
  ],
  [
    "answers bytes",
    HELLO,
    encode(bytes(1, 2, 3)),
    'not the lab\'s server: its acknowledgement is "3 bytes" (c4 03 01 02 03 ".....")',
  ],
  ["refuses", HELLO, encode({ error: "no" }), "the server refused: no"],
  [
    "closes at once",
    bytes(),
    bytes(),
    `the server has closed without a whole greeting: ${WHY_CLOSED}`,
  ],
  [
    "answers half",
    HELLO,
    bytes(0xd3),
    `the server has closed without a whole acknowledgement: ${WHY_CLOSED}`,
  ],
];

const GREETING_START = bytes(0x81, 0xa8, "clientid").toHex();

/** The first bytes of the ids here that are right: integers that are not negative. */
const ID_STARTS = [0xcd, 0xcf, 0xd3];

/** Whether these bytes begin with a greeting of the lab. */
function isGreeted(sent: Uint8Array): boolean {
  const idStart = sent[GREETING_START.length / 2];
  return sent.toHex().startsWith(GREETING_START) && ID_STARTS.includes(idStart);
}

table("our client against other servers", SERVERS, async (_, greeting, answer, failure) => {
  const { failure: actual, ids } = await submitTo(greeting, answer);
  assertEquals(actual, failure);
  assertEquals(ids, isGreeted(greeting) ? [60644] : []);
});

table("our client sends an integer for an integer", [
  ["a small one", 7, 7n],
  ["5,000,000,000", 5_000_000_000, 5_000_000_000n],
  ["-1", -1, -1n],
  ["64 bits", 2n ** 64n - 1n, 2n ** 64n - 1n],
  ["text", "007", "007"],
], async (_, sid, expected) => {
  const { failure, request } = await submitTo(HELLO, bytes(1), sid as Student["sid"]);
  assertEquals(failure, "");
  const { sid: sent } = decode(request!) as unknown as Student;
  const isFloat = [0xca, 0xcb].includes(request!.at(-9)!) && typeof sid !== "string";
  assertEquals([typeof sent === "number" ? BigInt(sent) : sent, isFloat], [expected, false]);
});

netTest("our client sends a long request in as many writes as it takes", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const student = { ...ALICE, student_name: "x".repeat(4 << 20) }; // more than the kernel takes
  const submitting = submit(student, { port: (listener.addr as Deno.NetAddr).port });
  using conn = await listener.accept();
  await conn.write(HELLO);
  const framer = new Framer(8 << 20);
  let sent: Uint8Array | undefined;
  while (sent === undefined && await framer.read(conn) !== null) sent = framer.next();
  await conn.write(bytes(1));
  await submitting;
  const { student_name } = decode(sent!) as unknown as Student;
  assertEquals(student_name.length, student.student_name.length);
});

runTest("our client's --sid: digits are an integer, unless they would change", async () => {
  await using lab = new Lab();
  const rows: [string, Student["sid"]][] = [
    ["0", 0],
    ["-5", -5],
    ["123456789012345678", 123456789012345678n],
    ["007", "007"],
    ["99999999999999999999", "99999999999999999999"],
    ["x-1", "x-1"],
  ];
  for (const [typed, sid] of rows) {
    const port = String(lab.port);
    const client = main("client", ...ALICE_ARGS, `--sid=${typed}`, "--port", port);
    await assertClientPasses(client, lab.port);
    assertEquals(lab.roster.at(-1)?.sid, sid);
  }
});

netTest("our client refuses an id of more than 64 bits, which cannot be sent", async () => {
  const error = await submit({ ...ALICE, sid: 2n ** 64n }, { port: 1 }).catch((error) => error);
  includes(error.message, "64 bits");
});

runTest("our client without a connection: a name that nobody has", async () => {
  const { code, out, err } = await asClient(1, "--host", "nobody.invalid").end();
  assertEquals([code, out, err], [1, [], [
    "nobody.invalid/1: there is no machine of this name: see --host",
  ]]);
});

runTest(
  "our client at a server that breaks off: its window says why, or --host 0.0.0.0",
  async () => {
    const server = createServer((socket) => socket.resetAndDestroy()).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const { code, out, err } = await asClient(port).end();
    server.close();
    const says = `127.0.0.1/${port}: the server has closed: ${WHY_CLOSED}`;
    assertEquals([code, out, err], [1, [], [says]]);
  },
  !WINDOWS,
); // There a reset can be an end of the stream.

runTest("what a server sends to our client can forge no line and move no cursor", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await using client = asClient(listener.addr.port);
  using conn = await listener.accept();
  await conn.write(encode({ error: "no\n\x1b[2JDone" }));
  const { code, out, err } = await client.end();
  assertEquals([code, out, err], [1, [], ["the server refused: no\\u000a\\u001b[2JDone"]]);
});

runTest("our client at a queue that is full: it says that it is not connected", async () => {
  await using lab = new Lab({ backlog: 1 });
  using _ = await lab.visit();
  const waiting = Array.from({ length: 4 }, () => asClient(lab.port));
  const hints = await Promise.all(waiting.map((client) => client.stderr.next()));
  assert(
    hints.some((hint) => hint?.startsWith("Not connected yet: nobody answers at that address, or")),
    hints.join(),
  );
  for (const client of waiting) await client[Symbol.asyncDispose]();
}, LINUX); // On macOS and Windows a full queue refuses.

netTest("our client says after a second what it waits for, and says it once", async () => {
  await using lab = new Lab();
  const first = await lab.visit();
  const told: string[] = [];
  const { promise: hint, resolve } = Promise.withResolvers<void>();
  const onWaiting = (hint: string) => {
    told.push(hint);
    resolve();
  };
  const start = performance.now();
  const submitting = submit(ALICE, { port: lab.port, onWaiting });
  submitting.catch(() => {}); // Where the time is wrong, that is what the test shall say.
  await hint;
  const waited = performance.now() - start;
  assert(waited > 990, `${waited} ms`);
  await slowness(200);
  first.close();
  await submitting;
  assertEquals(told, ["Connected, no greeting yet: is another client served?"]);
});

runTest("our client waits its turn, and says so after a second", async () => {
  await using lab = new Lab();
  const first = await lab.visit();
  await using client = asClient(lab.port);
  const hint = await client.stderr.next();
  includes(hint, "Connected, no greeting yet", "another client");
  first.close();
  await assertClientPasses(client, lab.port);
});
