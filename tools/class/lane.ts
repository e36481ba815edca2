/**
 * The lane of the server: when it works, and for which client it only waits.
 *
 * @module
 */

import { CHARACTER_WIDTH } from "../shared/vega.ts";
import { type Frame, rowAxis, rowHeightOf, timeAxis } from "./layout.ts";
import { joined, serverOverTime, type ServerStretch } from "./numbers.ts";
import { bars, lineWidthOf } from "./phases.ts";
import type { Run } from "./run.ts";

/** The name of the lane. */
export const LANE_NAME = "server";

const SEVERAL = "waits for several clients";
const HEIGHT = 1.2; // of the height of a row

/** One row: what the server does. */
export function lane(run: Run, frame: Frame): object {
  const { layout, width, ms } = frame;
  const all = serverOverTime(run);
  const waits = joined(all, "lingering", ms / width); // a pixel
  const line = lineWidthOf(layout) * ms / width;
  const texts = waits.map((wait) => ({
    row: LANE_NAME,
    from: (wait.from + line + wait.to) / 2000, // the middle of what a service leaves visible
    text: textOf(wait, run, frame),
  }));
  const stretches = [...waits, ...joined(all, "served", 0)];
  return {
    width,
    height: rowHeightOf(layout, run.visits.length) * HEIGHT,
    encoding: {
      x: timeAxis(frame, !layout.hasDetails),
      y: rowAxis([LANE_NAME], layout.fontSize, null),
    },
    layer: [
      ...bars(stretches.map((stretch) => ({ ...stretch, row: LANE_NAME })), frame),
      {
        data: { values: texts.filter(({ text }) => text !== "") },
        mark: { type: "text", baseline: "middle", fontSize: layout.fontSize },
        encoding: { text: { field: "text", type: "nominal" } },
      },
    ],
  };
}

/** For whom the server waits, if there is room for it, and for the number of each other client. */
function textOf({ from, to, clients }: ServerStretch, run: Run, frame: Frame): string {
  const { layout, width, ms } = frame;
  const px = (to - from) * width / ms - lineWidthOf(layout);
  const room = px / (layout.fontSize * CHARACTER_WIDTH);
  if (clients.length > 1) return room < SEVERAL.length ? "" : SEVERAL;
  const [client] = clients;
  const text = `waits for client ${client}`;
  if (room >= text.length) return text;
  return room < `${run.visits.length}`.length ? "" : `${client}`;
}
