/**
 * Tests of the pictures in `docs/`: they can be made again, and they still show what happens.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { ROOT } from "../shared/config.ts";
import { hasPython, labelsOf, processTest, textsOf } from "../shared/testing.ts";
import { drawPieces, drawTogether, makePictures } from "./pictures_command.ts";

const DOCS = new URL("docs/", ROOT);
const ROWS = "client, by arrival"; // the title of the axis

function read(name: string): Promise<string> {
  return Deno.readTextFile(new URL(name, DOCS));
}

/** What a ladder says, without what differs from run to run. */
function ladderTexts(svg: string): string[] {
  const isTime = /^\+?[\d.]+ m?s$/;
  return textsOf(svg).map(({ text }) => text)
    .filter((text) => !isTime.test(text))
    .map((text) => text.replace(/127\.0\.0\.1:\d+/, "ADDRESS"))
    .map((text) => text.replace(/("clientid":)\d+/, "$1PORT"))
    .map((text) => text.replace(/^(81 a8 .*) cd .. ..$/, "$1 cd PORT"));
}

processTest("a request in three pieces and three in one: the ladders are still so", async () => {
  const pictures = [
    { name: "pieces.svg", svg: await drawPieces(), recv: 3, values: 1 },
    { name: "together.svg", svg: await drawTogether(), recv: 1, values: 3 },
  ];
  for (const { name, svg, recv, values } of pictures) {
    const texts = ladderTexts(svg);
    assertEquals(texts.filter((text) => text.startsWith("recv: ")).length, recv);
    assertEquals(texts.filter((text) => text.startsWith("a whole value")).length, values);
    assertEquals(ladderTexts(await read(name)), texts);
  }
});

// Only a Linux queue drops who comes when it is full.
processTest("the pictures can be made again", async () => {
  const serverOptions = ["--keep-alive-timeout", "0.1"];
  const made = await makePictures({ clients: 2, crowd: 4, crowdMs: 1000, serverOptions });
  const files = (await Array.fromAsync(Deno.readDir(DOCS))).map(({ name }) => name)
    .filter((name) => name.endsWith(".svg"));
  assertEquals(files.sort(), [...made.keys()].sort());
  const rows = [...made.values()].map((svg) => labelsOf(svg, ROWS).length);
  assertEquals(rows, [2, 4, 4, 0, 0]);
}, hasPython && Deno.build.os === "linux");

Deno.test({
  name: "the pictures show a whole class, one that is served and one that is not",
  ignore: (await Deno.permissions.query({ name: "read" })).state !== "granted",
  fn: async () => {
    const [usual, crowd, threads] = await Promise.all(
      ["class.svg", "backlog.svg", "threaded.svg"].map(read),
    );
    const rows = [usual, crowd, threads].map((svg) => labelsOf(svg, ROWS).length);
    assertEquals(rows, [30, 20, 60]);
    const says = (svg: string, pattern: RegExp) =>
      assert(pattern.test(svg.match(/<title>.*<\/title>/)?.[0] ?? ""), `${pattern}`);
    says(usual, /Client 30 waited \d\d\.\d s\. The server worked 0\.\d\d s in that time/);
    says(crowd, /\d of 20 clients were never served/);
    says(
      threads,
      /At main\.ts, client 30 waited \d\d\.\d s\. At .*, nobody waited longer than 0\./,
    );
    assert(threads.length < 80_000, "a picture is small enough for a repository");
  },
});
