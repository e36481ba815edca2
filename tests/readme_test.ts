/**
 * Tests of the README and of docs/: what they say is so, and every link leads somewhere.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { ROOT } from "../tools/shared/config.ts";
import {
  asClient,
  firstBlock,
  includes,
  isHere,
  main,
  probe,
  readProjectFile,
  runTest,
  startServer,
} from "./shared.ts";

/** The pages that people read, by their paths in the project. */
const PAGES = [
  "README.md",
  "CHANGELOG.md",
  "CONTRIBUTING.md",
  "docs/grading.md",
  "docs/operating.md",
  "docs/protocol.md",
  "lab/README.md",
  "tools/README.md",
];

/** The path and the text of each page. */
async function readPages(): Promise<[string, string][]> {
  const texts = await Promise.all(PAGES.map(readProjectFile));
  return PAGES.map((path, index) => [path, texts[index]]);
}

/** The cells of the tables in a section, row by row, without the head of the first table. */
function tableRows(markdown: string, title: string): string[][] {
  const section = markdown.split(`\n## ${title}\n`)[1].split("\n## ")[0];
  const rows = section.split("\n").filter((line) => line.startsWith("|")).slice(2);
  return rows.map((row) => row.slice(1, -1).split("|").map((cell) => cell.trim()));
}

runTest("the README has the options of --help, with the same words", async () => {
  const server = await helpRows("--help");
  const client = await helpRows("client", "--help");
  const common = ["--host", "--port"];
  const own = client.filter(([option]) => !common.some((name) => option.includes(name)));
  assertEquals(tableRows(await readProjectFile("README.md"), "Options"), [
    ...server,
    ...own.map(([option, meaning]) => [option, `client: ${meaning}`]),
  ]);
});

/** The options in a page of help, and what is said of each. */
async function helpRows(...args: string[]): Promise<string[][]> {
  const { out } = await main(...args).end();
  const options = out.flatMap((line) => [...line.matchAll(/^ {2}(--\S+ \S+) +(.+)$/g)]);
  return options.map(([, option, meaning]) => [`\`${option}\``, meaning]);
}

runTest("the first commands of the README are the ones that CI tries", async () => {
  const ci = await readProjectFile(".ci/run");
  const commands = firstBlock(await readProjectFile("README.md"), "sh").trim().split("\n");
  assertEquals(commands, ["npx deno task start", "npx deno task test"]);
  for (const command of commands) includes(ci, command);
});

/** The lines of the blocks of a page that show a terminal. */
function terminals(markdown: string): string[][] {
  const blocks = markdown.matchAll(/```console\n([^`]+)```/g);
  return [...blocks].map(([, block]) => block.trimEnd().split("\n"));
}

/** The same line from a client with the port of the pages: 51002, which is cd c7 3a on the wire. */
function withShownPort(line: string, port: number): string {
  const onWire = / cd .. .. "\.\.clientid\..*?",/;
  return line.replaceAll(`${port}`, "51002").replace(onWire, ' cd c7 3a "..clientid..:",');
}

runTest("the sessions that the pages show are what the programs print", async () => {
  await using server = await startServer("--log-level", "DEBUG");
  const client = await asClient(server.port).end();
  const { out, err } = await server.stop();
  const port = Number(client.out[0].match(/\d+/)?.[0]);
  const [ofServer, ofClient] = terminals(await readProjectFile("README.md"));
  assertEquals(ofServer.slice(1), ["Listening at 127.0.0.1/12000", ...out]);
  const shown = client.out.map((line) => line.replace(`${port}`, "60644"));
  assertEquals(ofClient.slice(1), shown.map((line) => line.replace(`${server.port}`, "12000")));
  const [wire] = terminals(await readProjectFile("docs/protocol.md"));
  const records = err.filter((line) => line.startsWith("DEBUG 127.0.0.1:"));
  assertEquals(wire, records.map((line) => withShownPort(line, port)));
});

runTest("each task that a page names is in deno.json, and the README has them all", async () => {
  const { tasks } = JSON.parse(await readProjectFile("deno.json"));
  for (const [path, text] of await readPages()) {
    for (const [, task] of text.matchAll(/deno task ([\w:]+)/g)) {
      assert(task in tasks, `${path} names the task ${task}`);
    }
  }
  const readme = await readProjectFile("README.md");
  for (const task of Object.keys(tasks)) {
    if (task !== "packages") includes(readme, `\`${task}\``);
  }
});

runTest("each file of the project that a page names is there", async () => {
  for (const [, text] of await readPages()) {
    const names = text.matchAll(
      /(?<![./\w])((?:lab|tools|tests|npm)\/[\w./]+\.\w+|main\.ts|deno\.\w+)/g,
    );
    for (const [, file] of names) await readProjectFile(file);
  }
});

runTest("the table of the lab's hints names what main.ts has", async () => {
  const text = await readProjectFile("docs/protocol.md");
  const source = await readProjectFile("main.ts");
  for (const [, , where] of tableRows(text, "The lab's hints in main.ts")) {
    for (const [, name] of where.matchAll(/`([^`]+)`/g)) includes(source, name);
  }
});

// ------------------------------------------------------------------------------------- links --

/** The anchors of a page, as GitHub makes them of its headings. */
function anchorsOf(markdown: string): string[] {
  const headings = markdown.replace(/```[^]*?```/g, "").matchAll(/^#+ (.+)$/gm);
  return [...headings].map(([, heading]) => {
    return heading.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-");
  });
}

/** The links of a page to what is in the project. */
function linksOf(markdown: string): string[] {
  const links = markdown.replace(/```[^]*?```/g, "").matchAll(/\]\(([^)\s]+)\)/g);
  return [...links].map(([, link]) => link).filter((link) => !/^\w+:/.test(link));
}

/** Why a link of a page leads nowhere; nothing if it leads somewhere. */
async function whyBroken(path: string, link: string): Promise<string | undefined> {
  const [file, anchor] = link.split("#");
  const target = file === "" ? path : new URL(file, `file:///${path}`).pathname.slice(1);
  try {
    const text = await Deno.readTextFile(new URL(target, ROOT));
    if (anchor === undefined || anchorsOf(text).includes(anchor)) return undefined;
    return `${path}: ${target} has no heading #${anchor}`;
  } catch {
    return `${path}: there is no ${target}`;
  }
}

runTest("every link and every anchor of the pages leads somewhere", async () => {
  const broken: string[] = [];
  let number = 0;
  for (const [path, text] of await readPages()) {
    for (const link of linksOf(text)) {
      number++;
      broken.push(...[await whyBroken(path, link)].filter((why) => why !== undefined));
    }
  }
  assertEquals(broken, []);
  assert(number > 10, `only ${number} links were found`);
});

runTest("a link that leads nowhere is found", async () => {
  const links = linksOf(
    "[a](docs/none.md) [b](docs/grading.md#none) [c](https://x.org) ![d](#one)",
  );
  const whys = await Promise.all(links.map((link) => whyBroken("README.md", link)));
  assertEquals(whys, [
    "README.md: there is no docs/none.md",
    "README.md: docs/grading.md has no heading #none",
    "README.md: README.md has no heading #one",
  ]);
});

runTest(
  "the published package has the pages and the pictures that the README links to",
  async () => {
    const { publish } = JSON.parse(await readProjectFile("deno.json"));
    const links = linksOf(await readProjectFile("README.md"));
    for (const link of links.filter((link) => link.startsWith("docs/"))) {
      assert(publish.include.includes("docs"), link);
    }
  },
);

// -------------------------------------------------------------------------------- the roster --

const JQ = await isHere("jq", "--version");

/** What a server may leave in the file, with lines that were cut off and lines that are no record. */
const ROSTER = `{"time":"t1","event":"listening"}
{"time":"t2","event":"request","sid":5,"student_name":"Al","github_username":"al"}
Packages: from JSR
123
null
{"time":"t3","event":"request","sid":"5","student_name":"Alice \\"A\\" Brown","github_username":"=1+1"}
{"time":"t4","event":"request","sid":"x7","student_name":"Zo\\u00eb","github_username":"zoe"}
{"time":"t5","event":"request","sid":8,"stud
{"time":"t6","event":"request","sid":9,"student_name":"Carl","github_username":"carl"}
{"time":"t7","event":"requ`;

runTest("the roster becomes a table, whatever lines are damaged", async () => {
  if (!JQ) return console.log("Not tried: jq is not installed");
  const block = (await readProjectFile("docs/operating.md")).split("## The roster as a table")[1];
  const [, program] = /jq -nRr '([^']+)' \.\.\/roster\.jsonl/.exec(firstBlock(block, "sh")) ?? [];
  const file = await Deno.makeTempFile();
  await Deno.writeTextFile(file, ROSTER);
  const table = await probe("jq", "-nRr", program, file);
  await Deno.remove(file);
  assertEquals(table?.trimEnd().split("\n"), [
    `"t3","5","Alice ""A"" Brown","'=1+1"`,
    `"t6","9","Carl","carl"`,
    `"t4","x7","Zoë","zoe"`,
  ]);
});
