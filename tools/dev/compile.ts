/**
 * Makes executables of the server for students, in `dist/`: `deno task compile`. Words behind it
 * choose some of them by a part of their names: `deno task compile windows`.
 *
 * Deno fetches for each system the runtime that the executable begins with. Where one cannot be had,
 * the others are made all the same, and the exit status is 1. Where Deno's server cannot be reached,
 * the variable DENORT_BIN can name the file of a runtime (`denort`, from the releases of Deno). It is
 * for one system, so name that system behind the task.
 *
 * @module
 */

import { ROOT, serverFlags } from "../shared/config.ts";

/** A system that executables are made for, in Deno's words, and the name of the file. */
interface Target {
  readonly target: string;
  readonly file: string;
}

const TARGETS: Target[] = [
  { target: "x86_64-unknown-linux-gnu", file: "dist/lab-linux-x64" },
  { target: "aarch64-unknown-linux-gnu", file: "dist/lab-linux-arm64" },
  { target: "x86_64-apple-darwin", file: "dist/lab-macos-intel" },
  { target: "aarch64-apple-darwin", file: "dist/lab-macos-apple-silicon" },
  { target: "x86_64-pc-windows-msvc", file: "dist/lab-windows-x64.exe" },
];

async function compile({ target, file }: Target): Promise<boolean> {
  const { success, stderr } = new Deno.Command(Deno.execPath(), {
    args: [
      "compile",
      "--quiet",
      ...await serverFlags(),
      "--allow-net",
      "--target",
      target,
      "--output",
      file,
      "main.ts",
    ],
    cwd: ROOT,
    env: { NO_COLOR: "1", RUST_BACKTRACE: "0" }, // so that an error is a sentence
  }).outputSync();
  if (success) {
    console.log(`ok      ${file}`);
    return true;
  }
  const reason = new TextDecoder().decode(stderr).trim().replaceAll(/\s+/g, " ");
  console.log(`FAILED  ${file}: ${reason}`);
  return false;
}

const wanted = TARGETS.filter(({ file }) => Deno.args.every((word) => file.includes(word)));
if (wanted.length === 0) {
  const files = TARGETS.map(({ file }) => file).join(", ");
  console.error(`No executable has ${Deno.args.join(" and ")} in its name: there are ${files}`);
  Deno.exit(2);
}
let made = 0;
for (const target of wanted) {
  if (await compile(target)) made++;
}
console.log(`${made} of ${wanted.length} executables are in dist/`);
Deno.exit(made === wanted.length ? 0 : 1);
