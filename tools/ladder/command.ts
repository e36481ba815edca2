/**
 * The command of the ladder: reads a log, and prints the picture of a session.
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import { printable, shorten } from "../shared/text.ts";
import { UsageError } from "../shared/tool.ts";
import { toSvg } from "../shared/vega.ts";
import { headline, ladder } from "./chart.ts";
import { clientsOf, type Log, readLog, sessionOf } from "./records.ts";

const SHOWN = 80; // characters of a line that could not be read

function parse(args: string[]): string | undefined {
  const unknown = (arg: string) => {
    if (arg !== "") throw new UsageError(`Unknown option ${arg}: there is --client (see --help)`);
  };
  const { client } = parseArgs(args, { string: ["client"], unknown });
  if (client === "") throw new UsageError("--client needs an address, as 127.0.0.1:51002");
  return client === undefined ? undefined : `${client}`;
}

/**
 * The SVG document of one session in the log.
 *
 * @param wanted The address of the client; the first one of the log if it is left out.
 * @throws {Error} When the log shows no such session.
 */
export async function draw(log: Log, wanted?: string): Promise<string> {
  const clients = clientsOf(log);
  if (clients.length === 0) {
    const start = "start the server with --log-level DEBUG --log-format json";
    throw new Error(`No session in this log: ${start}. ${contentOf(log)}`);
  }
  const client = wanted ?? clients[0];
  if (!clients.includes(client)) {
    throw new Error(`No client ${client} in this log: there are ${clients.join(", ")}`);
  }
  const session = sessionOf(log, client);
  return await toSvg(ladder(session), headline(session));
}

/** What a log has that shows no session. */
function contentOf({ records, otherLines }: Log): string {
  const wire = records.length === 0
    ? "It has no record of a client."
    : `It has records of clients, but none of the wire: ${records.length}.`;
  return [wire, ...aboutLines(otherLines)].join(" ");
}

/** Which lines could not be read, if there are some. */
function aboutLines(lines: string[]): string[] {
  if (lines.length === 0) return [];
  const first = shorten(printable(lines[0]), SHOWN);
  return [`Lines that are no records: ${lines.length}, the first one is: ${first}`];
}

/** Runs the command line. */
export async function run(args: string[]): Promise<number> {
  const client = parse(args);
  if (Deno.stdin.isTerminal()) {
    throw new UsageError("The log comes from standard input: deno task ladder < log.jsonl");
  }
  const log = readLog(await new Response(Deno.stdin.readable).text());
  console.log(await draw(log, client));
  const torn = log.otherLines.filter((line) => line.includes("{"));
  for (const text of aboutLines(torn)) console.error(text); // other programs print whole lines, too
  return 0;
}
