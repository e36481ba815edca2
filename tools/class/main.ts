/**
 * Shows a class: many clients visit a server at once, and a table and a picture tell how long each
 * one waited. `deno task class --help` says more.
 *
 * @module
 */

import { runTool } from "../shared/tool.ts";
import { HELP } from "./help.ts";

await runTool(HELP, new URL("command.ts", import.meta.url));
