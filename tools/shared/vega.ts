/**
 * Draws a Vega-Lite specification as SVG, without a browser.
 *
 * @module
 */

import { escapeUTF8 } from "entities";
import * as vega from "vega";
import { compile, type Config, type TopLevelSpec } from "vega-lite";

export type { TopLevelSpec };

/** What all pictures look like; a specification can have other sizes. */
const CONFIG: Config = {
  aria: false, // a screen reader would read each mark
  background: "white",
  font: "Helvetica, Arial, sans-serif",
  view: { stroke: null },
  axis: { titleFontWeight: "normal", gridColor: "#e5e5e5" },
  legend: { labelLimit: 0 },
  title: { fontSize: 15, subtitleFontSize: 12, subtitlePadding: 5, anchor: "start", offset: 12 },
};

/** Legends stand below each other; Vega-Lite has no option for that, and Vega has. */
const LEGENDS = {
  legend: { layout: { top: { anchor: "start", direction: "vertical" } } },
} as const;

/** How wide a character is, as a part of the font's size: no usual font is wider on the average. */
export const CHARACTER_WIDTH = 0.6;

/** A text as Vega knows it, as far as its width depends on it. */
interface TextItem {
  readonly fontSize?: number;
}

/** Vega's place for a function that says how wide a text is: its types do not have it. */
const { textMetrics } = vega as unknown as { textMetrics: { width: typeof widthOf } };
textMetrics.width = widthOf; // its own guess, 0.8, leaves a third of each line empty

function widthOf({ fontSize = 11 }: TextItem, text?: string): number {
  return `${text ?? ""}`.length * fontSize * CHARACTER_WIDTH;
}

const DIGITS = 1; // behind the point of a number of px

/**
 * The SVG document of a specification. It fills the window that it is opened in, and its texts are
 * escaped.
 *
 * @param name What a screen reader says in the place of the picture.
 * @throws {Error} When the specification is wrong.
 */
export async function toSvg(spec: TopLevelSpec, name: string): Promise<string> {
  const config: Config = vega.mergeConfig(CONFIG, spec.config ?? {});
  const runtime = vega.parse(compile({ ...spec, config }).spec, LEGENDS);
  const view = new vega.View(runtime, { renderer: "none", logLevel: vega.Warn });
  const svg = (await view.toSVG()).replace(/<[^>]+>/g, shortTag);
  const [start] = svg.match(/^<svg[^>]*>/) ?? [""];
  const root = start.replace(/ width="[\d.]+" height="[\d.]+"/, ' width="100%" role="img"');
  return `${root}<title>${escapeUTF8(name)}</title>${svg.slice(start.length)}`;
}

/** A tag without roles for its parts, which the picture as a whole has, and with short numbers. */
function shortTag(tag: string): string {
  return tag.replace(/ (role|aria-\w+|pointer-events)="[^"]*"/g, "")
    .replace(/\d+\.\d+(e-\d+)?/g, (number) => `${Number(Number(number).toFixed(DIGITS))}`);
}

/** The size in px that an SVG document of {@linkcode toSvg} has by itself. */
export function sizeOf(svg: string): { width: number; height: number } {
  const size = svg.match(/ viewBox="0 0 ([\d.]+) ([\d.]+)"/);
  return { width: Number(size?.[1]), height: Number(size?.[2]) };
}
