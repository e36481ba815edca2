/**
 * Tests of what a sandbox needs of a home folder.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { installationsOf } from "./installation.ts";
import { canTest, gradesOf, missedIn, PYTHON, Submissions } from "./testing.ts";

const ignore = !(await canTest());

/** A folder with these files in it, and with these links to them; both are relative. */
async function makeTree(files: string[], links: Record<string, string>): Promise<string> {
  const root = await Deno.realPath(await Deno.makeTempDir());
  for (const file of [...files, ...Object.keys(links)]) {
    await Deno.mkdir(`${root}/${file.replace(/\/[^/]*$/, "")}`, { recursive: true });
  }
  for (const file of files) await Deno.writeTextFile(`${root}/${file}`, "");
  for (const [link, target] of Object.entries(links)) {
    await Deno.symlink(`${root}/${target}`, `${root}/${link}`);
  }
  return root;
}

Deno.test({ name: "grade: the installation that a program is a part of", ignore }, async () => {
  const root = await makeTree(
    [
      ".nvm/versions/node/v22/bin/node",
      ".pyenv/shims/python3",
      "uv/cpython/bin/python3",
      "eve/run",
    ],
    { "venv/bin/python3": "uv/cpython/bin/python3", "bin/python": "venv/bin/python3" },
  );
  const found = (program: string, ...kept: string[]) => {
    return installationsOf(`${root}/${program}`, kept.map((path) => `${root}/${path}`), root);
  };
  const expected = (...folders: string[]) => folders.map((folder) => `${root}/${folder}`);
  try {
    assertEquals(found(".nvm/versions/node/v22/bin/node"), expected(".nvm/versions/node/v22"));
    assertEquals(found(".pyenv/shims/python3"), expected(".pyenv"));
    assertEquals(found("venv/bin/python3"), expected("venv", "uv/cpython"));
    assertEquals(found("eve/run"), expected("eve"));
    // Not the whole home folder, though the program is in its bin.
    assertEquals(found("bin/python"), expected("bin", "venv", "uv/cpython"));
    // Not a folder in which there is more than a program.
    assertEquals(found("eve/run", "eve/server.py"), expected("eve/run"));
    assertEquals(found("uv/cpython/bin/python3", "uv/cpython/alice"), expected("uv/cpython/bin"));
    assertEquals(installationsOf(PYTHON, []), []);
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});

Deno.test(
  { name: "grade: an interpreter outside the system's folders, and --expose", ignore },
  async () => {
    await using submissions = await Submissions.create();
    const module = await submissions.add("packages", "words = 'from a package'\n", "extra.py");
    const packages = module.replace(/\/[^/]*$/, "");
    const server = await submissions.addFault("none", "alice");
    const text = await Deno.readTextFile(server);
    const path = `import sys\nsys.path.append(${JSON.stringify(packages)})\nimport extra\n`;
    await Deno.writeTextFile(server, text.replace("import io\n", `${path}import io\n`));
    await Deno.mkdir(`${submissions.folder}/venv/bin`, { recursive: true });
    const python = `${submissions.folder}/venv/bin/python3`;
    await Deno.symlink(PYTHON, python);
    const only = ["--only", "says where,greets"];
    const hidden = await gradesOf(...only, python, server);
    assertEquals(missedIn(hidden.submissions[0]), ["says where"]);
    assertEquals(hidden.submissions[0].lastWords, "ModuleNotFoundError: No module named 'extra'");
    const exposed = await gradesOf(...only, "--expose", packages, python, server);
    assertEquals(missedIn(exposed.submissions[0]), []);
  },
);

Deno.test({ name: "grade: an interpreter inside the folder of the server", ignore }, async () => {
  await using submissions = await Submissions.create();
  const server = await submissions.addFault("none", "alice");
  const { folder } = submissions;
  await Deno.mkdir(`${folder}/installed/bin`, { recursive: true });
  await Deno.copyFile(PYTHON, `${folder}/installed/bin/python3`);
  await Deno.mkdir(`${folder}/alice/venv/bin`, { recursive: true });
  const python = `${folder}/alice/venv/bin/python3`;
  await Deno.symlink(`${folder}/installed/bin/python3`, python);
  const grades = await gradesOf("--only", "says where,greets", python, server);
  assertEquals(missedIn(grades.submissions[0]), []);
});
