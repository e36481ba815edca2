/**
 * The sizes of a picture of a class, in px.
 *
 * @module
 */

/** For whom a picture is: a screen, a phone or a projector. */
export interface Layout {
  /** Whether two runs stand beside each other, or one above the other. */
  readonly isWide: boolean;
  /** Whether the picture has what a table has: how each client ended, and the length of the queue. */
  readonly hasDetails: boolean;
  /** How wide the chart of a run is: the only one, and each of two. */
  readonly chartWidths: readonly [number, number];
  /** How wide the texts beside a chart are together. */
  readonly labelsWidth: number;
  /** How many characters of a client's end are shown. */
  readonly endLength: number;
  /** The text. */
  readonly fontSize: number;
  /** The title. */
  readonly titleSize: number;
  /** All rows together, which become neither lower nor higher than a row may be. */
  readonly rowsHeight: number;
  /** The height of a row: at least, and at the most. */
  readonly rowHeight: { readonly least: number; readonly most: number };
}

/** For a screen or a page. */
export const WIDE: Layout = {
  isWide: true,
  hasDetails: true,
  chartWidths: [760, 380],
  labelsWidth: 180,
  endLength: 38,
  fontSize: 12,
  titleSize: 18,
  rowsHeight: 700,
  rowHeight: { least: 14, most: 18 },
};

/** For a phone. */
export const NARROW: Layout = {
  ...WIDE,
  isWide: false,
  chartWidths: [200, 200],
  endLength: 16,
  titleSize: 15,
};

/** For a projector: 1280 to 720 px, and no text under 20 points, which are 26.7 px. */
export const SLIDE: Layout = {
  ...WIDE,
  hasDetails: false,
  chartWidths: [1090, 445],
  labelsWidth: 140,
  fontSize: 27,
  titleSize: 30,
  rowsHeight: 360,
  rowHeight: { least: 30, most: 60 },
};

/** The height of a row where there are so many. */
export function rowHeightOf(layout: Layout, rows: number): number {
  const { least, most } = layout.rowHeight;
  return Math.min(most, Math.max(least, Math.floor(layout.rowsHeight / rows)));
}

/** What the charts of one run have in common. */
export interface Frame {
  /** The sizes. */
  readonly layout: Layout;
  /** How wide each chart is, in px. */
  readonly width: number;
  /** How long the axis of time is, in ms. */
  readonly ms: number;
  /** The colours of the phases, with the legend: an encoding. */
  readonly color: object;
}

/** The axis of time, for the field `from`; the one with the numbers is below the last chart. */
export function timeAxis({ layout, width, ms }: Frame, isLast: boolean): object {
  const hidden = { labels: false, ticks: false, domain: false };
  const unit = layout.hasDetails ? {} : { labelExpr: "datum.label + ' s'" };
  return {
    field: "from",
    type: "quantitative",
    scale: { domain: [0, ms / 1000], nice: false },
    title: isLast && layout.hasDetails ? "seconds since the first client arrived" : null,
    axis: {
      tickCount: width / (layout.fontSize * 5),
      labelFlush: false,
      ...unit,
      ...(isLast ? {} : hidden),
    },
  };
}

/** The axis of the rows with these names. */
export function rowAxis(names: string[], fontSize: number, title: string | null): object {
  return {
    field: "row",
    type: "ordinal",
    sort: null,
    scale: { domain: names, paddingInner: 0.15 },
    axis: { labelFontSize: fontSize, labelOverlap: false, ticks: false, domain: false, offset: 8 },
    title,
  };
}
