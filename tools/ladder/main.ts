/**
 * Draws the ladder of a session: two lines of life, and an arrow for each send and recv.
 * `deno task ladder --help` says more.
 *
 * @module
 */

import { runTool } from "../shared/tool.ts";

const HELP = `The ladder of a session: what went over a connection, as a picture in SVG.
Usage: deno task start --log-level DEBUG --log-format json 2> log.jsonl
       deno task ladder < log.jsonl > ladder.svg

  --client ADDRESS   which client of the log, as 127.0.0.1:51002; the first one if it is left out
  --help`;

await runTool(HELP, new URL("command.ts", import.meta.url));
