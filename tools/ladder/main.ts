/**
 * Draws the ladder of a session: two lines of life, and an arrow for each send and recv.
 * `deno task ladder --help` says more.
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import { ladder } from "./chart.ts";
import { clientsOf, parseLog, sessionOf } from "./records.ts";
import { toSvg } from "../shared/vega.ts";

const HELP = `The ladder of a session: what went over a connection, as a picture in SVG.
Usage: deno task start --log-level DEBUG --log-format json 2> log.jsonl
       deno task ladder < log.jsonl > ladder.svg

  --client ADDRESS   which client of the log, as 127.0.0.1:51002; the first one if it is left out
  --help`;

/** A wrong command line; its message says what would be right. */
class UsageError extends Error {}

function parse(args: string[]): { client?: string } {
  const unknown = (arg: string) => {
    if (arg !== "") throw new UsageError(`Unknown option ${arg}: there is --client (see --help)`);
  };
  const { client } = parseArgs(args, { string: ["client"], unknown });
  if (client === "") throw new UsageError("--client needs an address, as 127.0.0.1:51002");
  return { client: client === undefined ? undefined : `${client}` };
}

/**
 * The SVG document of one session in the log.
 *
 * @param log The lines that the server has written with `--log-level DEBUG --log-format json`.
 * @param wanted The address of the client; the first one of the log if it is left out.
 * @throws {Error} When the log shows no such session.
 */
export async function draw(log: string, wanted?: string): Promise<string> {
  const records = parseLog(log);
  const clients = clientsOf(records);
  if (clients.length === 0) {
    throw new Error(
      "No session in this log: start the server with --log-level DEBUG --log-format json",
    );
  }
  const client = wanted ?? clients[0];
  if (!clients.includes(client)) {
    throw new Error(`No client ${client} in this log: there are ${clients.join(", ")}`);
  }
  return await toSvg(ladder(sessionOf(records, client)));
}

async function main(args: string[]): Promise<void> {
  if (args.includes("--help")) return console.log(HELP);
  const { client } = parse(args);
  if (Deno.stdin.isTerminal()) {
    throw new UsageError("The log comes from standard input: deno task ladder < log.jsonl");
  }
  const log = await new Response(Deno.stdin.readable).text();
  console.log(await draw(log, client));
}

if (import.meta.main) {
  try {
    await main(Deno.args);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    Deno.exit(error instanceof UsageError ? 2 : 1);
  }
}
