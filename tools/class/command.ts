/**
 * The command of the class: starts the servers, sends the clients, and writes what they saw.
 *
 * @module
 */

import { dirname } from "node:path";
import { Process } from "../shared/process.ts";
import { printable } from "../shared/text.ts";
import { UsageError } from "../shared/tool.ts";
import { SLIDE, WIDE } from "./layout.ts";
import { neverServed } from "./numbers.ts";
import { type Options, parseOptions, type Plan, type Target } from "./options.ts";
import { page, picture, slidePage } from "./page.ts";
import { report, showProgress } from "./report.ts";
import { type Address, type Run, runClass } from "./run.ts";

/** Runs the class against one server after the other, until the person has had enough. */
async function runAll({ plan, targets }: Options, enough: AbortSignal): Promise<Run[]> {
  const runs: Run[] = [];
  for (const target of targets) {
    if (!enough.aborted) runs.push(await visitTarget(plan, target, enough));
  }
  return runs;
}

async function visitTarget(plan: Plan, target: Target, enough: AbortSignal): Promise<Run> {
  if ("port" in target) {
    const title = printable(target.label ?? `${target.host}/${target.port}`);
    return await runWithProgress(plan, { ...target, title }, enough);
  }
  const { label, serverOptions } = target;
  await using server = await Process.main(...serverOptions);
  server.end(); // It is read while it prints, so that no pipe fills up.
  const title = printable(label ?? ["main.ts", ...serverOptions].join(" "));
  const address = { title, host: "127.0.0.1", port: server.port };
  return await runWithProgress(plan, address, enough);
}

async function runWithProgress(plan: Plan, address: Address, enough: AbortSignal): Promise<Run> {
  console.error(`${plan.kinds.length} clients visit ${address.title}`);
  const stop = AbortSignal.any([enough, AbortSignal.timeout(plan.limitMs)]);
  let stopProgress = () => {};
  const run = await runClass(plan, address, stop, (visits) => {
    stopProgress = showProgress(visits, plan.kinds.length);
  });
  stopProgress();
  const refused = run.visits.filter(({ end }) => end.includes("ECONNREFUSED")).length;
  if (refused > 0 && refused === run.visits.length) {
    const where = `${address.host}/${address.port}`;
    throw new Error(`No server at ${where}: start it first, or say where it is (see --help)`);
  }
  return run;
}

/** Whether there is a folder for the files: better to know before the run than after it. */
async function checkFolder(out: string): Promise<void> {
  const folder = dirname(out);
  const { isDirectory } = await Deno.stat(folder).catch(() => ({ isDirectory: false }));
  if (!isDirectory) throw new UsageError(`--out: there is no folder ${folder}`);
}

async function write(runs: Run[], { out, isSlide }: Options): Promise<void> {
  const svg = await picture(runs, isSlide ? SLIDE : WIDE);
  await Deno.writeTextFile(`${out}.svg`, svg);
  await Deno.writeTextFile(`${out}.html`, isSlide ? slidePage(runs, svg) : await page(runs));
  console.log(`The picture: ${out}.svg, and ${out}.html for a browser`);
}

/** Runs the command line; the exit status is 0 if all good clients were served. */
export async function run(args: string[]): Promise<number> {
  const options = parseOptions(args);
  await checkFolder(options.out);
  const enough = new AbortController();
  Deno.addSignalListener("SIGINT", () => enough.abort());
  const runs = await runAll(options, enough.signal);
  for (const run of runs) console.log(`\n${report(run)}\n`);
  await write(runs, options);
  return runs.every((run) => neverServed(run).length === 0) ? 0 : 1;
}
