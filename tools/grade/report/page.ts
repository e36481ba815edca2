/**
 * The results of all submissions as one page for a browser.
 *
 * @module
 */

import { html, raw } from "hono/html";
import type { CheckResult, Graded, Grades, Part, Verdict } from "../outcome.ts";
import { counts, minuteOf, rosterLines, scoreOf, summarize, TITLES } from "./text.ts";

const MARKS: Record<Part, Record<Verdict, string>> = {
  lab: { pass: "ok", miss: "miss", "not judged": "–" },
  beyond: { pass: "ok", miss: "no", "not judged": "–" },
};

/** What the page says below the heading of each part. */
const LEGENDS: Record<Part, string> = {
  lab: "–: not judged, since it builds on what was missed. It gives no points.",
  beyond: "Nobody has to have these: a server without them is right.",
};

/** The length of the bar that would stand for the whole class. */
const BAR_REM = 16;

const STYLE = `
  :root { color-scheme: light dark; }
  body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem;
    overflow-wrap: break-word; padding: 0 1rem; }
  table { border-collapse: collapse; }
  th, td { border: 1px solid #8886; padding: 0.3rem 0.5rem; text-align: left; vertical-align: top; }
  .wide { overflow-x: auto; }
  .overview th.check { height: 9rem; vertical-align: bottom; padding: 0.3rem 0.1rem; }
  .overview th.check span { writing-mode: vertical-rl; transform: rotate(180deg); }
  .overview td.mark, .overview tr:last-child th { text-align: center; }
  .overview tr:last-child th:first-child { text-align: left; }
  td.points { white-space: nowrap; }
  .pass { background: #2a92; }
  .miss { background: #d334; }
  .unjudged { color: #888; }
  .beyond .pass, .beyond .miss { background: #8882; }
  .beyond { color: #888; }
  .trouble { background: #fa03; }
  .bar { background: #47a8; display: inline-block; height: 0.8em; margin-right: 0.5rem; }
  details { margin: 0.8rem 0; }
  summary { cursor: pointer; font-weight: 600; }
  details table { margin: 0.6rem 0; table-layout: fixed; width: 100%; }
  details td { overflow-wrap: anywhere; }
  details th:nth-child(1) { width: 9rem; }
  details th:nth-child(2) { width: 4rem; }
  details th:nth-child(3), details th:nth-child(4) { width: 21%; }
  code, pre { font: 13px/1.4 ui-monospace, monospace; overflow-wrap: anywhere; white-space: pre-wrap; }
  pre { border-left: 3px solid #8886; margin: 0.3rem 0; padding-left: 0.6rem; }
  @media (max-width: 40rem) {
    details thead { display: none; }
    details tr, details td { display: block; }
    details tr { border: 1px solid #8886; margin: 0.5rem 0; }
    details td { border: 0; }
    details td[data-label]::before { content: attr(data-label); font-weight: 600; }
  }
`;

/** An overview of the class, a row for each submission, then each with what was seen. */
export async function pageOf(grades: Grades): Promise<string> {
  const { submissions } = grades;
  const title = `Lab 3: ${submissions.length} ${
    submissions.length === 1 ? "submission" : "submissions"
  }`;
  const page = html`
    <!DOCTYPE html>
    <html lang="en">
      <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width">
        <title>${title}</title>
        <style>${raw(STYLE)}</style>
      </head>
      <body>
    <h1>${title}</h1>
    <p>Graded on ${minuteOf(grades)} UTC by the lab server ${grades.version},
      ${grades.isSandboxed ? "each in a sandbox" : "without a sandbox"}.</p>
    ${rosterLines(grades).map((line) => html`<p>${line}</p>`)}
    ${marksOf(submissions)}
    ${overviewsOf(submissions)}
    <h2>Details</h2>
    ${submissions.map(detailsOf)}
      </body>
    </html>
  `;
  return `${String(await page).trim()}\n`;
}

function idOf(index: number): string {
  return `submission-${index + 1}`;
}

function classOf(verdict: Verdict): string {
  return verdict === "not judged" ? "unjudged" : verdict;
}

/** The mean of the marks, and how many have got each. Those without a mark are not among them. */
function marksOf(submissions: Graded[]) {
  const marks = submissions.flatMap(({ points }) => points ?? []);
  if (marks.length < 2) return "";
  const mean = marks.reduce((sum, mark) => sum + mark, 0) / marks.length;
  const numbers = new Map<number, number>();
  for (const mark of marks) numbers.set(mark, (numbers.get(mark) ?? 0) + 1);
  const rows = [...numbers].sort(([one], [other]) => other - one);
  const rest = marks.length < submissions.length ? ". The others have no mark" : "";
  return html`
    <h2>Marks</h2>
    <p>Mean: ${mean.toFixed(1)} of ${submissions[0].maxPoints} points, in ${marks.length}
      submissions${rest}.</p>
    <table>
      <tr><th>Points</th><th>Submissions</th></tr>
      ${rows.map(([mark, number]) => barOf(mark, number, number / marks.length))}
    </table>
  `;
}

function barOf(mark: number, number: number, share: number) {
  const bar = html`<span class="bar" style="width: ${BAR_REM * share}rem"></span>`;
  return html`
    <tr>
      <td>${mark}</td>
      <td>${bar}${number}</td>
    </tr>
  `;
}

/** The names of the checks of a part. */
function namesOf(part: Part, submissions: Graded[]): string[] {
  const checks = submissions.find(({ checks }) => checks.length > 0)?.checks ?? [];
  return checks.filter((check) => check.part === part).map(({ name }) => name);
}

/** A table for each part; the first one has the marks. */
function overviewsOf(submissions: Graded[]) {
  const parts = (["lab", "beyond"] as const).filter((part) =>
    namesOf(part, submissions).length > 0
  );
  return parts.map((part, index) => overviewOf(part, submissions, index === 0));
}

/** The checks of a part: a row for each submission, and how many have missed each. */
function overviewOf(part: Part, submissions: Graded[], hasMarks: boolean) {
  const names = namesOf(part, submissions);
  const heads = names.map((name) => html`<th class="check"><span>${name}</span></th>`);
  const missed = names.map((name) => {
    const isMiss = (check: CheckResult) => check.name === name && check.verdict === "miss";
    return html`<th>${submissions.filter(({ checks }) => checks.some(isMiss)).length}</th>`;
  });
  return html`
    <h2>${TITLES[part]}</h2>
    <p>${LEGENDS[part]}</p>
    <div class="wide">
      <table class="overview ${part}">
        <tr><th>Submission</th>${hasMarks ? html`<th>Points</th>` : ""}${heads}</tr>
        ${submissions.map((graded, index) => rowOf(graded, index, names, hasMarks))}
        <tr><th>${part === "lab" ? "missed" : "not there"}</th>${hasMarks ? html`<th></th>` : ""}
          ${missed}</tr>
      </table>
    </div>
  `;
}

function rowOf(graded: Graded, index: number, names: string[], hasMarks: boolean) {
  const checks = graded.checks.filter(({ name }) => names.includes(name));
  const mark = hasMarks ? html`<td class="points">${scoreOf(graded)}</td>` : "";
  const cells = graded.trouble === ""
    ? checks.map(cellOf)
    : html`<td colspan="${names.length}">${graded.trouble}</td>`;
  return html`
    <tr class="${graded.trouble === "" ? "" : "trouble"}">
      <td><a href="#${idOf(index)}">${graded.name}</a></td>${mark}${cells}
    </tr>
  `;
}

function cellOf({ name, part, verdict, seen }: CheckResult) {
  const mark = MARKS[part][verdict];
  return html`<td class="mark ${classOf(verdict)}" title="${name}: ${seen}">${mark}</td>`;
}

/** The link of the overview leads into it, so that a browser opens it. */
function detailsOf(graded: Graded, index: number) {
  return html`
    <details>
      <summary>${graded.name}: ${summarize(graded)}</summary>
      <p id="${idOf(index)}">${graded.path}</p>
      ${(["lab", "beyond"] as const).map((part) => checksOf(graded, part))}
    </details>
  `;
}

function checksOf(graded: Graded, part: Part) {
  const checks = graded.checks.filter((check) => check.part === part);
  if (checks.length === 0 || graded.trouble !== "") return "";
  return html`
    <h3>${TITLES[part]}</h3>
    <table class="${part}">
    <thead><tr><th>Check</th><th>Points</th><th>Done</th><th>Expected</th><th>Seen</th></tr></thead>
    ${checks.map(checkOf)}
    </table>
  `;
}

function checkOf(check: CheckResult) {
  const words = [
    ["Note", check.note],
    ["Change", check.change],
    ["In Python", check.inPython],
  ].filter(([, text]) => text !== "");
  const isShown = check.verdict === "miss" && counts(check) && check.output.length > 0;
  return html`
    <tr class="${classOf(check.verdict)}">
      <td>${check.name}</td>
      <td>${check.maxPoints > 0 ? `${check.points} of ${check.maxPoints}` : ""}</td>
      <td data-label="Done: ">${check.done}</td>
      <td data-label="Expected: ">${check.expected}</td>
      <td data-label="Seen: "><code>${check.seen}</code>
        ${words.map(([title, text]) => html`<p>${title}: ${text}</p>`)}
        ${isShown ? html`<pre>${check.output.join("\n")}</pre>` : ""}</td>
    </tr>
  `;
}
