/**
 * Benchmarks: the lab server beside a raw socket loop, in one run, on one machine. `deno task bench`.
 *
 * Each server is a process of its own, the clients are here. The figures that count are CPU times
 * of the server's process, all threads: the wall times of `Deno.bench` below them carry whatever
 * else the machine does.
 *
 * @module
 */

import { decode, encode } from "@std/msgpack";
import { cpuUsage } from "node:process";
import { Framer, serve } from "./main.ts";

const REQUEST = encode({
  student_name: "Alice Brown",
  github_username: "abrown",
  sid: 123456789,
});

// --------------------------------------------------------------------- the servers' side --

/** The least that a server can do: an id, then a byte for whatever a read brings. */
async function serveRaw(): Promise<void> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0, tcpBacklog: 10 });
  console.error((listener.addr as Deno.NetAddr).port);
  const buffer = new Uint8Array(65536);
  const greeting = new Uint8Array([1]);
  const answer = new Uint8Array([1]);
  for await (const conn of listener) {
    conn.setNoDelay();
    await conn.write(greeting);
    while (await conn.read(buffer) !== null) await conn.write(answer);
    conn.close();
  }
}

/** Tells the CPU time of this process, us, whenever a byte comes in. */
async function reportCpu(): Promise<void> {
  for await (const _ of Deno.stdin.readable) {
    const { user, system } = cpuUsage();
    console.error(user + system);
  }
  Deno.exit();
}

if (Deno.args[0] === "raw" || Deno.args[0] === "ours") {
  reportCpu();
  if (Deno.args[0] === "raw") await serveRaw();
  else serve({ port: 0, idleTimeout: 60_000, onListen: ({ port }) => console.error(port) });
}
