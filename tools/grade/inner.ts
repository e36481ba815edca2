/**
 * The grader in a sandbox: it reads one task from standard input, makes that experiment, and writes
 * its outcome as one line of JSON. The grader outside starts it; nobody else does.
 *
 * @module
 */

import { perform } from "./experiment.ts";
import type { Outcome } from "./outcome.ts";
import type { Task } from "./sandbox.ts";
import { LAB, ORIGINAL, SCRATCH } from "./sandbox_flags.ts";

/** Copies the folder of the submission, which is read-only, to where the server may write. */
async function copyFolder(user: number | undefined): Promise<void> {
  await run("cp", ["-R", `${ORIGINAL}/.`, SCRATCH]);
  if (user !== undefined) {
    await run("chown", ["-R", `${user}:${user}`, SCRATCH]);
  }
}

async function run(program: string, args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(program, { args })
    .output();
  if (!success) throw new Error(new TextDecoder().decode(stderr).trim());
}

async function performTask(task: Task): Promise<Outcome> {
  if (task.isCopied) await copyFolder(task.user);
  const { command, wrappers, port, silence } = task;
  return await perform(task.experiment, {
    launch: { command, folder: SCRATCH, labFolder: LAB, wrappers },
    port,
    silence,
    isAlone: true,
    usedPorts: new Set(),
    say: () => {},
  });
}

const task: Task = await new Response(Deno.stdin.readable).json();
if (task.key === undefined) Deno.exit(); // the grader outside asks only whether this works
try {
  console.log(
    JSON.stringify({ key: task.key, outcome: await performTask(task) }),
  );
} catch (error) {
  console.log(
    JSON.stringify({ key: task.key, error: (error as Error).message }),
  );
}
Deno.exit();
