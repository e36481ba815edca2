/**
 * A small JSR registry on loopback. It serves the packages of deno.json with what `npm/` gives in
 * their place, so that a machine which reaches npm alone can run deno.json's own way:
 *
 *     deno run --allow-net --allow-read tools/registry.ts REQUESTS_FILE
 *
 * It prints the value for `JSR_URL`, then the path of each request, a line each. Work in a copy of
 * the project without deno.lock, since the integrities in it are those of the real packages, and
 * with a DENO_DIR of its own.
 *
 * What a JSR registry serves (https://jsr.io/docs/api): /@SCOPE/NAME/meta.json has the versions,
 * /@SCOPE/NAME/VERSION_meta.json the exports and each file's size and SHA-256, and
 * /@SCOPE/NAME/VERSION/PATH the files.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { dirname, join } from "node:path";

type Imports = Record<string, string>;

const ROOT = dirname(import.meta.dirname ?? ".");

async function readImports(path: string): Promise<Imports> {
  return JSON.parse(await Deno.readTextFile(join(ROOT, path))).imports;
}

/** The text of a module in `npm/`, in which the names of npm's packages are whole specifiers. */
async function readModule(file: string, imports: Imports): Promise<string> {
  let text = await Deno.readTextFile(join(ROOT, "npm", file));
  for (const [name, specifier] of Object.entries(imports)) {
    if (specifier.startsWith("npm:")) text = text.replaceAll(`"${name}"`, `"${specifier}"`);
  }
  return text;
}

/** What the manifest says of a file. */
interface FileEntry {
  readonly size: number;
  readonly checksum: string;
}

function entryOf(text: string): FileEntry {
  const bytes = new TextEncoder().encode(text);
  const digest = createHash("sha256").update(bytes).digest("hex");
  return { size: bytes.length, checksum: `sha256-${digest}` };
}

/** The answers for one package: by path. `name` is without the scope, such as `log`. */
async function publish(name: string, version: string, imports: Imports): Promise<Imports> {
  const base = `/@std/${name}`;
  const answers: Imports = {};
  const exports: Imports = {};
  const manifest: Record<string, FileEntry> = {};
  for (const [specifier, file] of Object.entries(imports)) {
    if (specifier !== `@std/${name}` && !specifier.startsWith(`@std/${name}/`)) continue;
    const text = await readModule(file, imports);
    exports[specifier.replace(`@std/${name}`, ".")] = file;
    manifest[file.replace("./", "/")] = entryOf(text);
    answers[join(base, version, file)] = text;
  }
  answers[`${base}/${version}_meta.json`] = JSON.stringify({ manifest, exports });
  const versions = { [version]: {} };
  answers[`${base}/meta.json`] = JSON.stringify({ scope: "std", name, latest: version, versions });
  return answers;
}

/** The answers for all packages of deno.json, each in the lowest version that it allows. */
async function publishAll(): Promise<Imports> {
  const npmImports = await readImports("npm/deno.json");
  const answers: Imports = {};
  for (const specifier of Object.values(await readImports("deno.json"))) {
    const { name, version } = specifier.match(/^jsr:@std\/(?<name>[^@]+)@\^(?<version>.+)$/)
      ?.groups ?? {};
    if (!name) throw new Error(`deno.json has a package that is not of @std: ${specifier}`);
    Object.assign(answers, await publish(name, version, npmImports));
  }
  return answers;
}

const answers = await publishAll();
Deno.serve({
  hostname: "127.0.0.1",
  port: 0,
  onListen: ({ hostname, port }) => console.log(`http://${hostname}:${port}/`),
}, (request) => {
  const { pathname } = new URL(request.url);
  console.log(pathname);
  const text = answers[pathname];
  if (text === undefined) return new Response("There is no such file", { status: 404 });
  const type = pathname.endsWith(".ts") ? "application/typescript" : "application/json";
  return new Response(text, { headers: { "content-type": type } });
});
