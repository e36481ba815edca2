/**
 * The picture of a class, as a specification in Vega-Lite.
 *
 * @module
 */

import { wrap } from "../shared/text.ts";
import type { TopLevelSpec } from "../shared/vega.ts";
import { median, neverServed, queueOverTime, waitingTimes } from "./numbers.ts";
import { COLORS, rows } from "./rows.ts";
import type { Run } from "./run.ts";
import type { Kind } from "./visit.ts";

/** The size of a picture. */
export interface Layout {
  /** Whether two runs stand beside each other, or one above the other. */
  readonly isWide: boolean;
  /** How wide the charts are together that stand beside each other, in px, without labels. */
  readonly chartWidth: number;
  /** How many characters of a client's end are shown. */
  readonly endLength: number;
}

/** For a screen or a page. */
export const WIDE: Layout = { isWide: true, chartWidth: 760, endLength: 38 };
/** For a phone. */
export const NARROW: Layout = { isWide: false, chartWidth: 200, endLength: 16 };

const QUEUE_HEIGHT = 110; // px
const LABELS_WIDTH = 180; // px, of the texts beside a chart
/** How wide Vega takes a character of a title for, in px: without a browser it can only guess. */
const CHARACTER = { title: 12, subtitle: 9.6 };

/** The specification of a picture of one run, or of several to compare. */
export function chart(runs: Run[], layout: Layout): TopLevelSpec {
  const panels = runs.map((run) => panel(run, runs, layout));
  const arranged = layout.isWide ? { hconcat: panels } : { vconcat: panels };
  const spec = { ...arranged, spacing: 40, title: titleOf(runs, layout) };
  return spec as TopLevelSpec;
}

/** What was run. */
function titleOf(runs: Run[], layout: Layout): object {
  const servers = runs.map(({ title }) => title).join(", and ");
  const [{ plan }] = runs;
  const arrive = `They arrive within ${plan.arriveMs / 1000} s`;
  const stay = plan.stayMs === undefined
    ? "until the server closes"
    : `for ${plan.stayMs / 1000} s`;
  const text = `${plan.kinds.length} clients visit ${servers}`;
  const subtitle = `${arrive}, and stay ${stay} after the acknowledgement.${others(plan.kinds)}`;
  const result = runs.length === 1 ? summary(runs[0]) : "";
  const width = layout.chartWidth + LABELS_WIDTH;
  return { ...titleLines(width, text, subtitle, result), anchor: "start" };
}

/** A title and the lines under it, as long as the picture is wide. */
function titleLines(width: number, text: string, ...subtitles: string[]): object {
  const subtitle = subtitles.flatMap((line) => wrap(line, width / CHARACTER.subtitle));
  return { text: wrap(text, width / CHARACTER.title), subtitle };
}

/** The clients that are not the usual ones: how many of each kind. */
function others(kinds: Kind[]): string {
  const counts = Object.entries(Object.groupBy(kinds, (kind) => kind))
    .filter(([kind]) => kind !== "good")
    .map(([kind, all]) => `${all.length} ${kind}`);
  return counts.length > 0 ? ` Among them: ${counts.join(", ")}.` : "";
}

/** One run: a row for each client, and below it the length of the queue. */
function panel(run: Run, runs: Run[], layout: Layout): object {
  const beside = layout.isWide ? runs.length : 1;
  const width = layout.chartWidth / beside;
  const title = titleLines(width + LABELS_WIDTH, run.title, summary(run));
  const seconds = Math.max(...runs.map(({ ms }) => ms)) / 1000;
  const x = {
    field: "from",
    type: "quantitative",
    scale: { domain: [0, seconds], nice: false },
  };
  return {
    title: runs.length > 1 ? { ...title, frame: "group" } : undefined,
    vconcat: [rows(run, x, width, layout.endLength / beside), queue(run, runs, x, width)],
    resolve: { scale: { x: "shared" } },
    spacing: 12,
  };
}

function summary(run: Run): string {
  const times = waitingTimes(run).map((ms) => (ms / 1000).toFixed(1));
  const lost = neverServed(run).length;
  const never = lost > 0 ? `${lost} never served` : "all good ones served";
  if (times.length === 0) return `Nobody was greeted; ${never}.`;
  const middle = (median(waitingTimes(run)) / 1000).toFixed(1);
  return `Waited for the greeting: median ${middle} s, longest ${times.at(-1)} s; ${never}.`;
}

/** How many clients were connected and not greeted, over time. */
function queue(run: Run, runs: Run[], x: object, width: number): object {
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
    width,
    height: QUEUE_HEIGHT,
    data: { values },
    mark: {
      type: "area",
      interpolate: "step-after",
      color: COLORS.waiting,
      line: { color: "black" },
    },
    encoding: { x: { ...x, title: "seconds since the first client arrived" }, y },
  };
}
