/**
 * The page around the picture of a class: one file, which loads nothing.
 *
 * @module
 */

import { escapeUTF8 } from "entities";
import { sizeOf, toSvg } from "../shared/vega.ts";
import { chart, NARROW, WIDE } from "./chart.ts";
import { report } from "./report.ts";
import type { Run } from "./run.ts";

const READABLE = 0.8; // of its own size: no picture becomes smaller than that to fit into a window

/** The picture as an SVG document. */
export function picture(runs: Run[]): Promise<string> {
  return toSvg(chart(runs, WIDE));
}

/** The HTML page with the picture, in a form for screens and one for phones, and the tables. */
export async function page(runs: Run[]): Promise<string> {
  const wide = await picture(runs);
  const narrow = await toSvg(chart(runs, NARROW));
  const title = escapeUTF8(`A class: ${runs.map((run) => run.title).join(" and ")}`);
  const leastHeight = Math.round(sizeOf(wide).height * READABLE);
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${title}</title>
<style>
  body { margin: 8px; font-family: Helvetica, Arial, sans-serif; }
  svg { display: block; width: 100%; height: auto; margin: auto; }
  .wide svg { max-height: max(calc(100vh - 16px), ${leastHeight}px); }
  .narrow { display: none; }
  pre { overflow-x: auto; font-size: 12px; }
  @media (max-width: 700px) {
    .wide { display: none; }
    .narrow { display: block; }
  }
</style>
<div class="wide" role="img" aria-label="${title}">${wide}</div>
<div class="narrow" role="img" aria-label="${title}">${narrow}</div>
${runs.map((run) => `<pre>${escapeUTF8(report(run))}</pre>`).join("\n")}
</html>
`;
}
