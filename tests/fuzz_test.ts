/**
 * Fuzz: streams that are nearly requests, in random pieces. There is no second implementation to
 * compare with, but three things that have to agree: the same stream whole, in pieces and byte by
 * byte; Python's msgpack, for where values end; and acknowledgements with lines of the roster.
 *
 * The same streams come each time, and new ones: a failure shows its seed, and
 * `deno task test --filter fuzz -- seed=N` runs it again.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { Process } from "../tools/shared/process.ts";
import {
  ACK,
  ALICE,
  bytes,
  Client,
  configFlags,
  everyType,
  frames,
  isError,
  Lab,
  netTest,
  oneByOne,
  PY,
  PYTHON,
  rawRequest,
  REQUEST,
  runTest,
  startServer,
  visit,
} from "./shared.ts";

// ----------------------------------------------------------------------------- random streams --

/** Random numbers below `n`, the same for the same seed (mulberry32). */
function randomizer(seed: number): (n: number) => number {
  return (n) => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), seed | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % n;
  };
}

type Random = ReturnType<typeof randomizer>;
const SMALL = everyType().filter((message) => message.length < 300);

function randomStream(random: Random): Uint8Array<ArrayBuffer> {
  const noise = () => Uint8Array.from({ length: random(30) }, () => random(256));
  const variant = () =>
    rawRequest({ [Object.keys(ALICE)[random(3)]]: SMALL[random(SMALL.length)] });
  const part = () =>
    [() => REQUEST, () => SMALL[random(SMALL.length)], noise, variant][random(4)]();
  const stream = [...bytes(...Array.from({ length: 1 + random(6) }, part))];
  for (let mutations = random(3); mutations > 0 && stream.length > 0; mutations--) {
    const at = random(stream.length);
    if (random(3) === 0) stream.splice(at, 1 + random(5));
    else if (random(2) === 0) stream.splice(at, 0, random(256));
    else stream[at] = random(256);
  }
  return bytes(stream);
}

function randomPieces(random: Random, stream: Uint8Array): Uint8Array[] {
  const pieces = [];
  for (let at = 0; at < stream.length;) {
    const end = at + 1 + random(random(2) ? 3 : stream.length);
    pieces.push(stream.subarray(at, end));
    at = end;
  }
  return pieces;
}

const given = Deno.args.find((arg) => arg.startsWith("seed="))?.slice(5);
const SEEDS = [20261124, Number(given ?? crypto.getRandomValues(new Uint32Array(1))[0])];

async function withSeeds(body: (random: Random) => Promise<void>): Promise<void> {
  for (const seed of SEEDS) {
    try {
      await body(randomizer(seed));
    } catch (error) {
      throw new Error(`with seed=${seed}: ${error}`, { cause: error });
    }
  }
}

// -------------------------------------------------------------------------------- the framing --

/** Where the messages end, and how it goes on, in one line. */
function asText(messages: Uint8Array[], then: string): string {
  const ends: number[] = [];
  for (const message of messages) ends.push((ends.at(-1) ?? 0) + message.length);
  return [...ends, then].join(" ");
}

/**
 * What a framer with this limit has to find, since one without finds these messages: all that fit, and
 * then the first one that is too long. Nothing, where that stream has no end that is known.
 */
function withinLimit(messages: Uint8Array[], then: string, limit: number): string | undefined {
  const long = messages.findIndex((message) => message.length > limit);
  if (long >= 0) return asText(messages.slice(0, long), "too-long");
  return then === "end" ? asText(messages, then) : undefined;
}

Deno.test("fuzz: the framing finds the same, however the stream is split", () =>
  withSeeds(async (random) => {
    for (let i = 0; i < 2000; i++) {
      const stream = randomStream(random);
      const limit = random(2) ? 4096 : 1 + random(100);
      const what = `${stream.toHex()} at ${limit}`;
      const whole = asText(...await frames([stream], limit));
      assertEquals(whole, withinLimit(...await frames([stream]), limit) ?? whole, what);
      for (const pieces of [randomPieces(random, stream), oneByOne(stream)]) {
        assertEquals(asText(...await frames(pieces, limit)), whole, what);
      }
    }
  }));

/**
 * Prints a line for each stream: where its values end, as Python's msgpack reads them. It
 * stops at what it refuses, such as the byte c1, where the framing goes on.
 */
const UNPACKER = `
import msgpack, sys

for line in sys.stdin.read().split(","):
    stream = bytes.fromhex(line)
    unpacker = msgpack.Unpacker(
        ext_hook=lambda code, data: None,
        timestamp=1,  # a float, whatever its time is
        strict_map_key=False,
        unicode_errors="replace",
        object_pairs_hook=lambda pairs: None,  # A key may be of any kind.
    )
    unpacker.feed(stream)
    ends = []
    try:
        while True:
            unpacker.unpack()
            ends.append(str(unpacker.tell()))
    except msgpack.OutOfData:
        pass
    except Exception:
        ends.append("refused")
    print(" ".join(ends))
`;

runTest(
  "fuzz: values end where Python's Unpacker finds their ends",
  () =>
    withSeeds(async (random) => {
      const streams = Array.from({ length: 1000 }, () => randomStream(random));
      const input = streams.map((stream) => stream.toHex()).join(",");
      const { out } = await new Process(PY, ["-c", UNPACKER], { input }).end();
      for (const [i, stream] of streams.entries()) {
        const found = asText(...await frames([stream])).replace(/ ?\S+$/, "");
        if (!out[i].endsWith("refused")) assertEquals(found, out[i], stream.toHex());
        else assert(found.startsWith(out[i].replace(/ ?refused/, "")), stream.toHex());
      }
    }),
  PYTHON,
);

// --------------------------------------------------------------------------------- the server --

/** What a server did with a stream. */
interface Outcome {
  /** Its answers; a refusal is `error`, since its words may show fewer bytes. */
  answers: unknown[];
  /** Who came on the roster. */
  students: unknown[];
}

/** Sends the pieces, ends the stream, and reads every answer. */
async function outcomeOf(lab: Lab, pieces: Uint8Array[]): Promise<Outcome> {
  using client = await lab.visit();
  const before = lab.roster.length;
  const sending = (async () => {
    for (const piece of pieces) await client.send(piece);
    client.closeWrite();
  })();
  const answers = (await client.receiveAll()).map((each) => isError(each) ? "error" : each);
  await sending;
  return { answers, students: lab.roster.slice(before) };
}

/** An acknowledgement for each line of the roster; then an error at the most. */
function assertAnswersMatch({ answers, students }: Outcome, what: string): void {
  const expected = students.map(() => ACK as unknown);
  if (answers.at(-1) === "error") expected.push("error");
  assertEquals(answers, expected, what);
}

/** Sends this and is gone at once, by a reset or by a close. */
async function sendAndVanish(port: number, stream: Uint8Array, random: Random): Promise<void> {
  const client = await Client.connect(port);
  client.send(stream);
  if (random(2)) await client.reset();
  else client.close();
}

netTest(
  "fuzz: a line for each acknowledgement, and the same in whatever pieces",
  () =>
    withSeeds(async (random) => {
      await using lab = new Lab();
      for (let i = 0; i < 200; i++) {
        const stream = randomStream(random);
        if (random(8) === 0) await sendAndVanish(lab.port, stream, random);
        const whole = await outcomeOf(lab, [stream]);
        assertAnswersMatch(whole, stream.toHex());
        for (const pieces of [randomPieces(random, stream), oneByOne(stream)]) {
          assertEquals(await outcomeOf(lab, pieces), whole, stream.toHex());
        }
      }
      await lab.check();
      assertEquals(lab.log.of("ERROR"), []);
    }),
);

runTest("npm's packages and @std's: a thousand streams, the same answers and roster", async () => {
  const random = randomizer(SEEDS[1]);
  const streams = Array.from({ length: 1000 }, () => randomStream(random));
  const npm = ["run", "--config", "npm/deno.json", "--allow-net", "main.ts", "--port", "0"];
  await using ours = await startServer();
  await using theirs = await Process.server(Deno.execPath(), npm);
  const results = await Promise.all([ours, theirs].map(async (server) => {
    const printed = Promise.all([server.stdout.rest(), server.stderr.rest()]); // lest a pipe fills up
    const answers: unknown[][] = [];
    for (const stream of streams) {
      using client = await visit(server.port);
      await client.send(stream);
      client.closeWrite();
      answers.push((await client.receiveAll()).map((each) => isError(each) ? "error" : each));
    }
    server.child.kill("SIGTERM");
    const [roster] = await printed;
    return { answers, roster };
  }));
  assertEquals(results[0], results[1]);
  assert(results[0].roster.length > 100);
}, !configFlags().includes("npm/deno.json"));
