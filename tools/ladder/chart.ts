/**
 * The ladder of a session, as a specification in Vega-Lite: two lines of life, time goes down.
 *
 * @module
 */

import { shorten, wrap } from "../shared/text.ts";
import type { TopLevelSpec } from "../shared/vega.ts";
import type { LogRecord } from "./records.ts";

const ROW_HEIGHT = 50; // px
const SLOPE = 10; // px that an arrow falls: what is sent comes later
const LABEL_LENGTH = 50; // characters of a value above an arrow
const NOTE_WIDTH = 46; // characters of a line beside the server
const NOTE_LINES = 3;
/** Where things stand, in px from the left. */
const X = { time: 75, client: 110, middle: 330, server: 550, end: 860 };
const NOTE_TEXT = { align: "left", baseline: "middle", dx: 14, fontSize: 11, lineHeight: 14 };

/** One row of the ladder. */
interface Row {
  /** An arrow to this side; missing for what happens at the server alone. */
  readonly to?: "server" | "client";
  /** Whether the arrow is of the connection itself, and no bytes of the program. */
  readonly isControl?: boolean;
  /** What stands above the arrow. */
  readonly label?: string;
  /** What stands under the arrow: the first bytes. */
  readonly hex?: string;
  /** What stands beside the server. */
  readonly note?: string;
}

/** What each step of the wire looks like. */
const ROWS: Record<string, (record: LogRecord) => Row> = {
  accepted: () => ({ to: "server", isControl: true, label: "connect, accepted" }),
  recv: ({ bytes, hex }) => ({ to: "server", label: `recv: ${count(bytes, "byte")}`, hex }),
  received: ({ bytes, value }) => ({
    note: `a whole value, ${count(bytes, "byte")}: ${value ?? "refused"}`,
  }),
  send: ({ bytes, hex, value }) => ({
    to: "client",
    label: `send: ${count(bytes, "byte")}, ${shorten(value ?? "", LABEL_LENGTH)}`,
    hex,
  }),
  closed: ({ by }) => ({
    to: by === "client" ? "server" : "client",
    isControl: true,
    label: `closed by the ${by}`,
  }),
};

/** The specification of the ladder of these records of one client. */
export function ladder(records: LogRecord[]): TopLevelSpec {
  const rows = records.map(rowOf);
  const height = (rows.length + 0.5) * ROW_HEIGHT;
  const scale = (end: number, reverse: boolean) => ({ domain: [0, end], reverse, nice: false });
  const spec = {
    width: X.end,
    height,
    title: {
      text: headline(records),
      subtitle: `The session of ${records[0].client}, as the server saw it`,
    },
    encoding: {
      x: { field: "x", type: "quantitative", scale: scale(X.end, false), axis: null },
      y: { field: "y", type: "quantitative", scale: scale(height, true), axis: null },
    },
    layer: [...lifelines(height), ...arrows(rows), ...labels(rows), ...notes(rows), times(records)],
  };
  return spec as TopLevelSpec;
}

function rowOf(record: LogRecord): Row {
  const row = ROWS[record.step ?? ""];
  return row ? row(record) : { note: `${record.event}: ${record.message}` };
}

function count(amount: number | undefined, noun: string): string {
  return `${amount} ${noun}${amount === 1 ? "" : "s"}`;
}

/** What the ladder shows, in words: how the bytes came, and what they were. */
export function headline(records: LogRecord[]): string {
  const reads = records.filter(({ step }) => step === "recv");
  const values = records.filter(({ step }) => step === "received");
  const bytes = reads.reduce((sum, read) => sum + (read.bytes ?? 0), 0);
  return `${reads.length} recv brought ${count(bytes, "byte")}, which were ` +
    `${count(values.length, "whole value")}`;
}

const yOf = (index: number): number => (index + 1) * ROW_HEIGHT;

function lifelines(height: number): object[] {
  const ends = [{ x: X.client, name: "client" }, { x: X.server, name: "server" }];
  const values = ends.map((end) => ({ ...end, y: 0, bottom: height }));
  return [
    {
      data: { values },
      mark: { type: "rule", color: "#999999", strokeWidth: 1.5 },
      encoding: { y2: { field: "bottom" } },
    },
    {
      data: { values },
      mark: { type: "text", dy: -8, fontSize: 14, fontWeight: "bold" },
      encoding: { text: { field: "name" } },
    },
  ];
}

/** The arrows: solid for bytes, dashed for the connection itself; each with its head. */
function arrows(rows: Row[]): object[] {
  const all = rows.map((row, index) => ({ ...row, y: yOf(index) })).filter(({ to }) => to);
  const ends = all.map(({ to, isControl, y }) => ({
    x: to === "server" ? X.client : X.server,
    x2: to === "server" ? X.server : X.client,
    y: y - SLOPE,
    y2: y,
    isControl: isControl === true,
  }));
  const dash = { condition: { test: "datum.isControl", value: [5, 4] }, value: [1, 0] };
  const head = (to: string, x: number, shape: string, xOffset: number) => ({
    data: { values: all.filter((arrow) => arrow.to === to).map(({ y }) => ({ x, y })) },
    mark: { type: "point", shape, filled: true, color: "black", opacity: 1, size: 90, xOffset },
  });
  return [
    {
      data: { values: ends },
      mark: { type: "rule", color: "black", strokeWidth: 1.2 },
      encoding: { x2: { field: "x2" }, y2: { field: "y2" }, strokeDash: dash },
    },
    head("server", X.server, "triangle-right", -5),
    head("client", X.client, "triangle-left", 5),
  ];
}

/** The texts above and under the arrows. */
function labels(rows: Row[]): object[] {
  const values = rows.map(({ label = "", hex = "" }, index) => ({
    x: X.middle,
    y: yOf(index) - SLOPE / 2,
    label,
    hex,
  }));
  const text = (field: string, mark: object) => ({
    data: { values: values.filter((value) => value.label !== "") },
    mark: { type: "text", ...mark },
    encoding: { text: { field, type: "nominal" } },
  });
  return [
    text("label", { dy: -14, fontSize: 12 }),
    text("hex", { dy: 14, fontSize: 10, font: "monospace", color: "#555555" }),
  ];
}

/** What happens at the server alone: a dot on its line, and the text beside it. */
function notes(rows: Row[]): object[] {
  const values = rows.map(({ note = "" }, index) => ({
    x: X.server,
    y: yOf(index) - SLOPE / 2,
    lines: noteLines(note),
  })).filter(({ lines }) => lines.length > 0);
  return [
    {
      data: { values },
      mark: { type: "point", filled: true, color: "#0072B2", opacity: 1, size: 60 },
    },
    {
      data: { values },
      mark: { type: "text", ...NOTE_TEXT },
      encoding: { text: { field: "lines", type: "nominal" } },
    },
  ];
}

function noteLines(note: string): string[] {
  const lines = wrap(note, NOTE_WIDTH);
  if (lines.length <= NOTE_LINES) return lines;
  return [...lines.slice(0, NOTE_LINES - 1), `${lines[NOTE_LINES - 1]} …`];
}

/** The time since the row before, at the left. */
function times(records: LogRecord[]): object {
  const values = records.map(({ time }, index) => ({
    x: X.time,
    y: yOf(index) - SLOPE / 2,
    text: index === 0 ? "0 ms" : duration(time - records[index - 1].time),
  }));
  return {
    data: { values },
    mark: { type: "text", align: "right", fontSize: 11, color: "#555555" },
    encoding: { text: { field: "text" } },
  };
}

/** A time in ms; the order of the records is right also where the clock was set back. */
function duration(ms: number): string {
  if (ms < 0) return "clock set back";
  if (Number.isNaN(ms)) return "";
  return ms < 1000 ? `+${ms} ms` : `+${(ms / 1000).toFixed(2)} s`;
}
