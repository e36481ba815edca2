/**
 * Tests of the tasks for whoever works on the project: the executables, and that each task says what
 * it does before it does it.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { ROOT } from "../shared/config.ts";
import { type Ended, Process } from "../shared/process.ts";

/** A small program of this system: Deno takes it for the runtime that an executable begins with. */
const SMALL_PROGRAM = "/bin/true";
const isLinux = Deno.build.os === "linux" && Deno.build.arch === "x86_64";

function task(name: string, args: string[], env: Record<string, string> = {}): Promise<Ended> {
  return new Process(Deno.execPath(), ["task", "--quiet", name, ...args], { env }).end();
}

async function withFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test({
  name: "an executable holds main.ts, and may use the network alone",
  ignore: !isLinux,
  fn: () =>
    withFolder(async (folder) => {
      const env = { DENORT_BIN: SMALL_PROGRAM };
      const { code, out } = await task("compile", ["--out", folder, "linux-x64"], env);
      const file = `${folder}/lab-linux-x64`;
      assertEquals([code, out], [0, [
        `ok      ${file}`,
        `1 of 1 executables are in ${folder}/`,
      ]]);
      const text = new TextDecoder().decode(await Deno.readFile(file));
      const permissions = JSON.parse(text.match(/"permissions":(\{[^}]*\})/)?.[1] ?? "{}");
      const allowed = Object.keys(permissions).filter((name) =>
        name.startsWith("allow_") && name !== "allow_import" && permissions[name] !== null
      );
      assertEquals(allowed, ["allow_net"]);
      assert(
        text.includes(await Deno.readTextFile(new URL("main.ts", ROOT))),
        "main.ts is missing",
      );
    }),
});

Deno.test("an executable whose runtime cannot be had: a sentence, exit status 1", () =>
  withFolder(async (folder) => {
    const env = { DENORT_BIN: `${folder}/nowhere` };
    const { code, out } = await task("compile", ["--out", folder, "windows"], env);
    assertEquals([code, out.length], [1, 2], out.join("\n"));
    assert(out[0].startsWith(`FAILED  ${folder}/lab-windows-x64.exe: error: `), out[0]);
    assertEquals(out[1], `0 of 1 executables are in ${folder}/`);
  }));

Deno.test("an executable for a system that there is not: exit status 2", async () => {
  const { code, out, err } = await task("compile", ["amiga"]);
  assertEquals([code, out], [2, []]);
  assert(
    err[0].startsWith("No executable has amiga in its name: there are lab-linux-x64,"),
    err[0],
  );
});

Deno.test("each task of the project says with --help what it does, and does not do it", async () => {
  for (const name of ["bench", "bundle", "check", "compile", "soak"]) {
    const { code, out } = await task(name, ["--help"]);
    assertEquals([code, out[0]?.split(" [")[0]], [0, `Usage: deno task ${name}`], name);
    assert(/ (second|minute|s)s?\b/.test(out.join(" ")), `${name} does not say how long it takes`);
  }
});
