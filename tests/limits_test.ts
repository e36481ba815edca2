/**
 * Tests of the limits on a client, and of a stop in the middle of an accept, in this process. They take
 * their time, so they are in a file of their own, which runs beside the others.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { createLogger } from "../main.ts";
import { withConnections } from "./replaced.ts";
import {
  ACK,
  Client,
  includes,
  isError,
  Lab,
  netTest,
  REQUEST,
  slowness,
  table,
} from "./shared.ts";

const SLOW: [name: string, go: (client: Client) => Promise<void>][] = [
  ["silent since the accept", async () => {}],
  ["a byte now and then", async (client) => {
    for (const byte of REQUEST) await client.send(byte).then(() => slowness(20));
  }],
  ["half behind a whole one", (client) => client.send(REQUEST, REQUEST.subarray(0, 9))],
  ["half after an answer", async (client) => {
    await client.send(REQUEST);
    await slowness(50);
    await client.send(REQUEST.subarray(0, 9));
  }],
];

table("the limit on a request", SLOW, async (name, go) => {
  await using lab = new Lab({ requestTimeout: 500, keepAliveTimeout: 0 });
  const start = performance.now();
  using client = await lab.visit();
  const going = go(client).catch(() => {}); // it is over before all has been sent
  const answers = await client.receiveAll();
  assert(performance.now() - start >= 500);
  const error = await lab.warning(client, "timeout");
  assert(
    /^no whole request within 0.5 s, \d+ bytes came \(server: --request-timeout\)$/.test(error),
  );
  if (name.startsWith("half")) includes(error, " 9 bytes came");
  assertEquals(answers, [...lab.roster.map(() => ACK), { error }]);
  client.close();
  await going;
  await lab.check();
});

netTest("a limit holds to 0.2 s, and is never short", async () => {
  await using lab = new Lab({ keepAliveTimeout: 100 });
  const times: number[] = [];
  for (let i = 0; i < 10; i++) {
    using client = await lab.visit();
    const start = performance.now();
    await client.pass();
    assertEquals(await client.receiveAll(), []);
    times.push(performance.now() - start);
  }
  assert(Math.min(...times) >= 100, `${times}`);
  assert(Math.min(...times) < 300, `${times}`); // the best one: a busy machine may delay any
});

/** Runs this with clocks that tell of each tick of theirs: `nextTick` gives its number. */
async function withTicks(run: (nextTick: () => Promise<number>) => Promise<void>): Promise<void> {
  const { setInterval } = globalThis;
  let ticks = 0;
  let tell = (_ticks: number) => {};
  globalThis.setInterval = ((tick: () => void, ms: number) =>
    setInterval(() => {
      tick();
      tell(++ticks);
    }, ms)) as typeof setInterval;
  try {
    await run(() => new Promise((resolve) => tell = resolve));
  } finally {
    globalThis.setInterval = setInterval;
  }
}

/** A client that is silent after its answer since the tick before this one. */
async function silentForOneTick(lab: Lab, nextTick: () => Promise<number>): Promise<Client> {
  const client = await lab.visit();
  const before = await nextTick();
  await client.pass();
  if (await nextTick() === before + 1) return client;
  client.close(); // The machine is busy: the answer has taken longer than a tick.
  return await silentForOneTick(lab, nextTick);
}

netTest(
  "a pause before the last tick of a limit: what came in it is answered",
  () =>
    withTicks(async (nextTick) => {
      await using lab = new Lab({ keepAliveTimeout: 50 });
      using client = await silentForOneTick(lab, nextTick);
      client.send(REQUEST);
      const end = performance.now() + 200;
      while (performance.now() < end); // The server does not run.
      assertEquals(await client.receive(), ACK);
    }),
);

netTest("the limit on silence: closed without an answer, the next one's turn", async () => {
  await using lab = new Lab({ keepAliveTimeout: 150 });
  using client = await lab.visit();
  using next = await lab.connect();
  await client.pass();
  assertEquals(await client.receiveAll(), []); // It is told nothing.
  await next.greeting();
  const { level, client: name, message } = await lab.log.until("idle");
  assertEquals([level, name], ["INFO", client.name]); // it did nothing wrong
  includes(message, "silent for 0.15 s", "next client's turn");
  assertEquals(lab.log.of("WARN", "ERROR"), []);
});

netTest("an answer begins the limits on request and silence anew", async () => {
  await using lab = new Lab({ requestTimeout: 1000, keepAliveTimeout: 1000 });
  using client = await lab.visit();
  const start = performance.now();
  while (performance.now() - start < 1300) {
    await client.pass();
    await slowness(20);
  }
});

netTest("the limit on a turn, however busy the client is", async () => {
  await using lab = new Lab({ turnTimeout: 500 });
  const start = performance.now();
  using client = await lab.visit();
  using next = await lab.connect();
  let answer: unknown;
  let count = 0;
  for (; (await client.send(REQUEST), answer = await client.receive()) === ACK; count++) {
    assert(performance.now() - start < 20_000, "its turn does not end");
    await slowness(20);
  }
  assert(performance.now() - start >= 500 && count > 1);
  assertEquals(answer, { error: "its turn of 0.5 s is over" });
  assertEquals(await client.receive(), undefined);
  assertEquals(await lab.warning(client, "turn"), "its turn of 0.5 s is over");
  client.close();
  await next.greeting();
});

netTest("a kernel that takes one byte at a time: each message is sent whole", async () => {
  const takeOneByte = (conn: Deno.TcpConn) => {
    const write = conn.write.bind(conn);
    conn.write = (bytes) => write(bytes.subarray(0, 1));
  };
  await withConnections(takeOneByte, async () => {
    await using lab = new Lab();
    using client = await lab.visit();
    await client.send(REQUEST, REQUEST, REQUEST, 0xc1);
    const answers = await client.receiveAll();
    assertEquals(answers.map((answer) => isError(answer) || answer), [ACK, ACK, ACK, true]);
  });
});

netTest("the error of a limit comes behind all acknowledgements", async () => {
  const takeOneNowAndThen = (conn: Deno.TcpConn) => {
    const write = conn.write.bind(conn);
    conn.write = async (bytes) => {
      const isAnswer = bytes.every((byte) => byte === ACK);
      if (isAnswer) await slowness(50);
      return await write(isAnswer ? bytes.subarray(0, 1) : bytes);
    };
  };
  await withConnections(takeOneNowAndThen, async () => {
    await using lab = new Lab({ turnTimeout: 500 });
    using client = await lab.visit();
    await client.send(...new Array(15).fill(REQUEST));
    const answers = await client.receiveAll();
    const error = { error: "its turn of 0.5 s is over" };
    assertEquals(answers, [...lab.roster.map(() => ACK), error]);
  });
});

netTest("Nagle's algorithm is off before the greeting is sent", async () => {
  const calls: string[] = [];
  const record = (conn: Deno.TcpConn) => {
    const { setNoDelay, write } = conn;
    conn.setNoDelay = (isOn) => {
      calls.push("setNoDelay");
      setNoDelay.call(conn, isOn);
    };
    conn.write = (bytes) => {
      calls.push("write");
      return write.call(conn, bytes);
    };
  };
  await withConnections(record, async () => {
    await using lab = new Lab();
    await lab.check();
  });
  assertEquals(calls[0], "setNoDelay");
});

netTest("who does not read its answers is told nothing: the server only closes", () => {
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  return withConnections((conn) => slowDown(conn, gate), async () => {
    await using lab = new Lab({ requestTimeout: 100 });
    using client = await lab.visit();
    await client.send(REQUEST);
    const { message } = await lab.log.until("stalled");
    assertEquals(message, `${client.name}: its answers were left unread for 0.1 s`);
    open(); // It reads now, and it is too late.
    assertEquals(await client.receiveAll(), []);
    const last = lab.log.entries.slice(-2).map(({ event }) => event);
    assertEquals(last, ["stalled", "wire"]); // closed by the server
  });
});

netTest("a mistake of the server's own is not blamed on the connection", async () => {
  const makeMistake = (conn: Deno.TcpConn) => {
    conn.setNoDelay = () => {
      throw new TypeError("a mistake");
    };
  };
  await withConnections(makeMistake, async () => {
    await using lab = new Lab();
    using client = await lab.connect();
    assertEquals(await client.receiveAll(), [{ error: "the server has failed, not you" }]);
    const { level, message } = await lab.log.until("bug");
    assertEquals(level, "ERROR");
    includes(message, `${client.name}: a fault of the server: TypeError: a mistake`);
  });
});

/** Acknowledgements, and what is sent after them, wait for `gate`. */
function slowDown(conn: Deno.TcpConn, gate: Promise<void>): void {
  const write = conn.write.bind(conn);
  let isAnswering = false;
  conn.write = async (bytes) => {
    isAnswering ||= bytes.length === 1;
    if (isAnswering) await gate;
    return await write(bytes);
  };
}

netTest("one read waits at a time, also when a limit has left one and the server lingers", () => {
  let waiting = 0;
  let most = 0;
  const count = (conn: Deno.TcpConn) => {
    const read = conn.read.bind(conn);
    conn.read = (space) => {
      waiting++;
      most = Math.max(most, waiting);
      return read(space).finally(() => waiting--);
    };
  };
  return withConnections(count, async () => {
    await using lab = new Lab({ requestTimeout: 100 });
    using client = await lab.visit();
    await client.send(REQUEST.subarray(0, 5));
    assert(isError((await client.receiveAll())[0]));
    await client.send(REQUEST.subarray(5)); // The read that the limit has left brings it.
    client.close();
    await lab.check();
    assertEquals(most, 1);
  });
});

netTest("a limit that fires while an answer is under way does not make the linger longer", () => {
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  return withConnections((conn) => slowDown(conn, gate), async () => {
    await using lab = new Lab({ turnTimeout: 300 });
    using client = await lab.visit();
    using next = await lab.connect();
    await client.send(REQUEST);
    await lab.log.until("turn");
    const since = performance.now();
    await slowness(700);
    open();
    assertEquals((await client.receiveAll()).map((answer) => isError(answer)), [false, true]);
    await next.greeting(); // Our client has not closed: the server has lingered for a second.
    const lingered = performance.now() - since;
    assert(lingered > 900, `${lingered} ms`);
  });
});

/** A kernel that has a request at each read, and takes each acknowledgement, both at once. */
interface Flood {
  /** When it ends: ms of `performance.now()`. */
  end: number;
}

/** Runs this with servers that come to no timer and to no signal while they wait for a flood alone. */
function withFlood(run: (flood: Flood) => Promise<void>): Promise<void> {
  const flood = { end: performance.now() + 4000 };
  const change = (conn: Deno.TcpConn) => {
    const { read, write } = conn;
    conn.read = (space) => {
      if (performance.now() > flood.end) return read.call(conn, space);
      space.set(REQUEST);
      return Promise.resolve(REQUEST.length);
    };
    conn.write = (bytes) => bytes.length === 1 ? Promise.resolve(1) : write.call(conn, bytes);
  };
  return withConnections(change, () => run(flood));
}

netTest(
  "a flood: the turn ends, and the lingering close behind it",
  () =>
    withFlood(async (flood) => {
      await using lab = new Lab({ turnTimeout: 300 }, "WARN");
      using client = await lab.visit();
      using next = await lab.connect();
      assertEquals(await client.receiveAll(), [{ error: "its turn of 0.3 s is over" }]);
      await next.greeting(); // The first one has not closed: the server has, a second later.
      assert(performance.now() < flood.end);
      flood.end = 0;
    }),
);

netTest("a flood: a stop is heard", () =>
  withFlood(async (flood) => {
    await using lab = new Lab({}, "WARN");
    using _client = await lab.visit();
    using queued = await lab.connect();
    setTimeout(() => lab.stop(), 100);
    // Nobody is in the queue any more.
    includes(await queued.receive().catch((error) => error), "ECONNRESET");
    assert(performance.now() < flood.end);
    flood.end = 0;
  }));

netTest("a stop: who has its answer and is silent is promised no time", async () => {
  await using lab = new Lab({}, "DEBUG");
  using client = await lab.visit();
  await client.pass();
  lab.stop();
  assertEquals(await client.receiveAll(), []);
  await lab.served;
  assertEquals(lab.log.of("INFO", "WARN", "ERROR"), []);
});

netTest("a stop between two clients: nobody is promised time", async () => {
  const lab = new Lab();
  const client = await lab.visit();
  client.close();
  await lab.log.until("left");
  await lab.log.until("wire", 4); // accepted, greeted, no more to come, closed by the server
  lab.stop();
  await lab.served;
  assertEquals(lab.log.entries.filter(({ event }) => event === "stopping"), []);
});

netTest("a stop while an answer is under way: the client has its time, and nothing is said", () => {
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  return withConnections((conn) => slowDown(conn, gate), async () => {
    await using lab = new Lab();
    using client = await lab.visit();
    await client.send(REQUEST);
    await lab.log.until("wire", 5); // accepted, greeted, read, received, and the answer on its way
    lab.stop();
    open();
    assertEquals(await client.receiveAll(), [ACK]);
    assertEquals(lab.log.of("INFO", "WARN"), []);
  });
});

netTest(
  "a program that stops its server at a request: the client has its answer, and nothing is said",
  async () => {
    await using lab: Lab = new Lab({ onRequests: () => lab.stop() });
    using client = await lab.visit();
    await client.send(REQUEST);
    assertEquals(await client.receiveAll(), [ACK]);
    assertEquals(lab.log.of("INFO", "WARN"), []);
  },
);

netTest("the wire costs nothing at other levels: the logger is not asked", async () => {
  const logger = createLogger("WARN");
  const asked: unknown[] = [];
  logger.debug = ((_: string, { event }: { event: string }) =>
    asked.push(event)) as typeof logger.debug;
  await using lab = new Lab({ logger });
  await lab.check();
  lab.stop();
  await lab.served;
  assertEquals(asked, ["closed"]);
});

netTest("0 is no limit", async () => {
  await using lab = new Lab({ requestTimeout: 0, keepAliveTimeout: 0, turnTimeout: 0 });
  using client = await lab.visit();
  await slowness(200); // a limit of 0 ms would have been found several times
  await client.pass();
  await slowness(200);
  await client.send(REQUEST.subarray(0, 9));
  await slowness(200);
  await client.pass(REQUEST.subarray(9));
  assertEquals(lab.log.of("INFO", "WARN", "ERROR"), []);
});

netTest(
  "a stop while a client is being accepted: that client is told, and does not hold it",
  async () => {
    for (let ticks = 0; ticks < 12; ticks++) {
      // Both connections are there at the same moment, and the second one stops the server: a few ticks
      // of the event loop earlier or later than the accept.
      const lab = new Lab();
      using other = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const stopping = other.accept().then(async (conn) => {
        for (let i = 0; i < ticks; i++) await undefined;
        lab.stop();
        conn.close();
      });
      await new Promise((resolve) => setTimeout(resolve)); // both accepts have begun
      const connecting = [lab.connect(), Client.connect((other.addr as Deno.NetAddr).port)];
      const [client, second] = await Promise.all(connecting);
      await stopping;
      if (lab.log.entries.some(({ message }) => message.endsWith("accepted"))) {
        await lab.log.until("stopping");
      }
      client.close();
      second.close();
      await lab.served;
    }
  },
);
