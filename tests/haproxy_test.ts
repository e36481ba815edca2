/**
 * A test of several servers behind HAProxy, as docs/operating.md describes it.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { submit } from "../main.ts";
import { Process } from "../tools/shared/process.ts";
import {
  ALICE,
  firstBlock,
  isHere,
  readProjectFile,
  runTest,
  slowness,
  startServer,
} from "./shared.ts";

/** A port that nobody uses at the moment. */
function unusedPort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** The configuration of HAProxy in docs/operating.md with these ports: its own first, then the servers'. */
async function haproxyConfig(ports: number[]): Promise<string> {
  const config = firstBlock(await readProjectFile("docs/operating.md"), "haproxy");
  return config.replace(/127\.0\.0\.1:1200(\d)/g, (_, digit) => {
    const port = ports[Number(digit)];
    assert(port !== undefined, `it has one server too many: 1200${digit}`);
    return `127.0.0.1:${port}`;
  });
}

/** HAProxy with a configuration in a file; disposing of it ends it and removes the file. */
class Haproxy {
  readonly #process: Process;

  private constructor(readonly file: string) {
    this.#process = new Process("haproxy", ["-db", "-f", file]);
  }

  static async start(config: string): Promise<Haproxy> {
    const file = await Deno.makeTempFile();
    await Deno.writeTextFile(file, config);
    return new Haproxy(file);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
    await Deno.remove(this.file);
  }
}

/** Waits until HAProxy listens, and serves one student whose id is no number. */
async function untilItServes(port: number): Promise<void> {
  for (;;) {
    try {
      await submit({ ...ALICE, sid: "ready" }, { port });
      return;
    } catch (error) {
      if (!(error instanceof Deno.errors.ConnectionRefused)) throw error;
      await slowness(5); // HAProxy's own
    }
  }
}

/** What became of a class. */
interface Outcome {
  /** The ids of those who were acknowledged. */
  passed: number[];
  /** The errors of the others. */
  failed: unknown[];
}

/** 200 students at once, with their ids from this one on; each who passes is told with the count. */
async function submitClass(
  port: number,
  firstSid: number,
  onPass: (count: number) => void = () => {},
): Promise<Outcome> {
  const outcome: Outcome = { passed: [], failed: [] };
  const submitOne = async (sid: number) => {
    try {
      await submit({ ...ALICE, sid }, { port });
      outcome.passed.push(sid);
      onPass(outcome.passed.length);
    } catch (error) {
      outcome.failed.push(error);
    }
  };
  await Promise.all(Array.from({ length: 200 }, (_, i) => submitOne(firstSid + i)));
  return outcome;
}

/** Ends the servers, one of which was killed, and gives the ids that are numbers on all rosters. */
async function endedRosters(servers: Process[], killed: Process): Promise<number[]> {
  const roster: string[] = [];
  for (const server of servers) {
    if (server !== killed) server.child.kill("SIGTERM");
    const { out, err } = await server.end();
    roster.push(...out);
    assertEquals(err.filter((line) => /^(WARN|ERROR)/.test(line)), []); // a health check is none
  }
  return roster.map((line) => Number(line.split("sid: ")[1])).filter((sid) => sid >= 0);
}

runTest("HAProxy as in docs/operating.md: four servers, none lost; one is killed", async () => {
  await using started = new AsyncDisposableStack();
  const backends = await Promise.all([1, 2, 3, 4].map(() => startServer()));
  const servers = backends.map((server) => started.use(server));
  const [victim] = servers;
  const port = unusedPort();
  const config = await haproxyConfig([port, ...backends.map((server) => server.port)]);
  await using _ = await Haproxy.start(config);
  await untilItServes(port);

  const before = await submitClass(port, 0);
  assertEquals([before.passed.length, before.failed], [200, []]);
  const meanwhile = await submitClass(port, 200, (count) => {
    if (count === 100) victim.child.kill("SIGKILL");
  });
  const { failed } = meanwhile;
  assert(failed.length <= 4, `${failed}`); // those whom the killed server had accepted
  assertEquals(meanwhile.passed.length + failed.length, 200);

  const sids = await endedRosters(servers, victim);
  assertEquals(new Set(sids).size, sids.length);
  for (const sid of [...before.passed, ...meanwhile.passed]) {
    assert(sids.includes(sid), `${sid} is on no roster`);
  }
}, await isHere("haproxy", "-v"));
