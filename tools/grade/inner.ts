/**
 * The grader in a sandbox: it makes one experiment, and writes its outcome as one line of JSON. The
 * grader outside writes this module, bundled and with the task before it, to Deno's standard input.
 *
 * @module
 */

import { perform } from "./experiment.ts";
import type { Outcome } from "./outcome.ts";
import { LAB, ORIGINAL, SCRATCH, type Task } from "./task.ts";

/**
 * Closes the ways to this process for a server that has the same user id, as it has where an
 * ordinary user grades: its memory and its pipes, and the files that the shell of the person who
 * grades has left open for all that it starts.
 */
function hideFromServer(): void {
  const PR_SET_DUMPABLE = 4;
  const CLOSE_RANGE_CLOEXEC = 4;
  const { symbols } = Deno.dlopen("libc.so.6", {
    prctl: { parameters: ["i32", "usize", "usize", "usize", "usize"], result: "i32" },
    close_range: { parameters: ["u32", "u32", "i32"], result: "i32", optional: true },
  });
  if (symbols.prctl(PR_SET_DUMPABLE, 0n, 0n, 0n, 0n) !== 0) throw new Error("prctl has failed");
  symbols.close_range?.(3, 2 ** 32 - 1, CLOSE_RANGE_CLOEXEC);
}

/** Fills the folder of the server: what is small is copied, to what is large there are links. */
async function fillFolder({ world, large, user }: Task): Promise<void> {
  const [original, folder] = [world + ORIGINAL, world + SCRATCH];
  const names = new Set(Array.from(Deno.readDirSync(original), ({ name }) => name));
  for (const name of large) {
    Deno.symlinkSync(`${ORIGINAL}/${name}`, `${folder}/${name}`);
    names.delete(name);
  }
  const small = Array.from(names, (name) => `${original}/${name}`);
  if (small.length > 0) await run("cp", ["-R", "-t", folder, "--", ...small]);
  if (user !== undefined) await run("chown", ["-R", `${user}:${user}`, folder]);
}

async function run(program: string, args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(program, { args }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr).trim());
}

async function performTask(task: Task): Promise<Outcome> {
  hideFromServer();
  Deno.umask(0o022); // not that of the person who grades
  await fillFolder(task);
  Deno.writeTextFileSync(`${task.world}${LAB}/pickle.py`, task.pickle);
  const { command, wrappers, port, silence } = task;
  return await perform(task.experiment, {
    launch: { command, folder: task.world + SCRATCH, labFolder: LAB, wrappers },
    port,
    silence,
    isAlone: true,
    usedPorts: new Set(),
    say: () => {},
  });
}

const { task } = globalThis as unknown as { task?: Task };
if (task === undefined) Deno.exit(); // the grader outside asks only whether this works
try {
  console.log(JSON.stringify({ key: task.key, outcome: await performTask(task) }));
} catch (error) {
  console.log(JSON.stringify({ key: task.key, error: (error as Error).message }));
}
Deno.exit();
