/**
 * Tests of waiting for a port, where there is no sandbox.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { Client } from "../shared/client.ts";
import { untilFree } from "./ports.ts";
import { canTest } from "./testing.ts";

const ignore = !(await canTest());

Deno.test(
  { name: "grade: it waits until a port is free, with a word", ignore },
  async () => {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = listener.addr;
    const words: string[] = [];
    await untilFree([port], (text) => {
      words.push(text);
      listener.close();
    });
    assertEquals(words, [
      `Port ${port} is still in use; waiting for it, up to a minute`,
    ]);
    await untilFree([port], (text) => words.push(text));
    assertEquals(words.length, 1);
  },
);

/** The end that closes first keeps the connection for a minute. */
Deno.test(
  { name: "grade: a port in TIME_WAIT is not free", ignore },
  async () => {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = listener.addr;
    const client = await Client.connect("127.0.0.1", port, 1000);
    const accepted = await listener.accept();
    accepted.close();
    await client.untilEnd(1000);
    client.close();
    listener.close();
    const words: string[] = [];
    const stop = (text: string) => {
      words.push(text);
      throw new Error("that is enough"); // it would wait for a minute
    };
    await untilFree([port], stop).catch(() => {});
    assertEquals(words, [
      `Port ${port} is still in use; waiting for it, up to a minute`,
    ]);
  },
);
