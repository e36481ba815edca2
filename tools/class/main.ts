/**
 * Shows a class: many clients visit a server at once, and a table and a picture tell how long each
 * one waited. `deno task class --help` says more.
 *
 * @module
 */

import { dirname } from "node:path";
import { HELP, type Options, parseOptions, type Plan, type Target, UsageError } from "./options.ts";
import { neverServed } from "./numbers.ts";
import { page, picture } from "./page.ts";
import { report, showProgress } from "./report.ts";
import { type Address, type Run, runClass } from "./run.ts";
import { LabServer } from "../shared/lab_server.ts";
import { printable } from "../shared/text.ts";

const USAGE_STATUS = 2; // the exit status for a wrong option, of our server, too

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
    const title = printable(`${target.host}/${target.port}`);
    return await runWithProgress(plan, { ...target, title }, enough);
  }
  const { serverOptions } = target;
  await using server = await LabServer.start(serverOptions);
  const title = printable(["main.ts", ...serverOptions].join(" "));
  return await runWithProgress(plan, { title, host: "127.0.0.1", port: server.port }, enough);
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

async function write(runs: Run[], out: string): Promise<void> {
  await Deno.writeTextFile(`${out}.svg`, await picture(runs));
  await Deno.writeTextFile(`${out}.html`, await page(runs));
  console.log(`The picture: ${out}.svg, and ${out}.html for a browser`);
}

/** Runs the command line; returns whether all good clients were served. */
async function main(args: string[]): Promise<boolean> {
  if (args.includes("--help")) {
    console.log(HELP);
    return true;
  }
  const options = parseOptions(args);
  await checkFolder(options.out);
  const enough = new AbortController();
  Deno.addSignalListener("SIGINT", () => enough.abort());
  const runs = await runAll(options, enough.signal);
  for (const run of runs) console.log(`\n${report(run)}\n`);
  await write(runs, options.out);
  return runs.every((run) => neverServed(run).length === 0);
}

/** The exit status for an error: what a server of ours says about a wrong option is one, too. */
function statusOf(error: unknown): number {
  if (error instanceof UsageError) return USAGE_STATUS;
  return error instanceof Error && error.cause === USAGE_STATUS ? USAGE_STATUS : 1;
}

if (import.meta.main) {
  try {
    Deno.exit(await main(Deno.args) ? 0 : 1);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    Deno.exit(statusOf(error));
  }
}
