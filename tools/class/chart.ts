/**
 * The picture of a class, as a specification in Vega-Lite.
 *
 * @module
 */

import { wrap } from "../shared/text.ts";
import { CHARACTER_WIDTH, type TopLevelSpec } from "../shared/vega.ts";
import type { Kind } from "./kinds.ts";
import { lane, LANE_NAME } from "./lane.ts";
import { type Frame, type Layout, timeAxis } from "./layout.ts";
import { queueOverTime } from "./numbers.ts";
import type { Plan } from "./options.ts";
import { colorOf, PHASES } from "./phases.ts";
import { labelOf, rows } from "./rows.ts";
import type { Run } from "./run.ts";
import { message, summary, work } from "./words.ts";

const QUEUE_HEIGHT = 110; // px

/** A title, and the lines under it. */
interface Title {
  readonly text: string[];
  readonly subtitle: string[];
}

/** The specification of a picture of one run, or of several to compare. */
export function chart(runs: Run[], layout: Layout): TopLevelSpec {
  const panels = runs.map((run) => panel(run, runs, layout));
  const arranged = layout.isWide ? { hconcat: panels } : { vconcat: panels };
  const title = { ...titleOf(runs, layout), anchor: "start" };
  const config = textSizes(layout);
  return { ...arranged, spacing: 40, title, config } as TopLevelSpec;
}

/** What the picture says, in words: its title. */
export function headline(runs: Run[]): string {
  if (runs.length === 1) return `${capitalized(message(runs[0]))}. ${work(runs[0])}.`;
  return runs.map((run) => `At ${run.title}, ${message(run)}.`).join(" ");
}

function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function textSizes({ fontSize, titleSize }: Layout): TopLevelSpec["config"] {
  return {
    axis: { labelFontSize: fontSize, titleFontSize: fontSize },
    legend: { labelFontSize: fontSize, symbolSize: (fontSize * 0.9) ** 2 },
    title: { fontSize: titleSize, subtitleFontSize: fontSize },
  };
}

/** How wide the chart of each run is, in px: a slide has room for short labels of the rows only. */
function panelWidth(runs: Run[], layout: Layout): number {
  const width = layout.chartWidths[runs.length === 1 ? 0 : 1];
  if (layout.hasDetails) return width;
  const labels = runs.flatMap(({ visits }) => visits.map((visit) => labelOf(visit).length));
  const longest = Math.max(...labels, LANE_NAME.length);
  return width - (longest - LANE_NAME.length) * layout.fontSize * CHARACTER_WIDTH;
}

function titleOf(runs: Run[], layout: Layout): Title {
  const panels = layout.isWide ? runs.length : 1;
  const width = (panelWidth(runs, layout) + layout.labelsWidth) * panels;
  const [{ plan, title }] = runs;
  const visited = `${plan.kinds.length} clients visit ${
    runs.length === 1 ? title : "each server"
  }.`;
  const plain = layout.hasDetails ? `${visited} ${planText(plan)}` : visited;
  const result = runs.length === 1 && layout.hasDetails ? summary(runs[0]).join(" ") : "";
  return titleLines(width, layout, headline(runs), plain, result);
}

/** What the clients were to do. */
function planText(plan: Plan): string {
  const arrive = `They arrive within ${plan.arriveMs / 1000} s`;
  const stay = plan.stayMs === undefined
    ? "until the server closes"
    : `for ${plan.stayMs / 1000} s`;
  return `${arrive}, and stay ${stay} after the acknowledgement.${others(plan.kinds)}`;
}

/** The clients that are not the usual ones: how many of each kind. */
function others(kinds: Kind[]): string {
  const counts = Object.entries(Object.groupBy(kinds, (kind) => kind))
    .filter(([kind]) => kind !== "good")
    .map(([kind, all]) => `${all.length} ${kind}`);
  return counts.length > 0 ? ` Among them: ${counts.join(", ")}.` : "";
}

function titleOfPanel(run: Run, width: number, layout: Layout): object {
  const words = layout.hasDetails ? [headline([run]), ...summary(run)] : [];
  return { ...titleLines(width + layout.labelsWidth, layout, run.title, ...words), frame: "group" };
}

/** A title and the lines under it, each as long as the picture is wide. */
function titleLines(width: number, layout: Layout, text: string, ...lines: string[]): Title {
  const { fontSize, titleSize } = layout;
  const subtitle = lines.flatMap((line) => wrap(line, width / (fontSize * CHARACTER_WIDTH)));
  return { text: wrap(text, width / (titleSize * CHARACTER_WIDTH)), subtitle };
}

/** One run: a row for each client, below it what the server does, and the length of the queue. */
function panel(run: Run, runs: Run[], layout: Layout): object {
  const width = panelWidth(runs, layout);
  const endLength = layout.isWide ? layout.endLength / runs.length : layout.endLength;
  const ms = Math.max(...runs.map((run) => run.ms));
  const color = colorOf(runs, ms / width);
  const frame = { layout: { ...layout, endLength }, width, ms, color };
  const details = layout.hasDetails ? [queue(run, runs, frame)] : [];
  return {
    title: runs.length > 1 ? titleOfPanel(run, width, layout) : undefined,
    vconcat: [rows(run, frame), lane(run, frame), ...details],
    resolve: { scale: { x: "shared" } },
    spacing: 15,
    bounds: "flush",
  };
}

/** How many clients were connected and not greeted, over time. */
function queue(run: Run, runs: Run[], frame: Frame): object {
  const values = queueOverTime(run).map(({ time, length }) => ({ from: time / 1000, length }));
  const longest = Math.max(1, ...runs.flatMap(queueOverTime).map(({ length }) => length));
  const y = {
    field: "length",
    type: "quantitative",
    scale: { domain: [0, longest] },
    axis: { tickMinStep: 1, format: "d", tickCount: 5 },
    title: ["connected,", "not greeted"],
  };
  return {
    width: frame.width,
    height: QUEUE_HEIGHT,
    data: { values },
    mark: {
      type: "area",
      interpolate: "step-after",
      color: PHASES.waiting.color,
      line: { color: "black", strokeWidth: 1 },
    },
    encoding: { x: timeAxis(frame, true), y },
  };
}
