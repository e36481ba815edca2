/**
 * The picture of a class, as a specification in Vega-Lite.
 *
 * @module
 */

import { shorten, wrap } from "../text.ts";
import type { TopLevelSpec } from "../vega.ts";
import { median, neverServed, queueOverTime, stretches, waited, waitingTimes } from "./numbers.ts";
import type { Run } from "./run.ts";
import type { Kind, Visit } from "./visit.ts";

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

const ROW_HEIGHT = { few: 18, many: 14 }; // px
const MANY = 50; // rows
const QUEUE_HEIGHT = 110; // px
const LABELS_WIDTH = 180; // px, of the texts beside a chart
/** How wide Vega takes a character of a title for, in px: without a browser it can only guess. */
const CHARACTER = { title: 12, subtitle: 9.6 };

/**
 * The colours of Okabe and Ito, which the colour-blind can tell apart. Who waits is a thin bar and
 * who occupies the server a thick one, so a print in black and white shows the difference, too.
 */
const COLORS = {
  connecting: "#cccccc",
  waiting: "#E69F00",
  served: "#0072B2",
  lingering: "#56B4E9",
};
const LEGEND = { title: null, orient: "top" };
const PHASES = Object.keys(COLORS);
const THIN = ["connecting", "waiting"];

/** The marks on a row from above to below: when it happened, its shape, and its place in px. */
const MARKS = [
  { name: "greeting", field: "greetedAt", shape: "triangle-down", place: -1 },
  { name: "request", field: "requestedAt", shape: "circle", place: 0 },
  { name: "acknowledgement", field: "acknowledgedAt", shape: "triangle-up", place: 1 },
] as const;

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

function labelOf({ number, kind }: Visit): string {
  return kind === "good" ? `${number}` : `${number} ${kind}`;
}

function rows(run: Run, x: object, width: number, endLength: number): object {
  const isMany = run.visits.length > MANY;
  const rowHeight = isMany ? ROW_HEIGHT.many : ROW_HEIGHT.few;
  const y = {
    field: "client",
    type: "ordinal",
    sort: null,
    scale: { domain: run.visits.map(labelOf), paddingInner: 0.15 },
    axis: {
      labelFontSize: rowHeight * 0.65,
      labelOverlap: false,
      ticks: false,
      domain: false,
      offset: 8,
    },
    title: "client, by arrival",
  };
  return {
    width,
    height: run.visits.length * rowHeight,
    encoding: { y },
    layer: [
      bars(run, { ...x, title: null }, true),
      bars(run, { ...x, title: null }, false),
      ...MARKS.map((mark) => marks(run, mark, rowHeight)),
      ...endings(run, width, rowHeight, endLength),
    ],
    resolve: { legend: { color: "shared" } },
  };
}

/** The bars of those who wait, which are thin; or of those with the server. */
function bars(run: Run, x: object, isThin: boolean): object {
  const values = run.visits.flatMap((visit) =>
    stretches(visit, run)
      .filter(({ phase }) => THIN.includes(phase) === isThin)
      .map(({ phase, from, to }) => ({
        client: labelOf(visit),
        phase,
        from: from / 1000,
        to: to / 1000,
      }))
  );

  const scale = { domain: PHASES, range: Object.values(COLORS) };
  return {
    data: { values },
    mark: { type: "bar", height: { band: isThin ? 0.35 : 0.95 } },
    encoding: { x, x2: { field: "to" }, color: { field: "phase", scale, legend: LEGEND } },
  };
}

function marks(run: Run, mark: typeof MARKS[number], rowHeight: number): object {
  const values = run.visits.map((visit) => ({ client: labelOf(visit), at: visit[mark.field] }))
    .filter(({ at }) => at !== undefined)
    .map(({ client, at = 0 }) => ({ client, from: at / 1000, mark: mark.name }));
  const scale = {
    domain: MARKS.map(({ name }) => name),
    range: MARKS.map(({ shape }) => shape),
  };

  return {
    data: { values },
    mark: {
      type: "point",
      filled: false,
      fill: "white",
      color: "black",
      strokeWidth: 0.8,
      opacity: 1,
      size: (rowHeight * 0.32) ** 2,
      yOffset: mark.place * rowHeight * 0.28,
    },
    encoding: {
      x: { field: "from", type: "quantitative" },
      shape: { field: "mark", scale, legend: LEGEND },
    },
  };
}

/** Two columns at the right: how long each client waited, and how it ended. */
function endings(run: Run, width: number, rowHeight: number, endLength: number): object[] {
  const fontSize = Math.min(11, rowHeight * 0.65);
  const wait = width + fontSize * 4;
  const values = run.visits.map((visit) => ({
    client: labelOf(visit),
    waited: waitText(visit),
    end: shorten(visit.end, endLength),
  }));
  const column = (field: string, align: string, x: number) => ({
    data: { values },
    mark: { type: "text", align, baseline: "middle", fontSize },
    encoding: { x: { value: x }, text: { field, type: "nominal" } },
  });
  const head = (text: string, align: string, x: number) => ({
    data: { values: [{}] },
    mark: { type: "text", align, fontSize: 11, fontStyle: "italic" },
    encoding: { x: { value: x }, y: { value: -7 }, text: { value: text } },
  });
  return [
    column("waited", "right", wait),
    column("end", "left", wait + fontSize),
    head("waited", "right", wait),
    head("its end", "left", wait + fontSize),
  ];
}

function waitText(visit: Visit): string {
  const ms = waited(visit);
  return ms === undefined ? "" : `${(ms / 1000).toFixed(1)} s`;
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
