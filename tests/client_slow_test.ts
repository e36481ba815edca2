/**
 * Tests of our client that take long, in a file of their own: so they run beside the others.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { encode } from "@std/msgpack";
import { submit } from "../main.ts";
import { ALICE, asClient, bytes, netTest, runTest, slowness } from "./shared.ts";

const HELLO = encode({ clientid: 60644 });

netTest("our client that has failed says nothing later", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const told: string[] = [];
  const onWaiting = (hint: string) => void told.push(hint);
  const failing = submit(ALICE, { port: listener.addr.port, onWaiting }).catch(() => "failed");
  const conn = await listener.accept();
  conn.close();
  assertEquals(await failing, "failed");
  await slowness(1200); // It would have said so after a second.
  assertEquals(told, []);
});

/** What a server sends that is then silent. */
const SILENT: [name: string, sent: Uint8Array][] = [
  ["no acknowledgement", HELLO],
  ["half a value behind the greeting", bytes(HELLO, 0xd3)],
];

async function waitForSilent(sent: Uint8Array): Promise<void> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await using client = asClient(listener.addr.port);
  using conn = await listener.accept();
  await conn.write(sent);
  const start = performance.now();
  const guard = setTimeout(() => client.child.kill("SIGKILL"), 20_000); // if it does not end
  const { code, out, err } = await client.end();
  clearTimeout(guard);
  assert(performance.now() - start > 9000);
  assertEquals([code, out.length, err], [1, 1, ["the server has sent no whole answer in 10 s"]]);
}

runTest("our client says after 10 s that the server is silent", async (t) => {
  await Promise.all(SILENT.map(([name, sent]) =>
    t.step({
      name,
      fn: () => waitForSilent(sent),
      sanitizeOps: false, // The steps run side by side.
      sanitizeResources: false,
      sanitizeExit: false,
    })
  ));
});
