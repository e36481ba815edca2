/**
 * Tests of the picture of a class: what a lecturer sees of runs of which every time is known.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { labelsOf, type Text, textsOf } from "../shared/testing.ts";
import { sizeOf } from "../shared/vega.ts";
import type { Kind } from "./kinds.ts";
import { NARROW, SLIDE, WIDE } from "./layout.ts";
import { page, picture, slidePage } from "./page.ts";
import type { Run } from "./run.ts";
import { iterativeRun, runOf, sampleRun, threadedRun } from "./samples.ts";
import { newVisit } from "./visit.ts";

const ROWS = "client, by arrival"; // the title of the axis
const SERVED = 'fill="#0072b2"';

/** The same run with these kinds of clients. */
function withKinds(run: Run, kinds: Kind[]): Run {
  const visits = run.visits.map((visit, index) => ({ ...visit, kind: kinds[index] ?? visit.kind }));
  return runOf(visits, run.ms);
}

function hasText(svg: string, wanted: string): boolean {
  return textsOf(svg).some(({ text }) => text === wanted);
}

Deno.test("a hundred clients have a row each, in the order of their arrival, with a label", async () => {
  const labels = labelsOf(await picture([iterativeRun(100)]), ROWS);
  assertEquals(
    labels.map(({ text }) => Number(text)),
    Array.from({ length: 100 }, (_, i) => i + 1),
  );
  const distances = labels.slice(1).map(({ y }, index) => y - labels[index].y);
  assert(Math.min(...distances) >= labels[0].fontSize, "a label is on another one");
});

Deno.test("a row says the kind of a client that is not a good one, and how each one ended", async () => {
  const svg = await picture([withKinds(sampleRun(), ["good", "early"])]);
  assertEquals(labelsOf(svg, ROWS).map(({ text }) => text), ["1", "2 early", "3 silent"]);
  for (const end of ["server closed", "open", "never connected"]) assert(hasText(svg, end), end);
});

Deno.test("who was served for 2 ms of a minute has a bar that one can see", async () => {
  const svg = await picture([iterativeRun(30)]);
  const served = svg.match(/<path[^>]*>/g)?.filter((tag) => tag.includes(SERVED)) ?? [];
  assertEquals(served.length, 30 + 30 + 1); // in the rows, in the server's lane, in the legend
  for (const tag of served.slice(0, 60)) assert(/ d="M[^h]+h3v/.test(tag), tag);
});

Deno.test("lines that would lie on each other are left out: a server with threads hardly works", async () => {
  const svg = await picture([threadedRun(30), iterativeRun(30)]);
  const served = svg.match(/<path[^>]*>/g)?.filter((tag) => tag.includes(SERVED)) ?? [];
  assertEquals(served.length, 30 + 30 + 30 + 1);
});

Deno.test("the server's lane says for which client it waits", async () => {
  const few = await picture([iterativeRun(3)]);
  const many = await picture([iterativeRun(30)]);
  const more = await picture([iterativeRun(100)]);
  const several = await picture([threadedRun(3)]);
  assert(hasText(few, "waits for client 2"), "there is room for words");
  assert(!hasText(many, "waits for client 2"), "there is no room for words");
  assertEquals(textsOf(many).filter(({ text }) => text === "29").length, 2, "row and lane");
  assertEquals(textsOf(more).filter(({ text }) => text === "97").length, 1, "no room for a number");
  assert(hasText(several, "waits for several clients"));
});

Deno.test("a request is marked where it was not sent together with what follows", async () => {
  const usual = await picture([iterativeRun(3)]);
  const [first, second] = iterativeRun(2).visits;
  const early = await picture([runOf([first, { ...second, requestedAt: 1 }], 4001)]);
  assertEquals([hasText(usual, "request"), hasText(early, "request")], [false, true]);
});

Deno.test("the legend has what can be seen: nobody connects for a time that one could see", async () => {
  const legend = (svg: string) =>
    ["connecting", "waiting for the greeting", "connected, but silent", "served"]
      .filter((text) => hasText(svg, text));
  const usual = await picture([iterativeRun(3)]);
  const full = await picture([sampleRun()]);
  assertEquals([legend(usual).length, legend(full).length], [3, 4]);
});

Deno.test("the picture fills its window, and a screen reader says what it shows", async () => {
  const svg = await picture([{ ...iterativeRun(30), title: "<b>" }]);
  const root = svg.match(/^<svg[^>]*>/)?.[0] ?? "";
  assert(/ width="100%"/.test(root) && / viewBox=/.test(root) && !/ height=/.test(root), root);
  assert(root.includes(' role="img"'));
  const title = "<title>Client 30 waited 58.0 s. The server worked 0.06 s in that time.</title>";
  assert(svg.startsWith(title, root.length), svg.slice(root.length, 300));
  assertEquals(svg.match(/aria-|role="graphics/), null, "no part of it is read alone");
});

Deno.test("in a comparison the two charts begin at one height, whatever stands above", async () => {
  const short = iterativeRun(12, "main.ts");
  const long = threadedRun(12, "the server of a student who has read about threads, with a pool");
  for (const layout of [WIDE, SLIDE]) {
    const svg = await picture([short, long], layout);
    const labels = labelsOf(svg, layout === WIDE ? ROWS : "client");
    assertEquals(labels.length, 24);
    assertEquals(labels.slice(0, 12).map(({ y }) => y), labels.slice(12).map(({ y }) => y));
  }
});

Deno.test("on a phone two runs stand one below the other", async () => {
  const labels = labelsOf(await picture([iterativeRun(3), threadedRun(3)], NARROW), ROWS);
  assert(labels[3].y > labels[2].y);
});

Deno.test("a slide fits a projector: 1280 to 720, no text under 20 points, and no table", async () => {
  const kinds: Kind[] = ["early", "half", "garbage", "silent", "reset"];
  const slides = [
    [iterativeRun(12)],
    [withKinds(iterativeRun(12), kinds)],
    [iterativeRun(1)],
    [iterativeRun(12), threadedRun(12, "a server with threads")],
    [runOf([...iterativeRun(11).visits, { ...newVisit(12, "good"), arrivedAt: 0 }], 24_000)],
  ];
  for (const runs of slides) {
    const svg = await picture(runs, SLIDE);
    const { width, height } = sizeOf(svg);
    assert(width <= 1280 && height <= 720, `${width} to ${height}`);
    const points = ({ fontSize }: Text) => fontSize * 0.75;
    const small = textsOf(svg).filter((text) => points(text) < 20);
    assertEquals(small, []);
    assert(!hasText(svg, "server closed"), "its end is of the table");
    assert(!slidePage(runs, svg).includes("<pre>"));
  }
});

Deno.test("a page has the picture for screens and for phones, and loads nothing", async () => {
  const html = await page([iterativeRun(3)]);
  assertEquals(html.match(/<svg /g)?.length, 2);
  assert(!/(src|href)=|@import|url\(/.test(html), "the page loads nothing");
});

Deno.test("a title with <script> is escaped in the page", async () => {
  const html = await page([{ ...sampleRun(), title: "<script>" }, sampleRun()]);
  assert(!html.includes("<script") && html.includes("&lt;script&gt;"));
});
