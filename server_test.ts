/**
 * Tests of the lab server, in this process: real sockets, and a server on a free port in each test.
 * The tests of its programs are in `tests/`.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { decode, encode } from "@std/msgpack";
import { createLogger, Fault, submit } from "./main.ts";
import type { Student } from "./main.ts";
import {
  ACK,
  ALICE,
  but,
  bytes,
  Client,
  everyType,
  frames,
  includes,
  isError,
  Lab,
  NET,
  netTest,
  oneByOne,
  PICKLED_FRAME,
  rawRequest,
  REQUEST,
  table,
  visitAndReset,
  WINDOWS,
} from "./tests/shared.ts";
import { type Run, withConnections, withListeners } from "./tests/replaced.ts";

// ------------------------------------------------------------------------------ the framing --

Deno.test("framing: every type and length, split at every place", async () => {
  const all = everyType();
  assertEquals(await frames([bytes(...all)]), [all, "end"]);
  for (const message of all) {
    assertEquals(await frames([message]), [[message], "end"]);
    assertEquals((await frames([message.subarray(0, -1)]))[1], message.length > 1 ? "more" : "end");
    if (message.length > 600) continue; // each split reads all headers again
    assertEquals(await frames(oneByOne(message)), [[message], "end"]);
    for (let at = 1; at < message.length; at++) {
      const pieces = [message.subarray(0, at), message.subarray(at)];
      assertEquals(await frames(pieces), [[message], "end"]);
    }
  }
});

Deno.test("framing: one byte over the limit is refused by the header alone", async () => {
  const limit = 100;
  const fits = [encode("x".repeat(98)), encode(new Uint8Array(98)), encode(new Array(97).fill(1))];
  for (const message of fits) {
    assertEquals(message.length, limit);
    assertEquals(await frames(oneByOne(message), limit), [[message], "end"]);
    assertEquals(await frames([message], limit - 1), [[], "too-long"]);
  }
  // deno-fmt-ignore
  const headers = [
    bytes(0xd9, 99), bytes(0xda, 0, 98), bytes(0xdb, 255, 255, 255, 255), // str
    bytes(0xc4, 99), bytes(0xc5, 1, 0), bytes(0xc6, 255, 255, 255, 255), // bin
    bytes(0xdc, 0, 98), bytes(0xdd, 255, 255, 255, 255), // array
    bytes(0xde, 0, 49), bytes(0xdf, 255, 255, 255, 255), // map
    bytes(0xdc, 0, 50, 0xdc, 0, 50), // 50 values in one of 50 values
    bytes(0x92, 0xd9, 94, new Uint8Array(94), 0xa3), // the second of two strings
  ];
  for (const header of headers) {
    assertEquals(await frames(oneByOne(header), limit), [[], "too-long"]);
    // Nothing that has come behind it changes what is wrong: one read or many, it is the same.
    assertEquals(await frames([bytes(header, 0xc1)], limit), [[], "too-long"]);
    assertEquals(await frames([header.subarray(0, -1)], limit), [[], "more"]);
  }
  // The length field alone is over the limit: no need to wait for it.
  assertEquals(await frames([bytes(0xc6)], 3), [[], "too-long"]);
});

// ---------------------------------------------------------------------- serving as it should --

netTest("a client is greeted, on the roster, acknowledged and counted", async () => {
  const visitors: [Student[], string][] = [];
  await using lab = new Lab({ onRequests: (...visitor) => void visitors.push(visitor) });
  let id: number | bigint = 0;
  await submit(ALICE, { port: lab.port, onGreeting: (clientid) => id = clientid });
  const { level, client } = await lab.log.until("closed");
  assertEquals([level, client], ["DEBUG", `127.0.0.1:${id}`]);
  assertEquals(visitors, [[[ALICE], `127.0.0.1:${id}`]]);
  assertEquals(lab.log.of("INFO", "WARN", "ERROR"), []);
  lab.stop();
  assertEquals(await lab.served, { clients: 1, requests: 1 });
});

netTest("3000 requests without waiting: answered in order, after a half-close, too", async () => {
  await using lab = new Lab();
  using client = await lab.connect();
  const sids = Array.from({ length: 3000 }, (_, sid) => sid);
  await client.send(...sids.map((sid) => encode({ ...ALICE, sid })));
  client.closeWrite();
  await client.greeting();
  assertEquals(await client.receiveAll(), new Array(3000).fill(ACK));
  assertEquals(lab.roster.map(({ sid }) => sid), sids);
  lab.stop();
  assertEquals(await lab.served, { clients: 1, requests: 3000 });
});

netTest("one client at a time, ten in the order in which they came", async () => {
  await using lab = new Lab();
  const first = await lab.visit();
  const others: Client[] = [];
  for (let sid = 0; sid < 10; sid++) {
    others.push(await lab.connect());
    await others[sid].send(encode({ ...ALICE, sid }));
  }
  // The second one's greeting comes behind the first one's last answer.
  const order: string[] = [];
  const second = others[0].greeting().then(() => order.push("second greeted"));
  await first.pass();
  order.push("first answered");
  first.close();
  await second;
  assertEquals(order, ["first answered", "second greeted"]);
  for (const client of others) {
    if (client !== others[0]) await client.greeting();
    assertEquals(await client.receive(), ACK);
    client.close();
  }
  assertEquals(lab.roster.slice(1).map(({ sid }) => sid), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

netTest(
  "who sends before reading: the first read has the greeting alone, thirty times",
  async () => {
    await using lab = new Lab();
    for (let i = 0; i < 30; i++) {
      const blocker = await lab.visit();
      using client = await lab.connect();
      await client.send(REQUEST);
      blocker.close(); // now the request is there before the accept
      assertEquals(await client.firstRead(), encode({ clientid: client.id }));
      await client.greeting();
      assertEquals(await client.receive(), ACK);
    }
  },
);

netTest("who sends before reading: its answer is sent 20 ms behind the greeting", async () => {
  const sentAt: number[] = [];
  const record = (conn: Deno.TcpConn) => {
    const { write } = conn;
    conn.write = (bytes) => {
      sentAt.push(performance.now());
      return write.call(conn, bytes);
    };
  };
  await withConnections(record, async () => {
    await using lab = new Lab();
    const blocker = await lab.visit();
    using client = await lab.connect();
    await client.send(REQUEST);
    blocker.close();
    await client.greeting();
    assertEquals(await client.receive(), ACK);
  });
  const [, greeted, acknowledged] = sentAt; // The first one is the blocker's greeting.
  const waited = acknowledged - greeted;
  assert(waited > 19, `${waited} ms`); // A timer may be early by less than 1 ms.
});

netTest("nobody else waits: who reads first has an answer in less than 20 ms", async () => {
  await using lab = new Lab();
  const times: number[] = [];
  for (let i = 0; i < 30; i++) {
    using client = await lab.visit();
    const start = performance.now();
    await client.pass();
    times.push(performance.now() - start);
  }
  assert(Math.min(...times) < 20, `${times}`); // the best one: a busy machine may delay any
});

netTest("a queue of two: it takes few, and those are served in their order", async () => {
  await using lab = new Lab({ backlog: 2 });
  const first = await lab.visit(); // from here the queue fills
  const arrived: Client[] = [];
  const knock = async () => {
    arrived.push(await Client.connect(lab.port, "127.0.0.1", 800)); // in vain for who has no place
  };
  await Promise.allSettled(Array.from({ length: 30 }, knock));
  assert(arrived.length < 10, `${arrived.length} are in a queue of 2`);
  first.close();
  for (const [sid, client] of arrived.slice(0, 2).entries()) {
    await client.greeting();
    await client.pass(encode({ ...ALICE, sid }));
    client.close();
  }
  assertEquals(lab.roster.map(({ sid }) => sid), [0, 1]);
  for (const client of arrived) client.close();
  await lab.check();
});

netTest("IPv6: ::1 is served and named in brackets", async () => {
  await using lab = new Lab({ hostname: "::1" });
  await lab.check();
  assert((await lab.log.until("closed")).client?.startsWith("[::1]:"));
}, NET && hasIPv6());

function hasIPv6(): boolean {
  try {
    Deno.listen({ hostname: "::1", port: 0 }).close();
    return true;
  } catch {
    return false;
  }
}

// deno-fmt-ignore
const SIDS: [name: string, wire: Uint8Array, sid: Student["sid"]][] = [
  ["positive fixint", bytes(5), 5],
  ["negative fixint", bytes(0xe0), -32],
  ["uint 8", bytes(0xcc, 255), 255],
  ["uint 16", bytes(0xcd, 0, 1), 1],
  ["uint 32", bytes(0xce, 255, 255, 255, 255), 2 ** 32 - 1],
  ["uint 64, small", bytes(0xcf, 0, 0, 0, 0, 0, 0, 0, 9), 9],
  ["uint 64, 2**53 - 1", bytes(0xcf, 0, 0x1f, 255, 255, 255, 255, 255, 255), 2 ** 53 - 1],
  ["uint 64, 2**53 + 1", bytes(0xcf, 0, 0x20, 0, 0, 0, 0, 0, 1), 2n ** 53n + 1n],
  ["uint 64, 2**63", bytes(0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0), 2n ** 63n],
  ["uint 64, the last", bytes(0xcf, new Array(8).fill(255)), 2n ** 64n - 1n],
  ["int 8", bytes(0xd0, 255), -1],
  ["int 16", bytes(0xd1, 0x80, 0), -32768],
  ["int 32", bytes(0xd2, 0x80, 0, 0, 0), -(2 ** 31)],
  ["int 64, one", bytes(0xd3, 0, 0, 0, 0, 0, 0, 0, 1), 1],
  ["int 64, -7", bytes(0xd3, new Array(7).fill(255), 0xf9), -7],
  ["int 64, -2**63", bytes(0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0), -(2n ** 63n)],
  ["a float that is an integer", encode(1.0 + 2 ** 40), 1 + 2 ** 40],
  ["digits", encode("007"), "007"],
  ["other text", encode(" x-1 "), " x-1 "],
];

table("student ids of every kind arrive as they are", SIDS, async (_, wire, sid) => {
  await using lab = new Lab();
  using client = await lab.visit();
  await client.pass(rawRequest({ sid: wire }));
  assertEquals(lab.roster, [{ ...ALICE, sid }]);
});

const NAMES: [name: string, text: string][] = [
  ["other scripts", "Zoë 李 Ωμέγα عمر"],
  ["an accent of its own (NFD)", "Jose\u0301"],
  ["an emoji", "🎓👩‍💻"],
  ["controls", "a\u0000b\n\x1b[2J\u2028\u202e"],
  ["__proto__", "__proto__"],
  ["a byte order mark in the middle", "Al\ufeffBob"],
  ["a zero-width non-joiner in a Persian name", "علی\u200cرضا"],
];

table("a name is never altered, in any field", NAMES, async (_, text) => {
  await using lab = new Lab();
  using client = await lab.visit();
  const student = { student_name: text, github_username: text, sid: text };
  await client.pass(encode(student));
  assertEquals(lab.roster, [student]);
});

// ------------------------------------------------------------------ when the client misbehaves --

/** A request of exactly so many bytes (more than 300), by a key of no meaning. */
function requestOf(length: number): Uint8Array<ArrayBuffer> {
  const overhead = encode({ ...ALICE, x: "x".repeat(300) }).length - 300;
  const request = encode({ ...ALICE, x: "x".repeat(length - overhead) });
  assertEquals(request.length, length);
  return request;
}

/** Why `decode` refuses these bytes, in its own words. */
function reasonFor(message: Uint8Array<ArrayBuffer>): string {
  try {
    return `decoded: ${Deno.inspect(decode(message))}`;
  } catch (error) {
    return (error as Error).message;
  }
}

const LATIN1 = bytes(0xa4, "Jos", 0xe9);
const NOT_A_MAP = "expected a dict with the keys student_name, github_username and sid";
// deno-fmt-ignore
const FAULTS: [name: string, stream: Uint8Array, event: string, ...words: string[]][] = [
  ["no name", encode({ github_username: "a", sid: 1 }), "refused", "student_name is missing", "the dict has: 'github_username', 'sid'"],
  ["two keys missing", encode({ sid: 1 }), "refused", "student_name is missing", "the dict has: 'sid'"],
  ["an empty map", encode({}), "refused", "student_name is missing", "the dict has: none"],
  ["a number as name", but({ student_name: 5 }), "refused", "student_name must be a string", "it is an integer"],
  ["bytes as name", but({ student_name: bytes("Al") }), "refused", "student_name must be a string", "it is bytes", "leave out .encode()"],
  ["bytes as id", but({ sid: bytes("7") }), "refused", "sid must be an integer or a string", "it is bytes", "leave out .encode()"],
  ["nil as user name", but({ github_username: null }), "refused", "github_username must be a string", "it is None"],
  ["a fraction as id", but({ sid: 1.5 }), "refused", "sid must be an integer or a string", "it is a float"],
  ["a float beyond all integers as id", but({ sid: 1e300 }), "refused", "sid must be", "it is a float"],
  ["an inexact float as id", but({ sid: 2 ** 53 }), "refused", "sid must be", "it is a float"],
  ["NaN as id", but({ sid: NaN }), "refused", "sid must be", "it is a float"],
  ["true as id", but({ sid: true }), "refused", "sid must be", "it is a bool"],
  ["a list as id", but({ sid: [1] }), "refused", "sid must be", "it is a list"],
  ["a map as id", but({ sid: {} }), "refused", "sid must be", "it is a dict"],
  ["an empty name", but({ student_name: "" }), "refused", 'student_name is empty: nothing can be seen in \'\''],
  ["a blank user name", but({ github_username: " \t\u00a0\n" }), "refused", "github_username is empty", "' \\u0009\\u00a0\\u000a'"],
  ["an empty id", but({ sid: "" }), "refused", "sid is empty"],
  ["a zero-width space as name", but({ student_name: "\u200b" }), "refused", "student_name is empty", "'\\u200b'"],
  ["other names that nobody sees", but({ github_username: "\u2060\u00ad\u3164\u2800" }), "refused", "github_username is empty", "'\\u2060\\u00ad\\u3164\\u2800'"],
  ["a bell as name", but({ student_name: "\u0007" }), "refused", "student_name is empty", "'\\u0007'"],
  ["an invisible tag as id", but({ sid: "\u{e0061}" }), "refused", "sid is empty", "'\\udb40\\udc61'"],
  ["a no-break space in a key", encode({ "student_name\u00a0": "A" }), "refused", "student_name is missing, the dict has: 'student_name\\u00a0'"],
  ["a space behind a key", encode({ "student_name ": "A" }), "refused", "the dict has: 'student_name '"],
  ["a zero-width space in a key", encode({ "student\u200b_name": "A" }), "refused", "the dict has: 'student\\u200b_name'"],
  ["a bell in a key", encode({ "a\u0007": 1 }), "refused", "the dict has: 'a\\u0007'"],
  ["a character that nobody has yet in a key", encode({ "a\u0378": 1 }), "refused", "the dict has: 'a\\u0378'"],
  ["an apostrophe in a key", encode({ "it's": 1 }), "refused", 'the dict has: "it\'s"'],
  ["separators of lines and paragraphs in a key", encode({ "a\u2028\u2029": 1 }), "refused", "the dict has: 'a\\u2028\\u2029'"],
  ["latin-1 as name", rawRequest({ student_name: LATIN1 }), "refused", "UTF-8", '4a 6f 73 e9 "Jos."'],
  ["latin-1 as user name", rawRequest({ github_username: LATIN1 }), "refused", "UTF-8"],
  ["latin-1 as id", rawRequest({ sid: LATIN1 }), "refused", "UTF-8"],
  ["a name of one letter in latin-1", rawRequest({ student_name: bytes(0xa1, 0xe9) }), "refused", "UTF-8", 'e9 "."'],
  ["half a character at the end", rawRequest({ student_name: bytes(0xa2, "J", 0xc3) }), "refused", "UTF-8"],
  ["an integer", bytes(2), "not-a-map", NOT_A_MAP, "a number, a length or plain text came", "packed once and alone", '(02 ".")'],
  ["our own acknowledgement", bytes(1), "not-a-map", NOT_A_MAP, "this is the server's acknowledgement, which must not be sent back", '(01 ".")'],
  ["a string", encode("hello"), "not-a-map", NOT_A_MAP, "a string came", 'a5 68 65 6c 6c 6f ".hello"'],
  ["a long string", encode("x".repeat(40)), "not-a-map", "a string came", "d9 28 78 78 78 78 78 78 78 78 78 78 78 78 78 78 ...", '".(xxxxxxxxxxxxxx"'],
  ["a list", encode([ALICE]), "not-a-map", NOT_A_MAP, "a list came"],
  ["nil", encode(null), "not-a-map", NOT_A_MAP, "None came"],
  ["a bool", encode(false), "not-a-map", NOT_A_MAP, "a bool came"],
  ["text that is a number", encode("1"), "not-a-map", NOT_A_MAP, "a string came", "packed once and alone"],
  ["a bool that counts as one", encode(true), "not-a-map", NOT_A_MAP, "a bool came", "packed once and alone"],
  ["a float", encode(0.5), "not-a-map", NOT_A_MAP, "a float came"],
  ["a list whose value looks like JSON", bytes(0x91, 0x7b), "not-a-map", NOT_A_MAP, "a list came", "packed once and alone", '(91 7b ".{")'],
  ["a length that looks like JSON", bytes(0x5b, 0, 0, 0), "not-a-map", NOT_A_MAP, "a number, a length", '(5b "[")'],
  ["a number whose bytes look like JSON", bytes(0xcd, 0x7b, 0x7b), "not-a-map", NOT_A_MAP, "a number", "packed once and alone"],
  ["packed twice", encode(REQUEST), "not-a-map", NOT_A_MAP, "bytes came", "packed once and alone"],
  ["0xc1", bytes(0xc1), "malformed", reasonFor(bytes(0xc1)), '(c1 ".")'],
  ["an extension", bytes(0x81, 0xa3, "sid", 0xd4, 1, 2), "malformed", '(81 a3 73 69 64 d4 01 02 "..sid...")'],
  ["a timestamp", bytes(0x81, 0xa3, "sid", 0xd6, 0xff, 0, 0, 0, 0), "malformed"],
  ["a long string's header", bytes(0xdb, 255, 255, 255, 255), "too-long", "limit of 4096 bytes"],
  ["a long list with 0xc1 in it", bytes(0xdd, 255, 255, 255, 255, 0xc1), "too-long", "limit of 4096 bytes"],
  ["a request of 4097 bytes", requestOf(4097), "too-long", "limit of 4096 bytes"],
  ["a line of 4096 bytes without its end", but({ student_name: "x".repeat(4033) + "é" }), "too-long", "the line would be over the limit of 4096 bytes"],
  ["a line of more than 4096 bytes", but({ student_name: "x" + "\x07".repeat(680) }), "too-long", "the line would be over the limit of 4096 bytes"],
];

table("faults, one piece or many", FAULTS, async (_, stream, event, ...words) => {
  await using lab = new Lab();
  const errors = [];
  for (const how of ["alone", "whole", "byte by byte"]) {
    using client = await lab.visit();
    const before = how === "alone" ? [] : [REQUEST];
    // What was sent behind the fault may meet a closed door.
    const sending = client[how === "byte by byte" ? "trickle" : "send"](...before, stream);
    const [answers] = await Promise.all([client.receiveAll(), sending.catch(() => {})]);
    const error = answers.pop();
    assert(isError(error), `${how}: ${Deno.inspect(error)}`);
    assertEquals(answers, before.map(() => ACK), how);
    assertEquals(await lab.warning(client, event), error.error, how);
    includes(error.error, ...words);
    errors.push(error.error);
    client.close();
    await lab.check();
    lab.log.entries.length = 0; // so that the next one's record is waited for
  }
  assertEquals(errors, new Array(3).fill(errors[0])); // in one piece or many, the same words
});

netTest("keys of any length: the error stays short enough for one recv", async () => {
  await using lab = new Lab();
  using client = await lab.visit();
  const keys = ["a", "b", "c"].map((letter) => [letter.repeat(1000), 1]);
  await client.send(encode(Object.fromEntries(keys)));
  const [error] = await client.receiveAll();
  assert(isError(error) && error.error.length === 400);
  includes(error.error, "the dict has: 'aaa");
});

netTest("lists in each other, thousands deep: the same error whatever the log shows", async () => {
  const deep = new Uint8Array(3501).fill(0x91).with(3500, 0xc0);
  const errors: unknown[] = [];
  for (const level of ["WARN", "DEBUG"] as const) {
    await using lab = new Lab({}, level);
    using client = await lab.visit();
    await client.send(deep);
    errors.push(...await client.receiveAll());
    assertEquals(lab.log.of("ERROR"), []);
  }
  assertEquals(errors.length, 2);
  assertEquals(errors[0], errors[1]);
});

netTest("a request of the limit's length is taken; a limit of one's own", async () => {
  await using lab = new Lab();
  using client = await lab.visit();
  await client.pass(requestOf(4096));
  await client.pass(but({ student_name: "x".repeat(4034) })); // Its line has 4096 bytes with the end.
  await using small = new Lab({ maxMessageBytes: REQUEST.length });
  using other = await small.visit();
  await other.pass();
  await other.send(but({ student_name: "Alice Brown!" }));
  includes(Deno.inspect(await other.receive()), `limit of ${REQUEST.length} bytes`);
});

const PICKLE: string[] = ["this looks like a Python pickle", "use msgpack"];
// deno-fmt-ignore
const STRANGERS: [name: string, stream: Uint8Array, ...words: string[]][] = [
  ["a pickle, protocol 2", bytes(0x80, 2, PICKLED_FRAME.subarray(9)), ...PICKLE],
  ["a pickle, protocol 3", bytes(0x80, 3, PICKLED_FRAME.subarray(9)), ...PICKLE],
  ["a pickle, protocol 4", bytes(0x80, 4, PICKLED_FRAME), ...PICKLE],
  ["a pickle, protocol 5", bytes(0x80, 5, PICKLED_FRAME), ...PICKLE],
  ["HTTP, for all", bytes("OPTIONS * HTTP/1.1\r\n\r\n"), "HTTP"],
  ["JSON", bytes(JSON.stringify(ALICE)), "JSON text", "json.dumps()"],
  ["indented JSON", bytes(JSON.stringify(ALICE, null, 4)), "JSON text"],
  ["a JSON text in quotes", bytes('"Alice"'), "JSON text"],
  ["JSON behind a space", bytes(' {"a": 1}'), "JSON text"],
  ["a Python list as text", bytes("['Alice', 7]"), "text of a Python dict"],
  ["a JSON list", bytes(JSON.stringify([ALICE])), "JSON text"],
  ["a Python dict as text", bytes("{'student_name': 'Alice', 'sid': 7}"), "text of a Python dict", "str()"],
  ["an indented Python dict as text", bytes("  { 'sid': 7 }"), "text of a Python dict"],
  ["HTTP", bytes("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), "HTTP", "msgpack.packb(d)"],
  ["HTTP, for changing", bytes("PATCH /students/1 HTTP/1.1\r\n\r\n"), "HTTP"],
  ["HTTP, to a proxy", bytes("CONNECT localhost:443 HTTP/1.1\r\n\r\n"), "HTTP"],
  ["HTTP, to a proxy, for a name with dots", bytes("CONNECT www.example.com:443 HTTP/1.1\r\n\r\n"), "HTTP"],
];

table("strangers, by their first read", STRANGERS, async (_, stream, ...words) => {
  await using lab = new Lab();
  using client = await lab.visit();
  await client.send(stream);
  const error = await client.receive();
  assert(isError(error));
  includes(error.error, ...words);
  assertEquals(await lab.warning(client, "stranger"), error.error);
  assertEquals(await client.receive(), undefined);
  client.close();
  await lab.check();
});

netTest("a stranger is looked for in the first read only", async () => {
  await using lab = new Lab();
  using client = await lab.visit();
  await client.pass();
  await client.send(bytes(JSON.stringify(ALICE)));
  assert(isError(await client.receive()));
  includes(await lab.warning(client, "not-a-map"), '7b "{"');
});

netTest("a server whose signal is aborted already finishes at once", async () => {
  await using lab = new Lab({ signal: AbortSignal.abort() });
  assertEquals(await lab.served, { clients: 0, requests: 0 });
  await using next = new Lab({ port: lab.port }); // The port is free again.
  await next.check();
});

netTest("options that are undefined count as left out", async () => {
  await using lab = new Lab({ maxMessageBytes: undefined, backlog: undefined });
  await lab.check();
});

netTest("a roster that fails with a fault of ours is a fault of the server", async () => {
  const onRequests = () => {
    throw new Fault("constructor", "a fault that no client can cause"); // each object has this name
  };
  await using lab = new Lab({ onRequests });
  using client = await lab.visit();
  await client.send(REQUEST);
  assertEquals(await client.receiveAll(), [{ error: "the server has failed, not you" }]);
  const { level, message } = await lab.log.until("bug");
  assertEquals(level, "ERROR");
  includes(message, "a fault that no client can cause");
});

// How a client goes: what it does once it is greeted; the record; whether the answers are read.
// deno-fmt-ignore
const ENDS: [name: string, go: (client: Client) => unknown, level: string, event: string, words: string, answers?: unknown[]][] = [
  ["leaves without a request", () => {}, "INFO", "left", "unpickling stack underflow"],
  ["half-closes without a request", (client) => client.closeWrite(), "INFO", "left", "left without sending", []],
  ["leaves after its answer", (client) => client.pass(), "DEBUG", "closed", "closed by the client"],
  ["half-closes after its answer", async (client) => (await client.pass(), client.closeWrite()), "DEBUG", "closed", "", []],
  ["leaves in the middle", async (client) => (await client.pass(), await client.send(REQUEST.subarray(0, 10))), "WARN", "truncated", "the client closed after 10 bytes of a message"],
  ["half-closes after a byte", async (client) => (await client.send(0x83), client.closeWrite()), "WARN", "truncated", "closed after 1 byte", [{ error: "the client closed after 1 byte of a message" }]],
];

table("ends", ENDS, async (_, go, level, event, words, ...[answers]) => {
  await using lab = new Lab();
  using client = await lab.visit();
  await go(client);
  if (answers) assertEquals(await client.receiveAll(), answers);
  else client.close();
  const entry = await lab.log.until(event);
  assertEquals([entry.level, entry.client], [level, client.name]);
  includes(entry.message, `${client.name}: `, words);
  assertEquals(lab.log.of("INFO", "WARN", "ERROR"), level === "DEBUG" ? [] : [entry]);
  await lab.check();
});

/** Runs this with servers whose first accepts fail, so many times with this error. */
function withFailedAccepts(error: Error, times: number, run: Run): Promise<void> {
  let left = times;
  return withListeners((listener) => {
    const accept = listener.accept.bind(listener);
    listener.accept = () => left-- > 0 ? Promise.reject(error) : accept();
  }, run);
}

table("a failed accept of one client costs nothing", [
  ["reset, on Linux", "ECONNRESET"],
  ["aborted, on Windows and BSD", "ECONNABORTED"],
  ["not connected any more", "ENOTCONN"],
  ["macOS says EINVAL, and Deno names that TypeError", "EINVAL"],
], async (_, code) => {
  const error = Object.assign(new TypeError(`as the system says (${code})`), { code });
  await withFailedAccepts(error, 10, async () => {
    await using lab = new Lab();
    await lab.check();
    assertEquals((await lab.log.until("gone", 10)).level, "DEBUG");
    assertEquals(lab.log.of("WARN", "ERROR"), []);
  });
});

netTest("a failed accept of the system waits, longer each time up to a second", async () => {
  const error = new Error("Too many open files (os error 24)");
  const pauses = [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000];
  await withFailedAccepts(Object.assign(error, { code: "EMFILE" }), pauses.length, async () => {
    const start = performance.now();
    await using lab = new Lab();
    await lab.check();
    const waited = performance.now() - start;
    const sum = pauses.reduce((total, pause) => total + pause);
    assert(waited > sum - pauses.length, `${waited} ms`); // A timer may be early by less than 1 ms.
    const said = lab.log.of("ERROR").map(({ message }) => message);
    const text = (pause: number) => `No accept, next try in ${pause} ms: ${error.message}`;
    assertEquals(said, pauses.map(text));
  });
});

/** A reset arrives as an error. Wine, which runs Windows' programs, makes an end of stream of it. */
const RESETS_ARRIVE = !WINDOWS || NET && await resetArrives();

async function resetArrives(): Promise<boolean> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const client = await Client.connect(listener.addr.port);
  using conn = await listener.accept();
  const reading = conn.read(new Uint8Array(1));
  await client.reset();
  return await reading.then(() => false, () => true);
}

netTest("resets: in mid-work WARN, with nothing sent INFO", async () => {
  await using lab = new Lab();
  const busy = await visitAndReset(lab.port, REQUEST);
  const { level, message, client } = await lab.log.until("reset");
  assertEquals([level, client], ["WARN", busy]);
  includes(message, `${busy}: the client broke the connection: it crashed, or closed`);
  includes(message, "(ConnectionReset: "); // the system's word
  const silent = await visitAndReset(lab.port);
  assertEquals((await lab.log.until("left")).client, silent);
  const own = lab.log.entries.filter((entry) => entry.client === busy);
  assertEquals(own.slice(-2).map(({ event }) => event), ["reset", "wire"]); // closed, nothing sent
  assertEquals(lab.log.of("WARN", "ERROR").length, 1);
}, RESETS_ARRIVE);

netTest(
  "fifty resets at the greeting: no warning, and no rejection that nobody handles",
  async () => {
    await using lab = new Lab();
    for (let i = 1; i <= 50; i++) {
      const client = await lab.connect();
      for (let turns = 0; turns < i % 10; turns++) await undefined; // before, at or after the accept
      await client.reset();
      await lab.check();
    }
    assertEquals(lab.log.of("WARN", "ERROR"), []);
  },
  RESETS_ARRIVE,
);

netTest("resets in the queue: DEBUG, and the next client is served", async () => {
  await using lab = new Lab();
  const first = await lab.visit();
  await first.pass();
  for (let i = 0; i < 8; i++) {
    const client = await lab.connect();
    await client.reset();
  }
  using next = await lab.connect();
  first.close();
  await next.greeting();
  // Windows may hand such a client to the server all the same: then it has left.
  const quiet = WINDOWS ? ["DEBUG gone", "INFO left"] : ["DEBUG gone"];
  const seen = lab.log.entries.map(({ level, event }) => `${level} ${event}`);
  assertEquals(seen.filter((each) => quiet.includes(each)).length, 8, seen.join("\n"));
  assertEquals(lab.log.of("WARN", "ERROR"), []);
});

Deno.test({
  name: "each end of a visit closes the connection",
  ignore: !NET,
  sanitizeResources: true, // It fails if a connection stays open.
  fn: async () => {
    await using lab = new Lab();
    for (const last of [[], [REQUEST], [REQUEST.subarray(0, 9)], [0xc1]]) {
      using client = await lab.visit();
      await client.send(...last);
      client.closeWrite();
      await client.receiveAll();
    }
  },
});

netTest("lingering close: with 16 MB under way the error is readable", async () => {
  await using lab = new Lab();
  using client = await lab.visit();
  await client.send(0xc1);
  await lab.log.until("malformed");
  // More than the kernel holds. A reset would fail these, and where not Linux take the error away.
  for (let i = 0; i < 256; i++) await client.send(new Uint8Array(65536));
  assert(isError(await client.receive()));
  assertEquals(await client.receive(), undefined);
  client.close();
  await lab.check();
  // The server has read all of it: it did not close before the client did.
  const said = lab.log.entries.map(({ message }) => message);
  assert(said.includes(`${client.name}: recv brought the end: the client sends no more`));
});

netTest(
  "lingering close: the end of the stream comes at once, before the server closes",
  async () => {
    await using lab = new Lab();
    using client = await lab.visit();
    await client.send(0xc1);
    assert(isError((await client.receiveAll())[0]));
    const said = lab.log.entries.map(({ message }) => message);
    assert(!said.includes(`${client.name}: closed by the server`), said.join("\n"));
  },
);

netTest("lingering close: who never stops sending is dropped after a second", async () => {
  await using lab = new Lab();
  using conn = await Deno.connect({ port: lab.port });
  using next = await lab.connect();
  const start = performance.now();
  const flooding = (async () => {
    for (const flood = new Uint8Array(65536).fill(0xc1);;) await conn.write(flood);
  })().catch(() => {}); // The connection breaks in the end.
  await next.greeting();
  const waited = performance.now() - start;
  assert(waited >= 1000 && waited < 2500, `${waited} ms`);
  await flooding;
  assertEquals(lab.log.of("WARN", "ERROR").map(({ event }) => event), ["malformed"]);
});

netTest("a roster that fails: ERROR with its place, and the client is told", async () => {
  const lines: string[] = [];
  const onRequests = (students: Student[]) => {
    if (students.some(({ student_name }) => student_name === "Eve")) {
      throw new TypeError("no\nink\x1b[2J");
    }
    lines.push(...students.map(({ student_name }) => student_name));
  };
  await using lab = new Lab({ onRequests });
  using client = await lab.visit();
  await client.send(REQUEST);
  assertEquals(await client.receive(), ACK);
  await client.send(but({ student_name: "Eve" }));
  assertEquals(await client.receiveAll(), [{ error: "the server has failed, not you" }]);
  const error = await lab.log.until("bug");
  assertEquals([error.level, error.client], ["ERROR", client.name]);
  includes(error.message, "TypeError: no", "ink\\u001b[2J", "server_test.ts");
  assert(!/\n|\\u000a/.test(error.message), error.message); // in one line that can be read
  client.close();
  await submit(ALICE, { port: lab.port });
  assertEquals(lines, ["Alice Brown", "Alice Brown"]);
});

netTest("onListen that fails leaves the port free", async () => {
  let port = 0;
  const onListen = (addr: Deno.NetAddr) => {
    port = addr.port;
    throw new TypeError("no address book");
  };
  const lab = await Promise.try(() => new Lab({ onListen })).catch(({ message }) => message);
  assertEquals(lab, "no address book");
  await using next = new Lab({ port });
  await next.check();
});

netTest("a logger that fails cannot end the server, nor can a full disk behind it", async () => {
  const logger = createLogger("DEBUG");
  const seen: string[] = [];
  const { writeSync } = Deno.stderr;
  Deno.stderr.writeSync = (line) => {
    seen.push(new TextDecoder().decode(line).trim());
    throw new Error("the disk is full");
  };
  try {
    await using lab = new Lab({ logger });
    for (let i = 0; i < 3; i++) {
      replaceMethods(logger, () => {
        throw new Error("no log today");
      });
      const client = await lab.connect();
      await client.send(0xc1);
      await client.receiveAll().catch(() => {});
      client.close();
      replaceMethods(logger, () => {});
      await lab.check();
    }
  } finally {
    Deno.stderr.writeSync = writeSync;
  }
  assert(seen.length > 0);
  const own = "ERROR a fault of the server: Error: no log today ";
  assertEquals(seen.filter((line) => !line.startsWith(own)), []);
});

function replaceMethods(logger: ReturnType<typeof createLogger>, method: () => unknown): void {
  for (const level of ["debug", "info", "warn", "error"] as const) {
    logger[level] = method as typeof logger.debug;
  }
}
