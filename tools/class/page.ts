/**
 * The picture of a class, and the page around it: one file, which loads nothing.
 *
 * @module
 */

import { escapeUTF8 } from "entities";
import { sizeOf, toSvg } from "../shared/vega.ts";
import { chart, headline } from "./chart.ts";
import { type Layout, NARROW, WIDE } from "./layout.ts";
import { report } from "./report.ts";
import type { Run } from "./run.ts";

const READABLE = 0.8; // of its own size: no picture becomes smaller than that to fit into a window

/** The picture as an SVG document. */
export function picture(runs: Run[], layout: Layout = WIDE): Promise<string> {
  return toSvg(chart(runs, layout), headline(runs));
}

/** The HTML page with the picture, in a form for screens and one for phones, and the tables. */
export async function page(runs: Run[]): Promise<string> {
  const wide = await picture(runs);
  const narrow = await picture(runs, NARROW);
  const leastHeight = Math.round(sizeOf(wide).height * READABLE);
  const style = `
  body { margin: 8px; font-family: Helvetica, Arial, sans-serif; }
  svg { display: block; height: auto; margin: auto; }
  .wide svg { max-height: max(calc(100vh - 16px), ${leastHeight}px); }
  .narrow { display: none; }
  pre { overflow-x: auto; font-size: 12px; }
  @media (max-width: 700px) {
    .wide { display: none; }
    .narrow { display: block; }
  }`;
  const tables = runs.map((run) => `<pre>${escapeUTF8(report(run))}</pre>`);
  const pictures = [`<div class="wide">${wide}</div>`, `<div class="narrow">${narrow}</div>`];
  return html(runs, style, [...pictures, ...tables]);
}

/** The HTML page of a slide: a picture that fills the screen. */
export function slidePage(runs: Run[], slide: string): string {
  return html(runs, "\n  body { margin: 0; }\n  svg { display: block; height: 100vh; }", [slide]);
}

function html(runs: Run[], style: string, parts: string[]): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escapeUTF8(headline(runs))}</title>
<style>${style}
</style>
${parts.join("\n")}
</html>
`;
}
