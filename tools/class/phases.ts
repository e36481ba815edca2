/**
 * What the parts of a visit look like.
 *
 * @module
 */

import type { Frame, Layout } from "./layout.ts";
import { type Phase, type Stretch, stretches } from "./numbers.ts";
import type { Run } from "./run.ts";

/** Legends stand above a picture, and the colours and shapes need no title. */
export const LEGEND = { title: null, orient: "top" };

/** How a phase is drawn. */
interface Look {
  readonly color: string;
  readonly label: string;
  /** The height of its bar, as a part of the row's. */
  readonly band: number;
}

/**
 * The colours of Okabe and Ito, which the colour-blind can tell apart. Who waits is a thin bar and
 * who occupies the server a thick one, so a print in black and white shows the difference, too.
 */
export const PHASES: Record<Phase, Look> = {
  connecting: { color: "#cccccc", label: "connecting", band: 0.35 },
  waiting: { color: "#e69f00", label: "waiting for the greeting", band: 0.35 },
  lingering: { color: "#56b4e9", label: "connected, but silent", band: 0.95 },
  served: { color: "#0072b2", label: "served", band: 0.95 },
};

/** What is narrower than this, in px, is left out. */
const LEAST_WIDTH = 0.5;

/** A service takes milliseconds: its bar is made so wide, in px, that one sees a line. */
export const lineWidthOf = ({ fontSize }: Layout): number => fontSize / 4;

/** A bar in a row. */
export interface Bar extends Stretch {
  /** The name of its row. */
  readonly row: string;
}

/** The bars as layers, for each phase one; what is not wide enough to be seen is left out. */
export function bars(all: Bar[], frame: Frame): object[] {
  const line = lineWidthOf(frame.layout) * frame.ms / frame.width;
  return Object.entries(PHASES).map(([name, { label, band }]) => {
    const least = name === "served" ? line : 0;
    const values = visibleOf(all.filter(({ phase }) => phase === name), frame)
      .map(({ row, from, to }) => ({ row, from, to: Math.max(to, from + least) }))
      .map(({ row, from, to }) => ({ row, from: from / 1000, to: to / 1000, phase: label }));
    return {
      data: { values },
      mark: { type: "bar", height: { band } },
      encoding: { x2: { field: "to" }, color: frame.color },
    };
  }).filter(({ data }) => data.values.length > 0);
}

/** The bars that are wide enough, or that have enough room to be drawn as a line. */
function visibleOf(bars: Bar[], { layout, ms, width }: Frame): Bar[] {
  const room = 2 * lineWidthOf(layout) * ms / width;
  const isFar = (bar: Bar, other: Bar) =>
    other === bar || other.row !== bar.row || Math.abs(other.from - bar.from) > room;
  const isLine = (bar: Bar) => bar.phase === "served" && bars.every((other) => isFar(bar, other));
  return bars.filter((bar) => isWide(bar, ms / width) || isLine(bar));
}

function isWide({ from, to }: Stretch, msPerPx: number): boolean {
  return to - from >= LEAST_WIDTH * msPerPx;
}

/** The colours of the phases that can be seen in these runs, and their legend. */
export function colorOf(runs: Run[], msPerPx: number): object {
  const all = runs.flatMap((run) => run.visits.flatMap((visit) => stretches(visit, run)));
  const isSeen = (name: string) =>
    all.some((part) => part.phase === name && (name === "served" || isWide(part, msPerPx)));
  const looks = Object.entries(PHASES).filter(([name]) => isSeen(name)).map(([, look]) => look);
  const scale = { domain: looks.map(({ label }) => label), range: looks.map(({ color }) => color) };
  return { field: "phase", type: "nominal", scale, legend: LEGEND };
}
