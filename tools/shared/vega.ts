/**
 * Draws a Vega-Lite specification as SVG, without a browser.
 *
 * @module
 */

import { parse, View, Warn } from "vega";
import { compile, type TopLevelSpec } from "vega-lite";

export type { TopLevelSpec };

/** What all pictures look like. */
const CONFIG: TopLevelSpec["config"] = {
  aria: false, // a screen reader would read each mark
  background: "white",
  font: "Helvetica, Arial, sans-serif",
  view: { stroke: null },
  axis: { labelFontSize: 11, titleFontSize: 12, titleFontWeight: "normal", gridColor: "#e5e5e5" },
  legend: {
    labelFontSize: 12,
    symbolSize: 110,
    labelLimit: 0,
  },
  title: { fontSize: 15, subtitleFontSize: 12, subtitlePadding: 5, anchor: "start", offset: 12 },
};

/** Legends stand below each other; Vega-Lite has no option for that, and Vega has. */
const LEGENDS = {
  legend: { layout: { top: { anchor: "start", direction: "vertical" } } },
} as const;

/**
 * The SVG document of a specification. Its texts are escaped.
 *
 * @throws {Error} When the specification is wrong.
 */
export async function toSvg(spec: TopLevelSpec): Promise<string> {
  const runtime = parse(compile({ ...spec, config: CONFIG }).spec, LEGENDS);
  const view = new View(runtime, { renderer: "none", logLevel: Warn });
  return await view.toSVG();
}

/** The size in px that an SVG document of {@linkcode toSvg} has by itself. */
export function sizeOf(svg: string): { width: number; height: number } {
  const size = svg.match(/ width="([\d.]+)" height="([\d.]+)"/);
  return { width: Number(size?.[1]), height: Number(size?.[2]) };
}
