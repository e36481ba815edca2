/**
 * Makes executables of the server for students: `deno task compile`.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { ROOT, serverFlags } from "../shared/config.ts";

const HELP = `Usage: deno task compile [--out FOLDER] [WORD...]

Makes an executable of the server for each system, in dist/ or in FOLDER. Words choose some of them by
a part of their names: deno task compile windows

It takes seconds, and at the first time minutes: Deno fetches for each system the runtime that the
executable begins with. Where one cannot be had, the others are made all the same, and the exit status
is 1. Where Deno's server cannot be reached, the variable DENORT_BIN can name the file of a runtime
(denort, from the releases of Deno). It is for one system, so name that system.`;

/** A system that executables are made for, in Deno's words, and the name of the file. */
interface Target {
  readonly target: string;
  readonly file: string;
}

const TARGETS: Target[] = [
  { target: "x86_64-unknown-linux-gnu", file: "lab-linux-x64" },
  { target: "aarch64-unknown-linux-gnu", file: "lab-linux-arm64" },
  { target: "x86_64-apple-darwin", file: "lab-macos-intel" },
  { target: "aarch64-apple-darwin", file: "lab-macos-apple-silicon" },
  { target: "x86_64-pc-windows-msvc", file: "lab-windows-x64.exe" },
];

async function compile({ target, file }: Target, folder: string): Promise<boolean> {
  const output = `${folder}/${file}`;
  const where = ["--target", target, "--output", output];
  const { success, stderr } = new Deno.Command(Deno.execPath(), {
    args: ["compile", "--quiet", ...await serverFlags(), "--allow-net", ...where, "main.ts"],
    cwd: ROOT,
    env: { NO_COLOR: "1", RUST_BACKTRACE: "0" }, // so that an error is a sentence
  }).outputSync();
  const reason = new TextDecoder().decode(stderr).trim().replaceAll(/\s+/g, " ");
  console.log(success ? `ok      ${output}` : `FAILED  ${output}: ${reason}`);
  return success;
}

/** Makes those whose names have all these words; returns the exit status. */
async function compileAll(words: string[], folder: string): Promise<number> {
  const wanted = TARGETS.filter(({ file }) => words.every((word) => file.includes(word)));
  if (wanted.length === 0) {
    const files = TARGETS.map(({ file }) => file).join(", ");
    console.error(`No executable has ${words.join(" and ")} in its name: there are ${files}`);
    return 2;
  }
  let made = 0;
  for (const target of wanted) {
    if (await compile(target, folder)) made++;
  }
  console.log(`${made} of ${wanted.length} executables are in ${folder}/`);
  return made === wanted.length ? 0 : 1;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { help: { type: "boolean" }, out: { type: "string", default: "dist" } },
});
if (values.help) console.log(HELP);
else Deno.exit(await compileAll(positionals, values.out));
