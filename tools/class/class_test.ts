/**
 * Tests of the class: the real tool visits real servers over real sockets, and what it prints and
 * draws is what happened.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { encode } from "@std/msgpack";
import { fileURLToPath } from "node:url";
import { type Ended, Process } from "../shared/process.ts";
import {
  assertMatch,
  hasPython,
  labelsOf,
  processTest,
  PYTHON,
  startTool,
  textsOf,
} from "../shared/testing.ts";
import type { Kind } from "./kinds.ts";
import type { Plan } from "./options.ts";
import { runClass } from "./run.ts";

const HOST = "127.0.0.1";
const NEVER = new AbortController().signal;
const ROWS = "client, by arrival"; // the title of the axis

/** A queue drops who comes when it is full. On macOS and Windows it refuses. */
const DROPPING_QUEUE = Deno.build.os === "linux";
/** On Windows each signal that a program sends ends the other one at once. */
const UNIX_SIGNALS = Deno.build.os !== "windows";

// ---------------------------------------------------------------------------- the helpers --

/** What the class has printed and drawn. */
interface Outcome extends Ended {
  readonly svg: string;
  readonly html: string;
}

/** Runs the class with its files in a folder of their own; `act` gets it while it runs. */
async function runToFiles(
  args: string[],
  act: (tool: Process) => Promise<void> = () => Promise.resolve(),
): Promise<Outcome> {
  const folder = await Deno.makeTempDir();
  try {
    const tool = startTool("tools/class/main.ts", ["--out", `${folder}/class`, ...args]);
    await act(tool);
    const ended = await tool.end();
    const read = (name: string) => Deno.readTextFile(`${folder}/${name}`).catch(() => "");
    return { ...ended, svg: await read("class.svg"), html: await read("class.html") };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
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

// ----------------------------------------------------------------------- the command line --

processTest(
  "the exit status is 2 for a wrong option, of our server, too, and 1 without a server",
  async () => {
    const listener = Deno.listen({ hostname: HOST, port: 0 });
    const { port } = listener.addr as Deno.NetAddr;
    listener.close(); // now nobody listens there
    const cases: [args: string[], code: number, says: RegExp][] = [
      [["--kinds", "rude"], 2, /^--kinds knows .*$/],
      [["--out", "no/such/folder/class"], 2, /^--out: there is no folder no\/such\/folder$/],
      [["--", "--backlogg", "1"], 2, /^The server did not start: Unknown option --backlogg: .*$/m],
      [
        ["--clients", "2", "--arrive", "0", "--port", `${port}`],
        1,
        /No server at 127\.0\.0\.1\/\d+/,
      ],
    ];
    await Promise.all(cases.map(async ([args, code, says]) => {
      const ended = await startTool("tools/class/main.ts", args).end();
      assertMatch(ended.err.join("\n"), says);
      assertEquals([ended.code, ended.out], [code, []]);
    }));
  },
);

processTest("--help fetches no package", async () => {
  const home = await Deno.makeTempDir();
  const env = { DENO_DIR: home };
  const tools = ["tools/class/main.ts", "tools/ladder/main.ts", "tools/dev/pictures.ts"];
  await Promise.all(tools.map(async (tool) => {
    const { code, out, err } = await startTool(tool, ["--help"], { env }, ["--cached-only"]).end();
    assertEquals([code, err], [0, []]);
    assertMatch(out.join("\n"), /^Usage: deno task /m);
  }));
  await Deno.remove(home, { recursive: true });
});

// ------------------------------------------------------------------------------ the class --

/** When the server of the next test did what, in ms of `performance.now()`. */
interface Served {
  acceptedAt: number;
  greetedAt: number;
  requestedAt: number;
  acknowledgedAt: number;
  closedAt: number;
}

processTest("the phases are those of the server: greeting, acknowledgement and close", async () => {
  const served = new Map<number, Served>();
  await withServer(async (conn) => {
    const acceptedAt = performance.now();
    const greetedAt = await afterWork(() => conn.write(encode({ clientid: 1 })));
    await conn.read(new Uint8Array(1000));
    const requestedAt = performance.now();
    const acknowledgedAt = await afterWork(() => conn.write(encode(1)));
    const closedAt = await afterWork(() => conn.closeWrite());
    served.set(conn.remoteAddr.port, {
      acceptedAt,
      greetedAt,
      requestedAt,
      acknowledgedAt,
      closedAt,
    });
  }, async (port) => {
    const earliest = performance.now();
    const running = runClass(planOf(30), { title: "", host: HOST, port }, NEVER);
    const latest = performance.now(); // the times of the visits count from between the two
    for (const { port, end, ...visit } of (await running).visits) {
      const server = served.get(port);
      const { connectedAt = NaN, greetedAt = NaN, acknowledgedAt = NaN, endedAt = NaN } = visit;
      assert(server && earliest + visit.arrivedAt <= server.acceptedAt, "arrived");
      assert(earliest + connectedAt <= server.greetedAt, "connected");
      assert(latest + greetedAt >= server.greetedAt, "greeted too early");
      assert(earliest + greetedAt <= server.requestedAt, "greeted too late");
      assert(latest + acknowledgedAt >= server.acknowledgedAt, "acknowledged too early");
      assert(acknowledgedAt < endedAt && latest + endedAt >= server.closedAt, "ended");
      assertEquals(end, "server closed");
    }
  });
});

/** Does this after a while, as a server with work; returns when it did so. */
async function afterWork(act: () => unknown): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, 30));
  const at = performance.now();
  await act();
  return at;
}

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

processTest("each kind of client does to the server what its name says", async () => {
  const limits = ["--request-timeout", "0.2", "--keep-alive-timeout", "0.1"];
  await using server = await Process.main(
    "--log-format",
    "json",
    "--log-level",
    "DEBUG",
    ...limits,
  );
  const kinds = Object.keys(EVENTS) as Kind[];
  const address = { title: "", host: HOST, port: server.port };
  const { visits } = await runClass(planOf(0, { kinds }), address, NEVER);
  const records = new Map<string, { event: string; message: string }>();
  while (records.size < visits.length) {
    const record = JSON.parse(await server.stderr.next() ?? "");
    if (record.event !== "wire") records.set(record.client, record);
  }
  for (const visit of visits) {
    const { kind, requestedAt = NaN, greetedAt = NaN } = visit;
    const { event = "", message = "" } = records.get(`${HOST}:${visit.port}`) ?? {};
    assert(EVENTS[kind].includes(event), `${kind}: ${event}`);
    if (kind === "half") assertMatch(message, / [1-9]\d* bytes came/);
    if (kind === "silent") assertMatch(message, / 0 bytes came/);
    assertEquals(requestedAt < greetedAt, kind === "early");
  }
});

processTest("a class of all kinds: a row for each client, and how each one ended", async () => {
  const args = ["--clients", "8", "--arrive", "0", "--kinds", "early,half,garbage,silent,reset"];
  const server = ["--", "--keep-alive-timeout", "0.1", "--request-timeout", "0.2"];
  const { code, out, svg, html } = await runToFiles([...args, "--label", "Ana", ...server]);
  assertEquals(code, 0);
  const ends: [kind: Kind, end: RegExp][] = [
    ["early", /server closed/],
    ["half", /error: no whole request within 0.2 s/],
    ["garbage", /error: /],
    ["silent", /error: no whole request within 0.2 s/],
    ["reset", /client reset/],
  ];
  const table = out.join("\n");
  for (const [kind, end] of ends) {
    assertMatch(table, new RegExp(`^\\d +${kind} .*${end.source}`, "m"));
  }
  assertMatch(table, /longest \d+\.\d+ s\.\nAll good clients were served\./);
  const labels = labelsOf(svg, ROWS).map(({ text }) => text.split(" ")[0]);
  assertEquals(labels, ["1", "2", "3", "4", "5", "6", "7", "8"]);
  assert(textsOf(svg).some(({ text }) => text.startsWith("8 clients visit Ana. They arrive")));
  assert(html.includes("<pre>"));
});

processTest("a slide has large text and no table", async () => {
  const args = ["--clients", "2", "--arrive", "0", "--stay", "0", "--slide"];
  const { code, svg, html } = await runToFiles(args);
  assertEquals(code, 0);
  assert(textsOf(svg).every(({ fontSize }) => fontSize >= 26.7), "20 points are 26.7 px");
  assert(html.includes("<svg") && !html.includes("<pre>"));
});

processTest("a server that hangs does not hang the class", async () => {
  const hangs: ((conn: Deno.TcpConn) => Promise<void>)[] = [
    async () => {},
    async (conn) => void await conn.write(encode({ clientid: 1 })),
  ];
  const says = [/never greeted/, /never acknowledged/];
  await Promise.all(hangs.map((serve, index) =>
    withServer(serve, async (port) => {
      const args = ["--clients", "4", "--arrive", "0", "--limit", "1", "--port", `${port}`];
      const { code, out, svg } = await runToFiles(args);
      assertEquals(code, 1);
      assertMatch(out.join("\n"), says[index]);
      assertMatch(out.join("\n"), /Never served: 4 \(1, 2, 3, 4\)\./);
      assert(textsOf(svg).some(({ text }) => text.startsWith("4 of 4 clients were never served.")));
    })
  ));
});

processTest("with a short queue, some are never served", async () => {
  const args = ["--clients", "8", "--arrive", "0.4", "--limit", "1"];
  const server = ["--", "--backlog", "1", "--keep-alive-timeout", "0"];
  const { code, out, svg } = await runToFiles([...args, ...server]);
  assertEquals(code, 1);
  assertMatch(out.join("\n"), /^1 .*still connected$/m);
  assertMatch(out.join("\n"), /^2 .*never greeted$/m);
  assertMatch(out.join("\n"), /^8 .*never connected$/m);
  assertMatch(out.join("\n"), /Never served: 7 \(2, 3, 4, 5, 6, 7, 8\)\./);
  assert(textsOf(svg).some(({ text }) => text === "never connected"));
}, DROPPING_QUEUE);

processTest("beside an iterative server, one with threads lets nobody wait", async () => {
  const file = fileURLToPath(new URL("fixtures/threaded.py", import.meta.url));
  await using threaded = await Process.server(PYTHON, [file, "0"]);
  const args = ["--clients", "4", "--arrive", "0", "--stay", "0.3"];
  const second = ["--compare", "--port", `${threaded.port}`, "--label", "threads"];
  const { code, out, svg } = await runToFiles([...args, ...second]);
  assertEquals(code, 0);
  const longest = [...out.join("\n").matchAll(/longest ([\d.]+) s/g)];
  const [iterative, threads] = longest.map(([, seconds]) => Number(seconds));
  assert(iterative >= 0.9 && threads < 0.9, `${iterative} s and ${threads} s`);
  assert(textsOf(svg).some(({ text }) => text === "threads"));
}, hasPython);

processTest("Ctrl-C ends the class, and what there is is drawn", async () => {
  const arrived = Promise.withResolvers<void>();
  await withServer(() => Promise.resolve(arrived.resolve()), async (port) => {
    const args = ["--clients", "1", "--port", `${port}`];
    const { code, out, svg } = await runToFiles(args, async ({ child }) => {
      await arrived.promise;
      child.kill("SIGINT");
    });
    assertEquals(code, 1);
    assertMatch(out.join("\n"), /never (greeted|connected)/); // its own kernel may be late
    assertEquals(labelsOf(svg, ROWS).length, 1);
  });
}, UNIX_SIGNALS);

// ---------------------------------------------------------------------- what servers send --

const EVIL = `<script>alert("1")</script> & \x1b[2J \ufffe 'x'`;

processTest(
  "what a server says cannot become a part of the picture, the page or the terminal",
  async () => {
    await withServer(async (conn) => {
      await conn.write(encode({ error: EVIL }));
      conn.close();
    }, async (port) => {
      const args = ["--clients", "2", "--arrive", "0", "--port", `${port}`];
      const { code, out, svg, html } = await runToFiles(args);
      assertEquals(code, 1);
      assert(!out.join().includes("\x1b"));
      const says = /error: <script>alert\("1"\)<\/script> & \\u001b\[2J \\ufffe 'x'/;
      assertMatch(out.join("\n"), says);
      assert(!svg.includes("<script") && !html.includes("<script"));
      assert(textsOf(svg).some(({ text }) => text.startsWith("error: <script>alert")));
    });
  },
);

processTest("an answer that is not the lab's is shown as Python shows it", async () => {
  await withServer(async (conn) => {
    await conn.write(encode({ clientid: 1n }));
    await conn.read(new Uint8Array(1000));
    await conn.write(encode({ ok: true, sid: 1n << 40n }));
  }, async (port) => {
    const { visits } = await runClass(planOf(1), { title: "", host: HOST, port }, NEVER);
    assertEquals(visits[0].end, "answered {'ok': True, 'sid': 1099511627776} instead of 1");
  });
});
