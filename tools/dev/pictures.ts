/**
 * Makes the pictures in `docs/` again, from real runs. `deno task pictures --help` says more.
 *
 * @module
 */

import { runTool } from "../shared/tool.ts";

const HELP = `Makes the pictures in docs/ again, from real runs of the class and of the ladder.
Usage: deno task pictures

It takes a minute and a half, and its figures are those of this machine: nothing else should run on
it. It needs Linux, whose queue the picture of a short backlog shows, and /usr/bin/python3.`;

await runTool(HELP, new URL("pictures_command.ts", import.meta.url));
