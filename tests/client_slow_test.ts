/**
 * Tests of our client that take long, in a file of their own: so they run beside the others.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { encode } from "@std/msgpack";
import { submit } from "../main.ts";
import { ALICE, asClient, netTest, runTest, slowness } from "./shared.ts";

netTest("our client that has failed says nothing later", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const told: string[] = [];
  const onWaiting = (waitingFor: string) => void told.push(waitingFor);
  const failing = submit(ALICE, { port: listener.addr.port, onWaiting }).catch(() => "failed");
  const conn = await listener.accept();
  conn.close();
  assertEquals(await failing, "failed");
  await slowness(1200); // It would have said so after a second.
  assertEquals(told, []);
});

runTest("our client says after 10 s that the server is silent", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await using client = asClient(listener.addr.port);
  using conn = await listener.accept();
  await conn.write(encode({ clientid: 60644 }));
  const start = performance.now();
  const { code, out, err } = await client.end();
  assert(performance.now() - start > 9000);
  const says = "the server has the request, but no acknowledgement in 10 s";
  assertEquals([code, out.length, err], [1, 1, [says]]);
});
