/**
 * Tests of the README: what it says is so.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { firstBlock, includes, main, readProjectFile, runTest } from "./shared.ts";

/** The cells of the tables in a section, row by row, without the head of the first table. */
function tableRows(markdown: string, title: string): string[][] {
  const section = markdown.split(`\n## ${title}\n`)[1].split("\n## ")[0];
  const rows = section.split("\n").filter((line) => line.startsWith("|")).slice(2);
  return rows.map((row) => row.slice(1, -1).split("|").map((cell) => cell.trim()));
}

/** The README has the options of `--help`, with the same words. */
async function assertOptionsAgree(readme: string): Promise<void> {
  const { out: help } = await main("--help").end();
  const options = help.flatMap((line) => [...line.matchAll(/^ {2}(--\S+ \S+) +(.+)$/g)]);
  const expected = options.map(([, option, meaning]) => [`\`${option}\``, meaning]);
  assertEquals(tableRows(readme, "Options"), expected);
}

/** The first commands of the README are the ones that are tested for each change. */
async function assertCommandsAgree(readme: string): Promise<void> {
  const ci = await readProjectFile(".ci/run");
  const commands = firstBlock(readme, "sh").trim().split("\n");
  assertEquals(commands, ["npx deno task start", "npx deno task test"]);
  for (const command of commands) includes(ci, command);
}

/** Each task that the README names is in `deno.json`. */
async function assertTasksExist(readme: string): Promise<void> {
  const { tasks } = JSON.parse(await readProjectFile("deno.json"));
  for (const [, task] of readme.matchAll(/deno task ([\w:]+)/g)) assert(task in tasks, task);
}

/** Each file that the README names can be read. */
async function assertFilesExist(readme: string): Promise<void> {
  const names = readme.matchAll(/`([\w./]+\.(?:ts|py|json|lock))`/g);
  for (const [, file] of names) await readProjectFile(file);
}

runTest("the README: its options, events, commands and names are those of the code", async () => {
  const readme = await readProjectFile("README.md");
  await assertOptionsAgree(readme);
  await assertCommandsAgree(readme);
  await assertTasksExist(readme);
  await assertFilesExist(readme);
});
