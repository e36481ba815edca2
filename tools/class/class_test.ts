/**
 * Tests of the class and of the ladder: the real tools visit real servers over real sockets, and
 * what they print and draw is what happened.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { encode } from "@std/msgpack";
import { once } from "node:events";
import { connect } from "node:net";
import { fileURLToPath } from "node:url";
import { SaxesParser } from "saxes";
import { median, neverServed, queueOverTime, stretches } from "./numbers.ts";
import { parseOptions, type Plan, UsageError } from "./options.ts";
import { page } from "./page.ts";
import { type Run, runClass } from "./run.ts";
import { type Kind, newVisit, type Visit } from "./visit.ts";
import { Client } from "../shared/client.ts";
import { ROOT, TOOLS_FLAGS } from "../shared/config.ts";
import { LabServer } from "../shared/lab_server.ts";
import { draw } from "../ladder/main.ts";
import { drawPieces, drawTogether, makePictures } from "../dev/pictures.ts";

const PYTHON = "/usr/bin/python3";
const HOST = "127.0.0.1";
const NEVER = new AbortController().signal;

// ---------------------------------------------------------------------------- the helpers --

/** How a tool of the command line has ended. */
interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function assertMatch(text: string, pattern: RegExp): void {
  assert(pattern.test(text), `${pattern} is not in: ${text}`);
}

function command(tool: string, args: string[]): Deno.Command {
  const allowed = ["net", "run", "read", "write"].map((name) => `--allow-${name}`);
  return new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--quiet",
      ...TOOLS_FLAGS,
      "--no-prompt",
      ...allowed,
      tool,
      ...args,
    ],
    cwd: ROOT,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  });
}

/** Whether this program is there. */
async function canRun(program: string): Promise<boolean> {
  try {
    const { success } = await new Deno.Command(program, { args: ["--version"] }).output();
    return success;
  } catch {
    return false;
  }
}

/** Runs a tool to its end, with this on its standard input. */
async function run(tool: string, args: string[], input = ""): Promise<Outcome> {
  const child = command(tool, args).spawn();
  const writer = child.stdin.getWriter();
  writer.write(new TextEncoder().encode(input)).catch(() => {}); // it may have ended already
  writer.close().catch(() => {});
  return textOf(await child.output());
}

function textOf({ code, stdout, stderr }: Deno.CommandOutput): Outcome {
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** Runs the class with its files in a folder of their own; also returns what it has drawn. */
async function runToFiles(args: string[]): Promise<Outcome & { svg: string; html: string }> {
  const folder = await Deno.makeTempDir();
  try {
    const outcome = await run("tools/class/main.ts", ["--out", `${folder}/class`, ...args]);
    const read = (name: string) => Deno.readTextFile(`${folder}/${name}`).catch(() => "");
    return { ...outcome, svg: await read("class.svg"), html: await read("class.html") };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** A text of a picture, and where it stands in its group. */
interface Text {
  readonly text: string;
  readonly y: number;
  readonly fontSize: number;
}

/** The texts of an SVG document. Throws if it is not well-formed. */
function textsOf(svg: string): Text[] {
  const texts: Text[] = [];
  const parser = new SaxesParser();
  let current: { y: number; fontSize: number } | undefined;
  parser.on("error", (error) => {
    throw error;
  });
  parser.on("opentag", ({ name, attributes }) => {
    const y = `${attributes.transform}`.match(/,(-?[\d.]+)\)/)?.[1];
    if (name === "text") {
      current = { y: Number(y), fontSize: parseFloat(`${attributes["font-size"]}`) };
    }
  });
  parser.on("text", (text) => {
    if (current) texts.push({ text, ...current });
  });
  parser.on("closetag", ({ name }) => {
    if (name === "text") current = undefined;
  });
  parser.write(svg).close();
  return texts;
}

/** The labels of the rows of a picture: a number, and maybe the kind of the client. */
function rowLabels(svg: string, clients: number): Text[] {
  const isLabel = ({ text }: Text) => /^\d+( [a-z]+)?$/.test(text);
  const first = textsOf(svg).findIndex(({ text }) => /^1( [a-z]+)?$/.test(text));
  return textsOf(svg).slice(first, first + clients).filter(isLabel);
}

/** A server that does this with each of its clients, all at once, for as long as the test lasts. */
async function withServer(
  serve: (conn: Deno.TcpConn) => Promise<void>,
  test: (port: number) => Promise<void>,
): Promise<void> {
  const listener = Deno.listen({ hostname: HOST, port: 0 });
  const conns: Deno.TcpConn[] = [];
  const accepting = (async () => {
    for await (const conn of listener) {
      conns.push(conn);
      serve(conn).catch(() => {});
    }
  })();
  try {
    await test((listener.addr as Deno.NetAddr).port);
  } finally {
    listener.close();
    await accepting.catch(() => {});
    for (const conn of conns) conn[Symbol.dispose]();
  }
}

function planOf(clients: number, more: Partial<Plan> = {}): Plan {
  const kinds = Array<Kind>(clients).fill("good");
  return { kinds, arriveMs: 0, limitMs: 20_000, ...more };
}

/** A raw socket's waiting time for the first byte, in ms, from the call of connect. */
async function rawWait(port: number): Promise<number> {
  const startedAt = performance.now();
  const socket = connect(port, HOST);
  await once(socket, "data");
  const ms = performance.now() - startedAt;
  socket.destroy();
  return ms;
}

const permissions = ["net", "run", "read", "write"] as const;
const states = await Promise.all(permissions.map((name) => Deno.permissions.query({ name })));
const isAllowed = states.every(({ state }) => state === "granted");

// Why a test is ignored. Each constant is one reason.
const HAS_PYTHON = isAllowed && await canRun(PYTHON); // Windows has none at this place.
/** A queue drops who comes when it is full. On macOS and Windows it refuses. */
const DROPPING_QUEUE = Deno.build.os === "linux";
/** On Windows each signal that a program sends ends the other one at once. */
const UNIX_SIGNALS = Deno.build.os !== "windows";

const toolTest = (name: string, fn: () => Promise<void>, isPossible = true) =>
  Deno.test({ name, ignore: !isAllowed || !isPossible, fn });

// ---------------------------------------------------------------------------- the numbers --

/** A run of one second with three clients: served, greeted only, and never connected. */
function sampleRun(): Run {
  const visits: Visit[] = [
    {
      ...newVisit(1, "good"),
      arrivedAt: 0,
      connectedAt: 1,
      greetedAt: 2,
      requestedAt: 3,
      acknowledgedAt: 4,
      endedAt: 500,
      end: "server closed",
    },
    { ...newVisit(2, "good"), arrivedAt: 10, connectedAt: 11, greetedAt: 501, end: "open" },
    { ...newVisit(3, "silent"), arrivedAt: 20, end: "never connected" },
  ];
  return { title: "main.ts", plan: planOf(3), visits, ms: 1000 };
}

Deno.test("a visit is made of connecting, waiting, served and lingering", () => {
  const run = sampleRun();
  assertEquals(stretches(run.visits[0], run), [
    { phase: "connecting", from: 0, to: 1 },
    { phase: "waiting", from: 1, to: 2 },
    { phase: "served", from: 2, to: 4 },
    { phase: "lingering", from: 4, to: 500 },
  ]);
  assertEquals(stretches(run.visits[2], run), [{ phase: "connecting", from: 20, to: 1000 }]);
});

Deno.test("the queue is who is connected and not greeted", () => {
  assertEquals(queueOverTime(sampleRun()), [
    { time: 0, length: 0 },
    { time: 1, length: 1 },
    { time: 2, length: 0 },
    { time: 11, length: 1 },
    { time: 501, length: 0 },
    { time: 1000, length: 0 },
  ]);
});

Deno.test("a good client without an acknowledgement was never served, a bad one does not count", () => {
  assertEquals(neverServed(sampleRun()).map(({ number }) => number), [2]);
});

Deno.test("the median is the one in the middle, or the mean of two", () => {
  assertEquals(median([1, 2, 9]), 2);
  assertEquals(median([1, 2, 4, 9]), 3);
  assertEquals(median([7]), 7);
});

// ----------------------------------------------------------------------- the command line --

Deno.test("bad clients are spread among the good ones", () => {
  const { kinds } = parseOptions(["--clients", "8", "--kinds", "silent:2,reset"]).plan;
  assertEquals(kinds.map((kind) => kind[0]).join(""), "gsggsgrg");
});

Deno.test("the limit of a run grows with what the clients are to do", () => {
  const seconds = (...args: string[]) => parseOptions(args).plan.limitMs / 1000;
  assertEquals(seconds(), 10 + 1 + 30 * 3);
  assertEquals(
    seconds("--clients", "4", "--kinds", "silent", "--arrive", "5"),
    10 + 5 + 3 * 3 + 13,
  );
  assertEquals(seconds("--clients", "4", "--stay", "7"), 10 + 1 + 4 * 10);
  assertEquals(seconds("--limit", "2.5"), 2.5);
  assertEquals(seconds("--clients", "1000", "--stay", "3600"), 86400);
});

Deno.test("what follows -- is for our server, and what follows --compare is the second server", () => {
  const options = (...args: string[]) => parseOptions(args).targets;
  assertEquals(options(), [{ serverOptions: [] }]);
  assertEquals(options("--port", "12001"), [{ host: HOST, port: 12001 }]);
  assertEquals(options("--", "--backlog", "1"), [{ serverOptions: ["--backlog", "1"] }]);
  assertEquals(options("--", "--backlog", "1", "--compare", "--backlog", "2"), [
    { serverOptions: ["--backlog", "1"] },
    { serverOptions: ["--backlog", "2"] },
  ]);
  assertEquals(options("--compare", "--port=12001"), [
    { serverOptions: [] },
    { host: HOST, port: 12001 },
  ]);
});

/** What is said about a wrong command line. */
function usageErrorOf(args: string[]): string {
  try {
    parseOptions(args);
  } catch (error) {
    assert(error instanceof UsageError);
    return error.message;
  }
  return "nothing was wrong";
}

Deno.test("a wrong option is named, with what would be right", () => {
  const wrong: [args: string[], says: RegExp][] = [
    [["--client", "3"], /Unknown option --client: there are --host, /],
    [["extra"], /Unknown option extra/],
    [["--clients"], /--clients needs a value/],
    [["--clients", "0"], /--clients must be a whole number from 1 to 1000, not 0/],
    [["--clients", "1.5"], /whole number/],
    [["--stay", "-1"], /Unknown option -1|--stay/],
    [["--stay", "soon"], /--stay must be a number of seconds/],
    [["--port", "70000"], /--port must be a whole number from 1 to 65535/],
    [["--kinds", "rude"], /--kinds knows good, early/],
    [["--clients", "2", "--kinds", "silent:3"], /--kinds has 3 clients, but --clients is 2/],
    [["--port", "12001", "--", "--backlog", "1"], /leave out --host and --port/],
    [["--compare", "--port", "12001", "--backlog", "1"], /Unknown option --backlog/],
  ];
  for (const [args, says] of wrong) {
    assertMatch(usageErrorOf(args), says);
  }
});

toolTest(
  "the exit status is 2 for a wrong option, of our server, too, and 1 without a server",
  async () => {
    const listener = Deno.listen({ hostname: HOST, port: 0 });
    const { port } = listener.addr as Deno.NetAddr;
    listener.close(); // now nobody listens there
    const cases: [args: string[], code: number, says: RegExp][] = [
      [["--kinds", "rude"], 2, /^--kinds knows .*\n$/],
      [["--out", "no/such/folder/class"], 2, /^--out: there is no folder no\/such\/folder\n$/],
      [["--", "--backlogg", "1"], 2, /^The server did not start: Unknown option --backlogg: .*\n$/],
      [
        ["--clients", "2", "--arrive", "0", "--port", `${port}`],
        1,
        /No server at 127\.0\.0\.1\/\d+/,
      ],
    ];
    await Promise.all(cases.map(async ([args, code, says]) => {
      const outcome = await run("tools/class/main.ts", args);
      assertMatch(outcome.stderr, says);
      assertEquals(outcome.code, code);
      assertEquals(outcome.stdout, "");
    }));
    const help = await run("tools/class/main.ts", ["--help"]);
    assertEquals([help.code, help.stderr], [0, ""]);
    assertMatch(help.stdout, /--compare/);
  },
);

// ------------------------------------------------------------------------------ the class --

toolTest("a waiting time is what a raw socket measures beside the class", async () => {
  await using server = await LabServer.start(["--request-timeout", "0.7"]);
  const { port } = server;
  const silent = await Client.connect(HOST, port, 1000); // keeps the server from the others
  await silent.receive(1000);
  const raw = rawWait(port);
  const run = await runClass(planOf(10, { stayMs: 0 }), { title: "", host: HOST, port }, NEVER);
  const expected = await raw;
  silent.close();
  assert(expected > 500, `the raw socket waited ${expected} ms`);
  for (const { number, arrivedAt, greetedAt = NaN } of run.visits) {
    const difference = greetedAt - arrivedAt - expected;
    assert(Math.abs(difference) < 100, `client ${number} is ${difference} ms off`);
  }
});

toolTest("the phases are those of the server: greeting, acknowledgement and close", async () => {
  const late = [300, 200, 400]; // ms before the greeting, the acknowledgement and the close
  await withServer(async (conn) => {
    const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
    await pause(late[0]);
    await conn.write(encode({ clientid: 1 }));
    await conn.read(new Uint8Array(1000));
    await pause(late[1]);
    await conn.write(encode(1));
    await pause(late[2]);
    conn.close();
  }, async (port) => {
    const run = await runClass(planOf(30), { title: "", host: HOST, port }, NEVER);
    for (const visit of run.visits) {
      const { arrivedAt, greetedAt = NaN, acknowledgedAt = NaN, endedAt = NaN } = visit;
      const seen = [greetedAt - arrivedAt, acknowledgedAt - greetedAt, endedAt - acknowledgedAt];
      seen.forEach((ms, index) => {
        assert(Math.abs(ms - late[index]) < 100, `${ms} ms instead of ${late[index]} ms`);
      });
      assertEquals(visit.end, "server closed");
    }
  });
});

/** Wine, which runs Windows' programs, makes an end of stream of a reset. */
const END_OF_RESET = Deno.build.os === "windows" ? ["closed"] : [];

/** What the server's log may say about each kind of client: an event of its own. */
const EVENTS: Record<Kind, string[]> = {
  good: ["idle"],
  early: ["idle"],
  half: ["timeout"],
  garbage: ["malformed"],
  silent: ["timeout"],
  reset: ["reset", "left", ...END_OF_RESET], // left, if the reset is faster than the server's recv
};

toolTest("each kind of client does to the server what its name says", async () => {
  const limits = ["--request-timeout", "0.4", "--keep-alive-timeout", "0.2"];
  const server = await LabServer.start(["--log-format", "json", "--log-level", "DEBUG", ...limits]);
  const kinds = Object.keys(EVENTS) as Kind[];
  const address = { title: "", host: HOST, port: server.port };
  const { visits } = await runClass(planOf(0, { kinds }), address, NEVER);
  const recordOf = ({ port }: Visit) =>
    server.log.map((line) => JSON.parse(line))
      .find(({ client, event }) => client === `${HOST}:${port}` && event !== "wire");
  // Windows stops the server at once: what it says of each client has to be here before.
  await server.find(() => visits.every(recordOf) || undefined);
  await server.stop();
  for (const visit of visits) {
    const { kind, requestedAt = NaN, greetedAt = NaN } = visit;
    const { event, message } = recordOf(visit);
    assert(EVENTS[kind].includes(event), `${kind}: ${event}`);
    if (kind === "half") assertMatch(message, / [1-9]\d* bytes came/);
    if (kind === "silent") assertMatch(message, / 0 bytes came/);
    assertEquals(requestedAt < greetedAt, kind === "early");
  }
});

toolTest("a class of all kinds: a row for each client, and how each one ended", async () => {
  const args = ["--clients", "8", "--arrive", "0.1", "--kinds", "early,half,garbage,silent,reset"];
  const server = ["--", "--keep-alive-timeout", "0.2", "--request-timeout", "0.4"];
  const { code, stdout, svg, html } = await runToFiles([...args, ...server]);
  assertEquals(code, 0);
  const ends = {
    early: /server closed/,
    half: /error: no whole/,
    garbage: /error: /,
    reset: /client reset/,
  };
  for (const [kind, end] of Object.entries(ends)) {
    assertMatch(stdout, new RegExp(`^\\d +${kind} .*${end.source}`, "m"));
  }
  assertMatch(stdout, /^\d +silent .*error: no whole request within 0.4 s/m);
  assertMatch(stdout, /longest \d+\.\d+ s\.\nAll good clients were served\./);
  const labels = rowLabels(svg, 8).map(({ text }) => text.split(" ")[0]);
  assertEquals(labels, ["1", "2", "3", "4", "5", "6", "7", "8"]);
  assert(textsOf(svg).some(({ text }) => text.startsWith("8 clients visit main.ts --keep-alive")));
  assert(!/(src|href)=|@import|url\(/.test(html), "the page loads nothing");
});

toolTest(
  "a hundred clients at once: each has a row of its own, and no label is on another",
  async () => {
    const args = ["--clients", "100", "--arrive", "0", "--stay", "0"];
    const { code, stdout, svg } = await runToFiles(args);
    assertEquals(code, 0);
    assertMatch(stdout, /^100 +good .*client closed$/m);
    const labels = rowLabels(svg, 100);
    assertEquals(
      labels.map(({ text }) => Number(text)),
      Array.from({ length: 100 }, (_, i) => i + 1),
    );
    labels.slice(1).forEach(({ y, fontSize }, index) => assert(y - labels[index].y >= fontSize));
  },
);

toolTest("a server that hangs does not hang the class", async () => {
  const hangs: ((conn: Deno.TcpConn) => Promise<void>)[] = [
    async () => {},
    async (conn) => void await conn.write(encode({ clientid: 1 })),
  ];
  const says = [/never greeted/, /never acknowledged/];
  await Promise.all(hangs.map((serve, index) =>
    withServer(serve, async (port) => {
      const args = ["--clients", "4", "--arrive", "0", "--limit", "1", "--port", `${port}`];
      const { code, stdout, svg } = await runToFiles(args);
      assertEquals(code, 1);
      assertMatch(stdout, says[index]);
      assertMatch(stdout, /Never served: 4 \(1, 2, 3, 4\)\./);
      assertEquals(rowLabels(svg, 4).length, 4);
    })
  ));
});

toolTest("with a short queue, some are never served", async () => {
  const args = ["--clients", "8", "--arrive", "0.5", "--limit", "3"];
  const server = ["--", "--backlog", "1", "--keep-alive-timeout", "0"];
  const { code, stdout, svg } = await runToFiles([...args, ...server]);
  assertEquals(code, 1);
  assertMatch(stdout, /^1 .*still connected$/m);
  assertMatch(stdout, /^2 .*never greeted$/m);
  assertMatch(stdout, /^8 .*never connected$/m);
  assertMatch(stdout, /Never served: 7 \(2, 3, 4, 5, 6, 7, 8\)\./);
  assert(textsOf(svg).some(({ text }) => text === "never connected"));
}, DROPPING_QUEUE);

toolTest("beside an iterative server, one with threads lets nobody wait", async () => {
  const file = fileURLToPath(new URL("fixtures/threaded.py", import.meta.url));
  await using threaded = await LabServer.run(PYTHON, [file, "0"]);
  const args = ["--clients", "8", "--arrive", "0", "--", "--keep-alive-timeout", "0.3"];
  const { code, stdout, svg } = await runToFiles([
    ...args,
    "--compare",
    "--port",
    `${threaded.port}`,
  ]);
  assertEquals(code, 0);
  const longest = [...stdout.matchAll(/longest ([\d.]+) s/g)].map(([, seconds]) => Number(seconds));
  assert(longest[0] > 2 && longest[1] < 0.5, `${longest}`);
  assert(textsOf(svg).some(({ text }) => text === `${HOST}/${threaded.port}`));
}, HAS_PYTHON);

toolTest("Ctrl-C ends the class, and what there is is drawn", async () => {
  const arrived = Promise.withResolvers<void>();
  await withServer(() => Promise.resolve(arrived.resolve()), async (port) => {
    const folder = await Deno.makeTempDir();
    const args = ["--clients", "1", "--port", `${port}`, "--out", `${folder}/class`];
    const child = command("tools/class/main.ts", args).spawn();
    await arrived.promise;
    child.kill("SIGINT");
    await child.stdin.close();
    const { code, stdout } = textOf(await child.output());
    assertEquals(code, 1);
    assertMatch(stdout, /never (greeted|connected)/); // its own kernel may be late
    assertEquals(rowLabels(await Deno.readTextFile(`${folder}/class.svg`), 1).length, 1);
    await Deno.remove(folder, { recursive: true });
  });
}, UNIX_SIGNALS);

// ---------------------------------------------------------------------- texts of strangers --

const EVIL = `<script>alert("1")</script> & \x1b[2J \ufffe 'x'`;

toolTest(
  "what a server says cannot become a part of the picture, the page or the terminal",
  async () => {
    await withServer(async (conn) => {
      await conn.write(encode({ error: EVIL }));
      conn.close();
    }, async (port) => {
      const args = ["--clients", "2", "--arrive", "0", "--port", `${port}`];
      const { code, stdout, svg, html } = await runToFiles(args);
      assertEquals(code, 1);
      assert(!stdout.includes("\x1b"));
      assertMatch(stdout, /error: <script>alert\("1"\)<\/script> & \\u001b\[2J \\ufffe 'x'/);
      assert(!svg.includes("<script") && !html.includes("<script"));
      assert(textsOf(svg).some(({ text }) => text.startsWith("error: <script>alert")));
    });
  },
);

Deno.test("a title with <script> is escaped in the page", async () => {
  const html = await page([{ ...sampleRun(), title: "<script>" }]);
  assert(!html.includes("<script") && html.includes("&lt;script&gt;"));
});

// ------------------------------------------------------------------------------ the ladder --

/** What a ladder says, with the numbers that differ from run to run left out. */
function ladderTexts(svg: string): string[] {
  const isTime = /^\+?[\d.]+ m?s$/;
  return textsOf(svg).map(({ text }) => text)
    .filter((text) => !isTime.test(text))
    .map((text) =>
      text.replace(/127\.0\.0\.1:\d+/, "ADDRESS").replace(/clientid: \d+/, "clientid: P")
    )
    .map((text) => text.replace(/^(81 a8 .*) cd .. ..$/, "$1 cd PORT"));
}

const isRecv = (text: string) => text.startsWith("recv: ");
const isValue = (text: string) => text.startsWith("a whole value");

toolTest(
  "a request in three pieces and three in one piece: the pictures in docs are still so",
  async () => {
    const pictures = [
      { name: "pieces.svg", svg: await drawPieces(), recv: 3, values: 1 },
      { name: "together.svg", svg: await drawTogether(), recv: 1, values: 3 },
    ];
    for (const { name, svg, recv, values } of pictures) {
      const texts = ladderTexts(svg);
      assertEquals(texts.filter(isRecv).length, recv);
      assertEquals(texts.filter(isValue).length, values);
      assertEquals(ladderTexts(await Deno.readTextFile(new URL(`docs/${name}`, ROOT))), texts);
    }
  },
);

/** A line of a log. */
function logLine(client: string, fields: object): string {
  const time = "2026-01-01T00:00:00.000Z";
  return JSON.stringify({ time, event: "wire", client, message: `${client}: words`, ...fields });
}

Deno.test("the ladder shows one client of the log, and nothing of it is markup", async () => {
  const log = [
    "Packages: deno.json, from JSR",
    logLine("127.0.0.1:1", { step: "accepted" }),
    logLine("127.0.0.1:2", { step: "accepted" }),
    logLine("127.0.0.1:2", { step: "received", bytes: 9, value: "<script>\u001b" }),
    logLine("127.0.0.1:2", { event: "idle", level: "INFO", message: "127.0.0.1:2: silent" }),
    logLine("127.0.0.1:2", { step: "closed", by: "client", message: "127.0.0.1:2: left" }),
    logLine("127.0.0.1:2", { event: "closed", message: "127.0.0.1:2: left" }),
  ].join("\n");
  const first = await draw(log);
  const second = await draw(log, "127.0.0.1:2");
  assert(textsOf(first).some(({ text }) => text.includes("127.0.0.1:1")));
  const texts = textsOf(second).map(({ text }) => text);
  assert(texts.includes("a whole value, 9 bytes: <script>\\u001b"), texts.join("\n"));
  assert(texts.includes("idle: silent"));
  assert(texts.includes("closed by the client"));
  assert(!texts.includes("closed: left"), "it says the same as the record before it");
});

toolTest("the ladder's exit status: 1 without a session, 2 for a wrong option", async () => {
  const log = logLine("127.0.0.1:1", { step: "accepted" });
  const cases: [args: string[], input: string, code: number, says: RegExp][] = [
    [[], "no log\n", 1, /^No session in this log: .*\n$/],
    [["--client", "127.0.0.1:9"], log, 1, /^No client 127.0.0.1:9 .* there are 127.0.0.1:1\n$/],
    [["--clinet", "x"], log, 2, /^Unknown option --clinet: .*\n$/],
    [[], log, 0, /^$/],
  ];
  await Promise.all(cases.map(async ([args, input, code, says]) => {
    const outcome = await run("tools/ladder/main.ts", args, input);
    assertMatch(outcome.stderr, says);
    assertEquals(outcome.code, code);
  }));
});

// ----------------------------------------------------------------------- the files in docs --

toolTest("the pictures in docs can be made again", async () => {
  const serverOptions = ["--keep-alive-timeout", "0.1"];
  const made = await makePictures({ clients: 30, crowd: 20, crowdMs: 6000, serverOptions });
  const docs = new URL("docs/", ROOT);
  const files = (await Array.fromAsync(Deno.readDir(docs))).map(({ name }) => name);
  assertEquals(files.sort(), [...made.keys()].sort());
  for (const [name, svg] of made) {
    const kept = await Deno.readTextFile(new URL(name, docs));
    const labels = (document: string) => rowLabels(document, 30).map(({ text }) => text);
    const isClass = name === "class.svg" || name === "threaded.svg";
    if (isClass) assertEquals([labels(kept), labels(kept).length], [labels(svg), 30]);
  }
  const crowd = await Deno.readTextFile(new URL("backlog.svg", docs));
  assert(textsOf(crowd).some(({ text }) => text.startsWith("never ")), "somebody is never served");
}, HAS_PYTHON && DROPPING_QUEUE);
