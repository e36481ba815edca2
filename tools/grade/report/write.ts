/**
 * Writes the reports that a command line asks for. What only one of them needs is loaded for that one
 * only: an ordinary grading needs no package of it.
 *
 * @module
 */

import { join } from "node:path";
import type { ReportFiles, ReportName } from "../options.ts";
import { type Graded, type Grades, UsageError } from "../outcome.ts";
import { letterFor } from "./text.ts";

/** Makes the text of a report; nothing where there must be no file. */
type Writer = (grades: Grades) => string | undefined | Promise<string>;

/** How to load the writer of each report that is one file. */
const WRITERS: Record<Exclude<ReportName, "out">, () => Promise<Writer>> = {
  json: () => Promise.resolve((grades) => `${JSON.stringify(grades, null, 2)}\n`),
  csv: async () => (await import("./csv.ts")).csvOf,
  junit: async () => (await import("./junit.ts")).junitOf,
  gradescope: async () => (await import("./gradescope.ts")).gradescopeOf,
  classroom50: async () => (await import("./classroom50.ts")).classroom50Of,
};

/** Writes all reports anew, with what was graded so far. */
export type WriteReports = (grades: Grades) => Promise<void>;

/**
 * Loads what the reports need and makes their folder: what is wrong there shows before the grading,
 * and not an hour later.
 *
 * @throws {UsageError} When a file or the folder cannot be written.
 */
export async function prepareReports(files: ReportFiles): Promise<WriteReports> {
  const { out, ...single } = files;
  const tasks: WriteReports[] = [];
  for (const [name, path] of Object.entries(single)) {
    const write = await WRITERS[name as keyof typeof WRITERS]();
    if (path === "-") continue; // standard output gets it at the end
    orUsageError(path, () => Deno.writeTextFileSync(path, ""));
    tasks.push(async (grades) => await writeOrRemove(path, await write(grades)));
  }
  if (out !== undefined) {
    const { pageOf } = await import("./page.ts");
    orUsageError(out, () => Deno.mkdirSync(out, { recursive: true }));
    tasks.push((grades) => writeFolder(out, grades, pageOf));
  }
  return async (grades) => {
    for (const task of tasks) await task(grades);
  };
}

function orUsageError(path: string, write: () => void): void {
  try {
    write();
  } catch (error) {
    throw new UsageError(`Cannot write ${path}: ${(error as Error).message}`);
  }
}

async function writeOrRemove(path: string, text: string | undefined): Promise<void> {
  if (text === undefined) await Deno.remove(path).catch(() => {}); // it is gone already
  else await Deno.writeTextFile(path, text);
}

async function writeFolder(
  folder: string,
  grades: Grades,
  pageOf: (grades: Grades) => Promise<string>,
): Promise<void> {
  const names = fileNamesOf(grades.submissions);
  for (const [index, graded] of grades.submissions.entries()) {
    await Deno.writeTextFile(join(folder, names[index]), letterFor(graded, grades));
  }
  await Deno.writeTextFile(join(folder, "index.html"), await pageOf(grades));
}

/** File names that every system takes, each once. */
export function fileNamesOf(submissions: readonly Graded[]): string[] {
  const taken = new Set<string>();
  return submissions.map(({ name }) => {
    const known = name.replace(/[^\p{L}\p{N}._ -]+/gu, "_").slice(0, 100);
    const plain = known.replace(/^[. ]+|[. ]+$/g, "") || "submission";
    let unique = plain;
    for (let number = 2; taken.has(unique.toLowerCase()); number++) unique = `${plain}-${number}`;
    taken.add(unique.toLowerCase());
    return `${unique}.txt`;
  });
}
