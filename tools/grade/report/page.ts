/**
 * The results of all submissions as one page for a browser.
 *
 * @module
 */

import { html, raw } from "hono/html";
import type { CheckResult, Graded, Grades, Verdict } from "../outcome.ts";
import { summarize } from "./text.ts";

const MARKS: Record<Verdict, string> = {
  pass: "ok",
  miss: "miss",
  "not judged": "–",
};

const STYLE = `
  :root { color-scheme: light dark; }
  body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
  table { border-collapse: collapse; }
  th, td { border: 1px solid #8886; padding: 0.3rem 0.5rem; text-align: left; vertical-align: top; }
  .overview { overflow-x: auto; }
  .overview th.check { height: 9rem; vertical-align: bottom; padding: 0.3rem 0.1rem; }
  .overview th.check span { writing-mode: vertical-rl; transform: rotate(180deg); }
  .overview td.mark { text-align: center; }
  .pass { background: #2a92; }
  .miss { background: #d334; }
  .untested { color: #888; }
  details { margin: 0.8rem 0; }
  summary { cursor: pointer; font-weight: 600; }
  details table { margin: 0.6rem 0; width: 100%; }
  code, pre { font: 13px/1.4 ui-monospace, monospace; overflow-wrap: anywhere; white-space: pre-wrap; }
  pre { border-left: 3px solid #8886; margin: 0.3rem 0; padding-left: 0.6rem; }
`;

/** An overview with a row for each submission, then each with what was seen and what to change. */
export async function pageOf(grades: Grades): Promise<string> {
  const names = grades.submissions[0]?.checks.map(({ name }) => name) ?? [];
  const { length } = grades.submissions;
  const title = `Lab 3: ${length} ${
    length === 1 ? "submission" : "submissions"
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
    <p>Graded on ${grades.date.slice(0, 16).replace(
      "T",
      " ",
    )} UTC by the lab server
      ${grades.version}, ${grades.isSandboxed
        ? "each in a sandbox"
        : "without a sandbox"}.</p>
    <div class="overview"><table>
    <tr><th>Submission</th><th>Points</th>${names.map((name) =>
      html`<th class="check"><span>${name}</span></th>`
    )}</tr>
    ${grades.submissions.map(overviewOf)}
    </table></div>
    <h2>Details</h2>
    ${grades.submissions.map(detailsOf)}
      </body>
    </html>
  `;
  return `${String(await page).trim()}\n`;
}

function idOf(index: number): string {
  return `submission-${index + 1}`;
}

function classOf(verdict: Verdict): string {
  return verdict === "not judged" ? "untested" : verdict;
}

function overviewOf(graded: Graded, index: number) {
  const cells = graded.checks.map((check) =>
    html`<td class="mark ${
      classOf(check.verdict)
    }" title="${check.name}: ${check.seen}">${MARKS[check.verdict]}</td>`
  );
  return html`
    <tr><td><a href="#${idOf(index)}">${graded.name}</a></td>
    <td>${graded.points} of ${graded.maxPoints}</td>${cells}</tr>
  `;
}

function detailsOf(graded: Graded, index: number) {
  const isOpen = graded.checks.some(({ verdict }) => verdict === "miss");
  return html`
    <details id="${idOf(index)}" ${isOpen ? "open" : ""}>
      <summary>${graded.name}: ${summarize(graded)}</summary>
      <p>${graded.path}</p>
      <table>
    <tr><th>Check</th><th>Points</th><th>Done</th><th>Expected</th><th>Seen</th></tr>
    ${graded.checks.map(rowOf)}
      </table>
    </details>
  `;
}

function rowOf(check: CheckResult) {
  const advice = check.change === ""
    ? ""
    : html`<p>Change: ${check.change}</p>`;
  const python = check.inPython === ""
    ? ""
    : html`<p>In Python: <code>${check.inPython}</code></p>`;
  const isShown = check.verdict === "miss" && check.output.length > 0;
  const output = isShown ? html`<pre>${check.output.join("\n")}</pre>` : "";
  return html`
    <tr class="${classOf(check.verdict)}">
      <td>${check.name}</td>
      <td>${check.maxPoints > 0
        ? `${check.points} of ${check.maxPoints}`
        : ""}</td>
      <td>${check.done}</td>
      <td>${check.expected}</td>
      <td><code>${check.seen}</code>${advice}${python}${output}</td>
    </tr>
  `;
}
