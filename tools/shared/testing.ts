/**
 * What the tests of several tools share.
 *
 * @module
 */

import { assert } from "@std/assert";
import { SaxesParser } from "saxes";
import { TOOLS_FLAGS } from "./config.ts";
import { Process, type ProcessOptions } from "./process.ts";

/** Another python3 may have a package of that name, or none: the tests take the system's. */
export const PYTHON = "/usr/bin/python3";

/** Fails with the text if it does not match. */
export function assertMatch(text: string, pattern: RegExp): void {
  assert(pattern.test(text), `${pattern} is not in: ${text}`);
}

/** A test that starts programs, and speaks with them over sockets. */
export function processTest(name: string, fn: () => Promise<void>, isPossible = true): void {
  Deno.test({ name, ignore: !isAllowed || !isPossible, fn });
}

const permissions = ["net", "run", "read", "write"] as const;
const states = await Promise.all(permissions.map((name) => Deno.permissions.query({ name })));
const isAllowed = states.every(({ state }) => state === "granted");

/** Starts a module of `tools/` as its task does; the options of Deno are for this one run. */
export function startTool(
  tool: string,
  args: string[],
  options: ProcessOptions = {},
  denoOptions: string[] = [],
): Process {
  const allowed = permissions.map((name) => `--allow-${name}`);
  const deno = ["run", "--quiet", "--no-prompt", ...TOOLS_FLAGS, ...allowed, ...denoOptions];
  return new Process(Deno.execPath(), [...deno, tool, ...args], options);
}

/** A text of a picture. */
export interface Text {
  /** Its characters. */
  readonly text: string;
  /** Where it stands in the picture, in px from the top. */
  readonly y: number;
  /** Its size in px. */
  readonly fontSize: number;
  /** The number of the axis that it belongs to; 0 for none. */
  readonly axis: number;
}

/** The texts of an SVG document. Throws if it is not well-formed. */
export function textsOf(svg: string): Text[] {
  const texts: Text[] = [];
  const open = [{ name: "", y: 0, fontSize: 0, axis: 0 }];
  let axes = 0;
  const parser = new SaxesParser();
  parser.on("error", (error) => {
    throw error;
  });
  parser.on("opentag", ({ name, attributes }) => {
    const parent = open[open.length - 1];
    const y = Number(`${attributes.transform}`.match(/^translate\([^,]+,(-?[\d.]+)\)/)?.[1] ?? 0);
    const isAxis = `${attributes.class}`.endsWith(" role-axis");
    const fontSize = parseFloat(`${attributes["font-size"]}`) || parent.fontSize;
    open.push({ name, y: parent.y + y, fontSize, axis: isAxis ? ++axes : parent.axis });
  });
  parser.on("text", (text) => {
    const { name, ...place } = open[open.length - 1];
    if (name === "text" || name === "tspan") texts.push({ text, ...place });
  });
  parser.on("closetag", () => open.pop());
  parser.write(svg).close();
  return texts;
}

/** The labels of the axes that have this title. */
export function labelsOf(svg: string, title: string): Text[] {
  const texts = textsOf(svg);
  const axes = texts.filter(({ text }) => text === title).map(({ axis }) => axis);
  return texts.filter(({ text, axis }) => axes.includes(axis) && text !== title);
}

/** A port that nobody uses at the moment, below those that the system gives to connections. */
export function freePort(): number {
  for (;;) {
    lastPort++;
    try {
      Deno.listen({ hostname: "127.0.0.1", port: lastPort }).close();
      return lastPort;
    } catch { // It is in use.
    }
  }
}
/** Files of tests that run side by side begin at different places. */
let lastPort = 13_000 + Math.floor(Math.random() * 15_000);

/** Whether the tests can start a server in Python: Windows has none at this place. */
export const hasPython: boolean = isAllowed && await canRun(PYTHON);

async function canRun(program: string): Promise<boolean> {
  try {
    const { success } = await new Deno.Command(program, { args: ["--version"] }).output();
    return success;
  } catch {
    return false;
  }
}
