/**
 * Tests of the server at the command line: what it prints, and with which status it ends.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { encode } from "@std/msgpack";
import project from "../deno.json" with { type: "json" };
import { submit } from "../main.ts";
import { type Ended, type Lines, Process } from "../tools/shared/process.ts";
import {
  ACK,
  ALICE,
  ALICE_ARGS,
  ALICE_LINE,
  asClient,
  assertClientPasses,
  but,
  bytes,
  type Client,
  configFlags,
  includes,
  isError,
  isHere,
  Lab,
  LINUX,
  main,
  mainArgs,
  PY,
  PYTHON,
  python,
  REQUEST,
  runTest,
  slowness,
  startServer,
  stopped,
  UNIX_SIGNALS,
  visit,
  visitAndReset,
  WINDOWS,
} from "./shared.ts";

const LAB2_CLIENT = `
import pickle, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
s.connect(("127.0.0.1", int(sys.argv[1])))
hello = pickle.loads(s.recv(4096))
print(hello, "has successfully connected to 127.0.0.1/" + sys.argv[1])
data = {"student_name": "Alice Brown", "github_username": "abrown", "sid": 123456789}
s.send(pickle.dumps(data))
if pickle.loads(s.recv(4096)) == 1:
    print("Data acknowledged by server and you passed the test")
s.close()
`;

runTest("the lab's transcript, of our client and of Python's, twice each", async () => {
  await using server = await startServer();
  const { port } = server;
  const clients = [() => asClient(port)];
  if (PYTHON) clients.push(() => python(["-c", LAB2_CLIENT, String(port)]));
  for (const client of [...clients, ...clients]) {
    await assertClientPasses(client(), port);
    assertEquals(await server.stdout.next(), ALICE_LINE);
  }
  const count = clients.length * 2;
  const last = `INFO Served ${count} clients and ${count} requests`;
  assertEquals(await server.stop(), stopped([], last));
});

// deno-fmt-ignore
const WRONG: [args: string[], says: string][] = [
  [["--prot", "1"], "Unknown option --prot: there are --host, --port"],
  [["-p", "1"], "Unknown option -p: there are --host"],
  [["--sid", "1"], "Unknown option --sid: there are --host"], // of the client only
  [["--port", "70000"], "--port takes an integer from 0 to 65535, not '70000'"],
  [["--port", "http"], "--port takes an integer from 0 to 65535, not 'http'"],
  [["--port", "1.5"], "--port takes an integer from 0 to 65535, not '1.5'"],
  [["--port", " "], "--port needs a value"],
  [["--port"], "--port needs a value"],
  [["--port="], "--port needs a value"],
  [["--host", "--port", "0"], "--host needs a value"],
  [["--backlog=-1"], "--backlog takes an integer from 1 to 65535, not '-1'"],
  [["--backlog", "-1"], "Unknown option -1: there are --host, --port, --backlog, --request-timeout, --keep-alive-timeout, --turn-timeout, --max-message-bytes, --log-level, --log-format, --help, --version. A value with spaces needs quotes, and one that begins with - is written as in --sid=-5"],
  [["--request-timeout", "soon"], "--request-timeout takes seconds from 0 to"],
  [["--keep-alive-timeout=-1"], "--keep-alive-timeout takes seconds from 0 to"],
  [["--turn-timeout", "1000001"], "--turn-timeout takes seconds from 0 to 1000000, not '1000001'"],
  [["--max-message-bytes", "1048577"], "--max-message-bytes takes an integer from 64 to 1048576"],
  [["--turn-timeout", "1.2.3"], "--turn-timeout takes seconds from 0 to"],
  [["--turn-timeout", "NaN"], "--turn-timeout takes seconds from 0 to"],
  [["--max-message-bytes", "63"], "--max-message-bytes takes an integer from 64"],
  [["--log-level", "LOUD"], "--log-level takes DEBUG or INFO or WARN or ERROR, not 'LOUD'"],
  [["--log-format", "xml"], "--log-format takes text or json, not 'xml'"],
  [["--log-level", "INFO\u200b"], "--log-level takes DEBUG or INFO or WARN or ERROR, not 'INFO\\u200b'"],
  [["--log-format", "a\nb"], "--log-format takes text or json, not 'a\\u000ab'"],
  [["--", "--port", "http"], "--port takes an integer from 0 to 65535, not 'http'"],
  [["--no-host"], "Unknown option --no-host: there are --host"],
  [["--toString", "1"], "Unknown option --toString: there are --host"],
  [["--host", "127.0.0.1:12000"], "--host takes an address alone, such as 127.0.0.1 or ::1 (the port goes to --port), not '127.0.0.1:12000'"],
  [["--host", "localhost:12000"], "--host takes an address alone"],
  [["--host", "[::1]:12000"], "--host takes an address alone"],
  [["--host", "[::1]"], "--host takes an address alone"],
  [["--host", "http://localhost"], "--host takes an address alone"],
  [["--host", "127.0.0.1/12000"], "--host takes an address alone"],
  [["--host", " 127.0.0.1"], "--host takes an address alone"],
  [["--host", "\u200e127.0.0.1"], "--host takes an address alone, such as 127.0.0.1 or ::1 (the port goes to --port), not '\\u200e127.0.0.1'"],
  [["\u2014port", "0"], "\u2014port has a dash or quotes of a text program: type - and \""],
  [["client", "--student-name", "\u2018Alice", "Brown\u2019"], "Brown\u2019 has a dash or quotes of a text program"],
  [["--port\u00a012000"], "Unknown option --port\\u00a012000: there are --host, --port"],
  [["client", "--student-name", "\u201cAlice", "Brown\u201d"], "Brown\u201d has a dash or quotes of a text program"],
  [["client", "--student-name", "Alice", "\u2018Brown"], "\u2018Brown has a dash or quotes of a text program"],
  [["\u2212-port", "0"], "\u2212-port has a dash or quotes of a text program"],
  [["client", "--student-name", "\u00abAlice", "Brown\u00bb"], "Brown\u00bb has a dash or quotes of a text program"],
  [["client", ...ALICE_ARGS, "--sid", "1", "--host", "127.0.0.1:12000"], "--host takes an address alone"],
  [["client", ...ALICE_ARGS, "--sid", "1", "--port", "0"], "--port takes an integer from 1 to 65535, not '0'"],
  [["server"], "Unknown option server: there are --host"],
  [["--port", "12001", "client", "--sid", "1"], "Unknown option client: there are --host"],
  [["client"], "--student-name needs a value"],
  [["--", "client"], "--student-name needs a value"],
  [["client", ...ALICE_ARGS], "--sid needs a value"],
  [["client", ...ALICE_ARGS, "--sid", ""], "--sid needs a value"],
  [["client", ...ALICE_ARGS, "--sid", "-5"], "Unknown option -5: there are --student-name, --github-username, --sid, --host, --port, --help, --version. A value with spaces needs quotes, and one that begins with - is written as in --sid=-5"],
  [["client", "--student-name", "Alice", "Brown"], "Unknown option Brown: there are --student-name"],
  [["client", ...ALICE_ARGS, "--turn-timeout", "3"], "Unknown option --turn-timeout: there are --student-name, --github-username, --sid, --host, --port, --help"],
];

/** Runs main.ts with each of these, four at a time, and hands on how each has ended. */
async function runEach<Row extends [string[], ...unknown[]]>(
  rows: Row[],
  judge: (row: Row, ending: Ended, what: string) => void,
): Promise<void> {
  const rest = rows.values();
  await Promise.all(Array.from({ length: 4 }, async () => {
    for (const row of rest) {
      const process = main(...row[0]);
      const timer = setTimeout(() => process.child.kill("SIGKILL"), 20_000); // it serves
      const ending = await process.end().finally(() => clearTimeout(timer));
      judge(row, ending, `${row[0].join(" ")}: ${Deno.inspect(ending)}`);
    }
  }));
}

runTest(
  "a wrong command line: one line, exit status 2",
  () =>
    runEach(WRONG, ([_, says], { code, out, err }, what) => {
      assertEquals([code, out, err.length], [2, [], 1], what);
      assert(err[0].startsWith(says), what);
    }),
);

runTest("what the system or the server refuses: one line, exit status 1", async () => {
  await using lab = new Lab({ maxMessageBytes: 50 });
  const used = String(lab.port);
  const closed = "1"; // A port that was just closed can be given to another test at any time.
  const client = ["client", ...ALICE_ARGS, "--sid", "1", "--port"];
  const rows: [string[], string][] = [
    [["--port", used], `127.0.0.1/${used}: the port is in use: end the other server`],
    [
      ["--port", "0", "--host", "192.0.2.1"],
      "192.0.2.1/0: this machine has no such address: --host 127.0.0.1",
    ],
    [[...client, closed], `127.0.0.1/${closed}: there is no server: start it first`],
    [[...client, used], "the server refused: over the limit of 50 bytes"],
  ];
  await runEach(rows, ([_, says], { code, out, err }, what) => {
    assertEquals([code, err.length], [1, 1], what);
    assert(out.length === 0 || says.startsWith("the server"), what);
    assert(err[0].startsWith(says), what);
  });
});

// Where the tests run as root, the right to ports below 1024 is given up for this one.
const BIND_PORT_1 = `import socket
try: socket.create_server(("127.0.0.1", 1))
except PermissionError: exit(0)
exit(1)`;
const DROP = ["--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service"];
const SETPRIV = PYTHON && await isHere("setpriv", ...DROP, PY, "-c", BIND_PORT_1);

runTest("a port that needs an administrator: one line, exit status 1", async () => {
  const { code, out, err } = await new Process("setpriv", [
    ...DROP,
    Deno.execPath(),
    ...mainArgs("--port", "1"),
  ]).end();
  assertEquals([code, out, err.length], [1, [], 1]);
  assert(
    err[0].startsWith("127.0.0.1/1: the system keeps this port for itself or an administrator"),
  );
}, SETPRIV);

// A network of its own, in which the ports up to 20,000 are kept for an administrator.
const KEPT_PORTS = `
ip link set lo up
echo 20000 > /proc/sys/net/ipv4/ip_unprivileged_port_start
exec setpriv ${DROP.join(" ")} "$@"`;
const UNSHARE = ["--user", "--map-root-user", "--net", "sh", "-ec", KEPT_PORTS, "sh"];

runTest("a port that the system keeps: choosing one over 1023 is not the advice", async () => {
  const server = [Deno.execPath(), ...mainArgs("--port", "12000")];
  const { code, out, err } = await new Process("unshare", [...UNSHARE, ...server]).end();
  const says =
    "127.0.0.1/12000: the system keeps this port for itself or an administrator: choose another with --port";
  assertEquals([code, out, err], [1, [], [says]]);
}, LINUX && await isHere("unshare", ...UNSHARE, "true"));

runTest(
  "a server whose first line nobody takes: the system's words, no advice for clients",
  async () => {
    const server = [Deno.execPath(), ...mainArgs("--port", "0")];
    const { err } = await new Process("sh", ["-c", '"$@" | true', "sh", ...server]).end();
    assertEquals(err, ["127.0.0.1/0: Broken pipe (os error 32)"]);
  },
  LINUX,
);

runTest("--help in one screen, --version as in deno.json", () =>
  runEach<[string[], string]>([
    [["--help"], "--turn-timeout 60 "],
    [["client", "--help"], "--student-name TEXT"],
    [["--version"], project.version],
    [["client", "--version"], project.version],
  ], ([_, words], { code, out, err }, what) => {
    assertEquals([code, err], [0, []], what);
    assert(out.length < 24 && out.every((line) => line.length <= 100), what);
    includes(out.join("\n"), words);
    if (words === project.version) assertEquals(out, [words]);
  }));

runTest("no level hides the roster or the last line; WARN hides who left", async () => {
  for (const level of ["WARN", "ERROR"]) {
    await using server = await startServer("--log-level", level);
    const { port } = server;
    await visitAndReset(port);
    await submit(ALICE, { port });
    const last = "INFO Served 1 client and 1 request";
    assertEquals(await server.stop(), stopped([ALICE_LINE], last));
  }
});

runTest("a program of one's own ends by itself when its server has stopped", async () => {
  const script = `
    import { serve, submit } from "./main.ts";
    const stop = new AbortController();
    const server = serve({ port: 0, signal: stop.signal });
    const student = { student_name: "Alice Brown", github_username: "abrown", sid: 123456789 };
    await submit(student, { port: server.addr.port });
    stop.abort();
    console.log(await server.finished);`;
  await using program = new Process(Deno.execPath(), ["eval", ...configFlags(), script]);
  const guard = setTimeout(() => program.child.kill("SIGKILL"), 8000); // if it does not end
  const { code, out } = await program.end();
  clearTimeout(guard);
  includes(out.join("\n"), "Listening at 127.0.0.1/", "{ clients: 1, requests: 1 }");
  assertEquals(code, 0);
});

/** The level DEBUG shows the first bytes of a message only. */
const SHOWN_BYTES = 16;
const ALICE_AS_SHOWN = '{"student_name":"Alice Brown","github_username":"abrown","sid":123456789}';

/** The first bytes of a message in hexadecimal, with a space between two bytes. */
function hexAsShown(message: Uint8Array): string {
  const first = message.subarray(0, SHOWN_BYTES);
  return first.toHex().replace(/..(?!$)/g, "$& ");
}

/** The first bytes of a message as text: a dot is a byte that is no visible character of ASCII. */
function textAsShown(message: Uint8Array): string {
  const first = message.subarray(0, SHOWN_BYTES);
  const isVisibleAscii = (byte: number) => byte > 31 && byte < 127;
  return Array.from(first, (b) => isVisibleAscii(b) ? String.fromCharCode(b) : ".").join("");
}

/** A message in a line of the level DEBUG: its length, its first bytes, and these as text. */
function bytesAsShown(message: Uint8Array): string {
  const more = message.length > SHOWN_BYTES ? " ..." : "";
  return `${message.length} bytes: ${hexAsShown(message)}${more} "${textAsShown(message)}"`;
}

/** The lines of a client that was accepted and greeted. */
function linesOfGreeting({ name, id }: Client): string[] {
  const greeting = bytesAsShown(encode({ clientid: id }));
  return [
    `DEBUG ${name}: accepted`,
    `DEBUG ${name}: send ${greeting}, which is {"clientid":${id}}`,
  ];
}

/** The lines of a client that was acknowledged once and then hung up. */
function linesOfSession(client: Client): string[] {
  const { name } = client;
  return [
    ...linesOfGreeting(client),
    `DEBUG ${name}: recv brought ${REQUEST.length} bytes`,
    `DEBUG ${name}: received ${bytesAsShown(REQUEST)}, which is ${ALICE_AS_SHOWN}`,
    `DEBUG ${name}: send 1 byte: 01 ".", which is 1`,
    `DEBUG ${name}: recv brought the end: the client sends no more`,
    `DEBUG ${name}: closed by the client`,
    `DEBUG ${name}: closed by the server`,
  ];
}

/** The lines of a client that sent an empty dict, and three bytes after it was refused. */
function linesOfFault(client: Client): string[] {
  const { name } = client;
  const error = "student_name is missing, the dict has: none";
  const refusal = bytesAsShown(encode({ error }));
  return [
    ...linesOfGreeting(client),
    `DEBUG ${name}: recv brought 1 byte`,
    `DEBUG ${name}: received 1 byte: 80 ".", which is {}`,
    `WARN ${name}: ${error}`,
    `DEBUG ${name}: send ${refusal}, which is {"error":"${error}"}`,
    `DEBUG ${name}: recv brought 3 bytes`,
    `DEBUG ${name}: recv brought the end: the client sends no more`,
    `DEBUG ${name}: closed by the server`,
  ];
}

runTest("the wire at level DEBUG: one session and one fault, line by line", async () => {
  await using server = await startServer("--log-level", "DEBUG");
  const { port } = server;
  using alice = await visit(port);
  await alice.pass();
  alice.close();
  using mallory = await visit(port);
  await mallory.send(0x80);
  await mallory.receiveAll();
  await mallory.send(1, 2, 3);
  mallory.close();
  const seen = await server.stderr.upTo(`${mallory.name}: closed by the server`);
  assertEquals(seen, [...linesOfSession(alice), ...linesOfFault(mallory)]);
});

runTest("--backlog reaches the kernel: of five, not all are connected", async () => {
  await using server = await startServer("--backlog", "1");
  const { port } = server;
  using _first = await visit(port);
  const giveUp = new AbortController(); // The kernel lets them try again, for minutes.
  const connecting = Array.from({ length: 5 }, () => Deno.connect({ port, signal: giveUp.signal }));
  const settled = Promise.allSettled(connecting);
  assertEquals(await Promise.race([settled, slowness(500)]), undefined);
  giveUp.abort();
  for (const result of await settled) if (result.status === "fulfilled") result.value.close();
}, LINUX);

runTest("--host localhost is 127.0.0.1, at both ends", async () => {
  await using server = await startServer("--host", "localhost");
  using client = await visit(server.port); // It knows no other address.
  assertEquals(client.name, `127.0.0.1:${client.id}`);
  client.close();
  await assertClientPasses(asClient(server.port, "--host", "localhost"), server.port);
});

runTest("the options of the command line reach the server", async () => {
  await using server = await startServer("--turn-timeout", "0.3", "--max-message-bytes", "64");
  const { port } = server;
  using talker = await visit(port);
  await talker.send(but({ student_name: "x".repeat(64) }));
  assertEquals(await talker.receive(), { error: "over the limit of 64 bytes (or no msgpack)" });
  talker.close();
  using silent = await visit(port);
  assertEquals(await silent.receive(), { error: "its turn of 0.3 s is over" });
});

/** The next record, without its time and without its text for people; and that text. */
async function nextRecord(lines: Lines) {
  const line = await lines.next() ?? "";
  assert(/^[\x20-\x7e]+$/.test(line), line); // nothing that moves a cursor
  const { time, message, ...record } = JSON.parse(line);
  assert(!Number.isNaN(Date.parse(time)));
  return { record, message };
}

runTest("--log-format json: two requests in one read are two records", async () => {
  await using server = await startServer("--log-format", "json");
  using client = await visit(server.port);
  await client.send(REQUEST, REQUEST);
  for (let i = 0; i < 2; i++) {
    const { record } = await nextRecord(server.stdout);
    assertEquals(record, { level: "INFO", event: "request", client: client.name, ...ALICE });
  }
});

runTest("--log-format json: a record a line, the student's fields in it", async () => {
  await using server = main("--port", "0", "--log-format", "json");
  const { record: { port, ...listening } } = await nextRecord(server.stdout);
  const { version } = project;
  const where = { level: "INFO", event: "listening", address: "127.0.0.1", version };
  assertEquals(listening, where);
  using client = await visit(Number(port));
  const student = {
    student_name: "A\u2028\u202e\n\x7f",
    github_username: "a",
    sid: 2n ** 64n - 1n,
  };
  await client.pass(encode({ ...student, event: "forged", client: "forged", level: "forged" }));
  const fields = { ...student, sid: "18446744073709551615" };
  const { record } = await nextRecord(server.stdout);
  assertEquals(record, { level: "INFO", event: "request", client: client.name, ...fields });
  await client.send(bytes(0xc1));
  const { record: warning, message } = await nextRecord(server.stderr);
  assertEquals(warning, { level: "WARN", event: "malformed", client: client.name });
  includes(message, client.name);
});

runTest("--log-format json: a line that no pipe takes at once is printed whole", async () => {
  await using server = await startServer("--log-format", "json");
  using client = await visit(server.port);
  const student = { ...ALICE, student_name: "x".repeat(4000) };
  await client.pass(encode(student));
  const line = await server.stdout.next() ?? "";
  assert(line.length > 4096);
  includes(line, `"student_name":"${student.student_name}"`);
});

runTest("--log-format json: the last line is a record, too", async () => {
  await using server = await startServer("--log-format", "json");
  const { code, err: [line] } = await server.stop();
  const { level, event, message } = JSON.parse(line);
  const last = "Served 0 clients and 0 requests";
  assertEquals([code, level, event, message], [0, "INFO", "stopped", last]);
}, UNIX_SIGNALS);

/** The next records of the level DEBUG, without their time and without their text for people. */
async function nextWireRecords(lines: Lines, count: number): Promise<Record<string, unknown>[]> {
  const records: Record<string, unknown>[] = [];
  for (let i = 0; i < count; i++) {
    const line = await lines.next() ?? "";
    const { time: _, message: __, ...record } = JSON.parse(line);
    records.push(record);
  }
  return records;
}

/** The fields of the record of what the server has sent to a client as its greeting. */
function stepOfGreeting({ id }: Client) {
  const greeting = encode({ clientid: id });
  const hex = hexAsShown(greeting);
  return { step: "send", bytes: greeting.length, hex, value: `{"clientid":${id}}` };
}

/** The fields of the record of a read that has brought these bytes. */
function stepOfRead(part: Uint8Array) {
  return { step: "recv", bytes: part.length, hex: hexAsShown(part) };
}

/** The fields of the record of the request, when it is whole. */
function stepOfRequest() {
  const hex = hexAsShown(REQUEST);
  return { step: "received", bytes: REQUEST.length, hex, value: ALICE_AS_SHOWN };
}

runTest("--log-format json at level DEBUG: the wire has fields", async () => {
  const start = REQUEST.subarray(0, 20);
  const rest = REQUEST.subarray(20);
  await using server = await startServer("--log-format", "json", "--log-level", "DEBUG");
  using client = await visit(server.port);
  await client.send(start);
  const upToFirstRead = await nextWireRecords(server.stderr, 3);
  await client.pass(rest);
  client.close();
  const upToTheEnd = await nextWireRecords(server.stderr, 6);
  const steps = [
    { step: "accepted" },
    stepOfGreeting(client),
    stepOfRead(start),
    stepOfRead(rest),
    stepOfRequest(),
    { step: "send", bytes: 1, hex: "01", value: "1" },
    { step: "closed", by: "client" },
    { event: "closed" },
    { step: "closed", by: "server" },
  ];
  const common = { level: "DEBUG", event: "wire", client: client.name };
  const expected = steps.map((step) => ({ ...common, ...step }));
  assertEquals([...upToFirstRead, ...upToTheEnd], expected);
});

runTest(
  "the wire: an integer of 64 bits is shown whole, an end in mid-message once",
  async () => {
    await using server = await startServer("--log-level", "DEBUG");
    using client = await visit(server.port);
    const sid = 2n ** 63n;
    await client.send(but({ sid }), REQUEST.subarray(0, 9));
    assertEquals(await client.receive(), ACK);
    client.closeWrite();
    await client.receiveAll();
    client.close();
    const seen = await server.stderr.upTo("closed by the server");
    includes(seen.find((line) => line.includes("received")), `"sid":"${sid}"}`);
    const ends = seen.filter((line) => line.includes("recv brought the end"));
    assertEquals(ends.length, 1, seen.join("\n"));
  },
);

runTest("what a client sends can forge no line and move no cursor", async () => {
  await using server = await startServer();
  const { port } = server;
  using client = await visit(port);
  // deno-fmt-ignore
  const controls = [0, 7, 8, 9, 10, 13, 27, 127, 0x85, 0x9b, 0x2028, 0x2029, 0x202e, 0x2066, 0x200f, 0x61c];
  const name = controls.map((code) => "é" + String.fromCharCode(code)).join("") + "漢🎓";
  const shown = controls.map((code) => "é\\u" + code.toString(16).padStart(4, "0")).join("") +
    "漢🎓";
  await client.pass(but({ student_name: name, github_username: "a\nConnected: Student: Eve" }));
  await client.send(encode({ "a\nERROR b": 1 })); // a key is shown in the refusal
  assert(isError(await client.receive()));
  client.close();
  const { out, err } = await server.stop();
  const user = "a\\u000aConnected: Student: Eve";
  assertEquals(out, [`Connected: Student: ${shown}, Github Username: ${user}, sid: 123456789`]);
  includes(err[0], `WARN ${client.name}: student_name is missing`, "a\\u000aERROR b");
  assert(err.every((line) => !line.startsWith("ERROR")));
});

runTest("the wire, too, shows nothing that turns the direction of writing", async () => {
  await using server = await startServer("--log-level", "DEBUG");
  const { port } = server;
  using client = await visit(port);
  await client.pass(but({ student_name: "Alice \u202e nworB" }));
  includes(await server.stderr.until("received"), "Alice \\u202e nworB");
});

runTest("standard output gone: nobody is acknowledged, the server goes on", async () => {
  await using server = await startServer();
  const { port } = server;
  await server.stdout.cancel();
  // On Windows a read that has begun keeps the pipe open for one line more.
  if (WINDOWS) await submit(ALICE, { port });
  for (let i = 0; i < 2; i++) {
    using client = await visit(port);
    await client.send(REQUEST);
    assertEquals(await client.receiveAll(), [{ error: "the server has failed, not you" }]);
    const line = await server.stderr.next();
    assert(line?.startsWith(`ERROR ${client.name}: a fault of the server`), line);
  }
});

runTest("standard error gone: the clients still count", async () => {
  await using server = await startServer();
  const { port } = server;
  await server.child.stderr.cancel();
  using client = await visit(port);
  await client.send(0xc1);
  assert(isError(await client.receive()));
  client.close();
  await submit(ALICE, { port });
  assertEquals(await server.stop(), stopped([ALICE_LINE]));
});

// Starts a server whose standard output is a file that takes no more than 1000 bytes. Its first line
// comes here, too.
const SMALL_FILE = `
trap "" XFSZ # The write fails, and does not end the program.
prlimit --pid $$ --fsize=1000:unlimited
file=$1
shift
tail -n +1 -f --pid $$ "$file" | head -n 1 &
exec "$@" > "$file"`;

runTest(
  "a full disk tears a line: the next one stands on its own, and the server goes on",
  async () => {
    const file = await Deno.makeTempFile();
    const args = ["-c", SMALL_FILE, "bash", file, Deno.execPath(), ...mainArgs("--port", "0")];
    await using server = await Process.server("bash", args);
    const { port } = server;
    using client = await visit(port);
    await client.send(but({ student_name: "x".repeat(3000) })); // Deno keeps the rest of a short line.
    assertEquals(await client.receiveAll(), [{ error: "the server has failed, not you" }]);
    client.close();
    includes(await server.stderr.next(), `ERROR ${client.name}: a fault of the server: `);
    assert(await isHere("prlimit", "--pid", String(server.child.pid), "--fsize=unlimited"));
    await submit(ALICE, { port });
    await server.stop();
    const roster = (await Deno.readTextFile(file)).split("\n");
    assert(roster[1].endsWith("xxx"), roster[1]);
    assertEquals(roster.slice(2), [ALICE_LINE, ""]);
  },
  LINUX && await isHere("prlimit", "--version"),
);

runTest("who is acknowledged is on the roster though the server is killed", async () => {
  await using server = await startServer();
  const { port } = server;
  using client = await visit(port);
  await client.send(...new Array(20).fill(REQUEST));
  let acknowledged = 0;
  for (; acknowledged < 10; acknowledged++) assertEquals(await client.receive(), ACK);
  const { out } = await server.stop("SIGKILL");
  assert(out.length >= acknowledged);
});

runTest("no descriptors left: logged, waited out from 5 ms on, and served again", async () => {
  await using server = await startServer();
  const guard = setTimeout(() => server.child.kill("SIGKILL"), 20_000); // if it pauses longer
  const { port } = server;
  const { pid } = server.child;
  const limit = async (files: number) =>
    assert(await isHere("prlimit", "--pid", String(pid), `--nofile=${files}:4096`));
  await submit(ALICE, { port });
  for (let round = 1; round <= 2; round++) {
    await limit(3); // below the lowest number that is free
    const waiting = submit(ALICE, { port });
    waiting.catch(() => {}); // Where a line is wrong, that is what the test shall say.
    // What stands before it is of the round before, or a warning of Deno's.
    await server.stderr.until("ERROR No accept, next try in 5 ms: ");
    for (const pause of [10, 20, 40]) {
      includes(await server.stderr.until("No accept"), `next try in ${pause} ms: `);
    }
    await limit(1024);
    await waiting;
  }
  clearTimeout(guard);
}, await isHere("prlimit", "--version"));

/** Serves more lines than a pipe holds; nobody reads them for longer than a turn. */
async function serveUnread(starting: Promise<Process>): Promise<void> {
  await using server = await starting;
  const guard = setTimeout(() => server.child.kill("SIGKILL"), 20_000); // if lines are lost
  const { port } = server;
  using client = await visit(port);
  const count = 2000; // more lines than a pipe holds
  const sending = client.send(...new Array(count).fill(but({ student_name: "x".repeat(60) })));
  await slowness(1500); // Nobody reads, and the turn passes.
  for (let i = 0; i < count; i++) includes(await server.stdout.next(), "Connected: ");
  await sending;
  for (let i = 0; i < count; i++) assertEquals(await client.receive(), ACK);
  clearTimeout(guard);
}

runTest(
  "standard output that nobody reads for longer than a turn: all is answered",
  () => serveUnread(startServer("--turn-timeout", "0.5")),
);

// Some programs leave a pipe in this mode: a write to a full one fails, and does not wait.
const NON_BLOCKING =
  "import os, sys; os.set_blocking(1, False); os.execv(sys.argv[1], sys.argv[1:])";

runTest("a pipe where a write does not wait: all is printed and answered", () => {
  const server = [Deno.execPath(), ...mainArgs("--port", "0", "--turn-timeout", "0.5")];
  return serveUnread(Process.server(PY, ["-c", NON_BLOCKING, ...server]));
}, PYTHON);
