/**
 * The rows of the picture of a class: one for each client, with its bars, marks and texts.
 *
 * @module
 */

import { shorten } from "../shared/text.ts";
import { type Frame, rowAxis, rowHeightOf, timeAxis } from "./layout.ts";
import { stretches, waited } from "./numbers.ts";
import { bars, LEGEND } from "./phases.ts";
import type { Run } from "./run.ts";
import type { Visit } from "./visit.ts";

const MARK_SIZE = 0.45; // of the height of a row
const FONT_SIZE = 0.65; // of the height of a row, at the most
const COLUMN_WIDTH = 4; // of the font's size: the waiting time
const HEAD_PLACE = -7; // px above the first row

/** A row for each client of a run. */
export function rows(run: Run, frame: Frame): object {
  const { layout, width } = frame;
  const rowHeight = rowHeightOf(layout, run.visits.length);
  const fontSize = layout.hasDetails ? rowHeight * FONT_SIZE : layout.fontSize;
  const title = layout.hasDetails ? "client, by arrival" : "client";
  const parts = run.visits.flatMap((visit) =>
    stretches(visit, run).map((stretch) => ({ ...stretch, row: labelOf(visit) }))
  );
  return {
    width,
    height: run.visits.length * rowHeight,
    encoding: {
      x: timeAxis(frame, false),
      y: rowAxis(run.visits.map(labelOf), fontSize, title),
    },
    layer: [
      ...bars(parts, frame),
      requests(run, frame, rowHeight * MARK_SIZE),
      ...(layout.hasDetails ? endings(run, frame, fontSize) : []),
    ],
  };
}

/** The name of a row: the number of the client, and its kind if it is not a good one. */
export function labelOf({ number, kind }: Visit): string {
  return kind === "good" ? `${number}` : `${number} ${kind}`;
}

/** A mark where a client sent its request, if that is not the place where it was served. */
function requests(run: Run, { width, ms }: Frame, size: number): object {
  const least = size * ms / width;
  const values = run.visits.flatMap((visit) => {
    const { requestedAt, greetedAt = Infinity, acknowledgedAt = Infinity } = visit;
    if (requestedAt === undefined) return [];
    const distances = [greetedAt, acknowledgedAt].map((time) => Math.abs(time - requestedAt));
    if (Math.min(...distances) < least) return [];
    return [{ row: labelOf(visit), from: requestedAt / 1000, mark: "request" }];
  });
  const look = { filled: false, fill: "white", color: "black", strokeWidth: 0.8, opacity: 1 };
  return {
    data: { values },
    mark: { type: "point", ...look, size: size ** 2 },
    encoding: { shape: { field: "mark", type: "nominal", legend: LEGEND } },
  };
}

/** Two columns at the right: how long each client waited, and how it ended. */
function endings(run: Run, { layout, width }: Frame, fontSize: number): object[] {
  const waitPlace = width + fontSize * COLUMN_WIDTH;
  const endPlace = waitPlace + fontSize;
  const values = run.visits.map((visit) => ({
    row: labelOf(visit),
    waited: waitText(visit),
    end: shorten(visit.end, layout.endLength),
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
