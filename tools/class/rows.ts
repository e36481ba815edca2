/**
 * The rows of the picture of a class: one for each client, with its bars, marks and texts.
 *
 * @module
 */

import { shorten } from "../shared/text.ts";
import { stretches, waited } from "./numbers.ts";
import type { Run } from "./run.ts";
import type { Visit } from "./visit.ts";

/**
 * The colours of Okabe and Ito, which the colour-blind can tell apart. Who waits is a thin bar and
 * who occupies the server a thick one, so a print in black and white shows the difference, too.
 */
export const COLORS = {
  connecting: "#cccccc",
  waiting: "#e69f00",
  served: "#0072b2",
  lingering: "#56b4e9",
} as const;
const THIN = { phases: ["connecting", "waiting"], band: 0.35 };
const THICK = { phases: ["served", "lingering"], band: 0.95 };

/** The marks on a row: when it happened, its shape, and whether it is above or below the middle. */
const MARKS = [
  { name: "greeting", field: "greetedAt", shape: "triangle-down", place: -1 },
  { name: "request", field: "requestedAt", shape: "circle", place: 0 },
  { name: "acknowledgement", field: "acknowledgedAt", shape: "triangle-up", place: 1 },
] as const;
const MARK_NAMES = MARKS.map(({ name }) => name);
const MARK_SHAPES = MARKS.map(({ shape }) => shape);
const MARK_SIZE = 0.32; // of the height of a row
const MARK_DISTANCE = 0.28; // of the height of a row: marks that happen at once do not hide each other

const MANY = 50; // rows
const ROW_HEIGHT = { few: 18, many: 14 }; // px
const FONT_SIZE = 0.65; // of the height of a row
const COLUMN_WIDTH = 4; // of the font's size: the waiting time
const HEAD_PLACE = -7; // px above the first row
const LEGEND = { title: null, orient: "top" };

/**
 * A row for each client of a run.
 *
 * @param x The axis of time, in seconds, of the field `from`.
 * @param width How wide the chart is, in px.
 * @param endLength How many characters of a client's end are shown.
 */
export function rows(run: Run, x: object, width: number, endLength: number): object {
  const rowHeight = run.visits.length > MANY ? ROW_HEIGHT.many : ROW_HEIGHT.few;
  const fontSize = rowHeight * FONT_SIZE;
  const y = {
    field: "client",
    type: "ordinal",
    sort: null,
    scale: { domain: run.visits.map(labelOf), paddingInner: 0.15 },
    axis: { labelFontSize: fontSize, labelOverlap: false, ticks: false, domain: false, offset: 8 },
    title: "client, by arrival",
  };
  return {
    width,
    height: run.visits.length * rowHeight,
    encoding: { y },
    layer: [
      bars(run, x, THIN),
      bars(run, x, THICK),
      ...MARKS.map((mark) => marks(run, mark, rowHeight)),
      ...endings(run, width, fontSize, endLength),
    ],
  };
}

function labelOf({ number, kind }: Visit): string {
  return kind === "good" ? `${number}` : `${number} ${kind}`;
}

/** The bars of some phases, which are thin or thick. */
function bars(run: Run, x: object, { phases, band }: typeof THIN): object {
  const values = run.visits.flatMap((visit) =>
    stretches(visit, run)
      .filter(({ phase }) => phases.includes(phase))
      .map(({ phase, from, to }) => ({
        client: labelOf(visit),
        phase,
        from: from / 1000,
        to: to / 1000,
      }))
  );
  const scale = { domain: Object.keys(COLORS), range: Object.values(COLORS) };
  return {
    data: { values },
    mark: { type: "bar", height: { band } },
    encoding: {
      x: { ...x, title: null },
      x2: { field: "to" },
      color: { field: "phase", scale, legend: LEGEND },
    },
  };
}

function marks(run: Run, mark: typeof MARKS[number], rowHeight: number): object {
  const values = run.visits.map((visit) => ({ client: labelOf(visit), at: visit[mark.field] }))
    .filter(({ at }) => at !== undefined)
    .map(({ client, at = 0 }) => ({ client, from: at / 1000, mark: mark.name }));
  return {
    data: { values },
    mark: {
      type: "point",
      filled: false,
      fill: "white",
      color: "black",
      strokeWidth: 0.8,
      opacity: 1,
      size: (rowHeight * MARK_SIZE) ** 2,
      yOffset: mark.place * rowHeight * MARK_DISTANCE,
    },
    encoding: {
      x: { field: "from", type: "quantitative" },
      shape: { field: "mark", scale: { domain: MARK_NAMES, range: MARK_SHAPES }, legend: LEGEND },
    },
  };
}

/** Two columns at the right: how long each client waited, and how it ended. */
function endings(run: Run, width: number, fontSize: number, endLength: number): object[] {
  const waitPlace = width + fontSize * COLUMN_WIDTH;
  const endPlace = waitPlace + fontSize;
  const values = run.visits.map((visit) => ({
    client: labelOf(visit),
    waited: waitText(visit),
    end: shorten(visit.end, endLength),
  }));
  const column = (field: string, align: string, place: number) => ({
    data: { values },
    mark: { type: "text", align, baseline: "middle", fontSize },
    encoding: { x: { value: place }, text: { field, type: "nominal" } },
  });
  const head = (text: string, align: string, place: number) => ({
    data: { values: [{}] },
    mark: { type: "text", align, fontSize: 11, fontStyle: "italic" },
    encoding: { x: { value: place }, y: { value: HEAD_PLACE }, text: { value: text } },
  });
  return [
    column("waited", "right", waitPlace),
    column("end", "left", endPlace),
    head("waited", "right", waitPlace),
    head("its end", "left", endPlace),
  ];
}

function waitText(visit: Visit): string {
  const ms = waited(visit);
  return ms === undefined ? "" : `${(ms / 1000).toFixed(1)} s`;
}
