/**
 * Tests of the skeleton that students fill in, and of a solution: what the skeleton says while it is
 * not finished, and that a server which is written as lab/README.md says serves wherever it is started.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { BY_THE_README, folderWithServer, SOLUTION, startServer, withMethods } from "./student.ts";
import { assertPassed, Folder, LAB, type Python, pythonTest, run, runClient } from "./testing.ts";

pythonTest("lab/server.py runs as it is, and says what is missing", async (python) => {
  await using folder = await Folder.handOut();
  const { code, out, err } = await run(python.program, [folder.file("server.py")]);
  const words = "server.py: the method create_socket is still to be written (TODO)";
  assertEquals([code, out, err.trimEnd()], [1, "", words]);
});

pythonTest(
  "a method that is missing ends the server, whatever its student catches",
  async (python) => {
    const { greet: _, ...others } = BY_THE_README;
    const { folder, port } = await folderWithServer(withMethods(others));
    await using _folder = folder;
    await using server = await startServer(python, folder);
    await runClient(python, folder, port);
    const { code, err } = await server.end();
    assertEquals([code, err], [1, ["server.py: the method greet is still to be written (TODO)"]]);
  },
);

pythonTest("a port that is in use is one line", async (python) => {
  const { folder, port } = await folderWithServer(withMethods(BY_THE_README));
  await using _ = folder;
  await using _server = await startServer(python, folder);
  const { code, err } = await run(python.program, [folder.file("server.py")]);
  assertEquals(code, 1);
  const words = new RegExp(`^No server at 127\\.0\\.0\\.1/${port}: .*in use.*\n$`);
  assert(words.test(err), err);
});

pythonTest("an OSError of the student's own has its traceback", async (python) => {
  const listen = ["self.socket.listen(BACKLOG)", 'open("no such file")'];
  const { folder } = await folderWithServer(withMethods({ ...BY_THE_README, listen }));
  await using _ = folder;
  const { code, err } = await run(python.program, [folder.file("server.py")]);
  assertEquals(code, 1);
  assert(/^Traceback[^]*open\("no such file"\)[^]*FileNotFoundError/.test(err), err);
});

pythonTest("lab/client.py is served by the solution, and once more", async (python) => {
  const { folder, port } = await folderWithServer(SOLUTION);
  await using _ = folder;
  await using server = await startServer(python, folder);
  assertPassed(await runClient(python, folder, port));
  assertPassed(await runClient(python, folder, port, ["Zoë 李小龙", "zoe", "00123"]));
  await server.stdout.next(); // Alice's
  await server.stdout.until("Zoë 李小龙, Github Username: zoe, sid: 00123");
  const { out, err } = await server.stop("SIGKILL");
  assertEquals([out, err], [[], []]);
});

/** A program that has loaded Python's own pickle and then runs another, as debuggers do. */
const DEBUGGER = `
import pickle, runpy, sys
sys.argv = sys.argv[1:]
sys.path[0] = sys.argv[0].rpartition("/")[0]
runpy.run_path(sys.argv[0], run_name="__main__")
`;

pythonTest(
  "the hand-out runs under a debugger that has loaded the real pickle",
  async (python, t) => {
    const { folder, port } = await folderWithServer(withMethods(BY_THE_README));
    await using _ = folder;
    await using elsewhere = await Folder.with();
    const debug = await elsewhere.write("debugger.py", DEBUGGER);
    for (const way of [["-m", "pdb", "-c", "continue"], [debug]]) {
      await t.step(way.includes("pdb") ? "pdb" : "another", async () => {
        await using server = await startServer(python, folder, ...way);
        assertPassed(await runClient(python, folder, port));
        const args = [...way, folder.file("check.py"), "--port", String(port)];
        const { out } = await run(python.program, args);
        assert(/^ok +missing key: /m.test(out), out);
        await server.stdout.until("sid: 123456789");
      });
    }
  },
);

const OWN_PICKLE =
  /^This is Python's own pickle: the lab's pickle\.py is not beside \w+\.py, or this Python does not look/;

/** The server and check.py of this folder say it, and nothing else. */
async function bothSayIt(python: Python, folder: Folder, ...options: string[]): Promise<void> {
  for (const name of ["server.py", "check.py"]) {
    const { code, out, err } = await run(python.program, [...options, folder.file(name)]);
    assertEquals([code, out, err.split("\n").length], [1, "", 2], err);
    assert(OWN_PICKLE.test(err), err);
  }
}

pythonTest("without the lab's pickle.py each program says so", async (python) => {
  await using folder = await Folder.with(new URL("server.py", LAB), new URL("check.py", LAB));
  await bothSayIt(python, folder);
});

pythonTest("a Python that does not look beside the program is no traceback", async (python) => {
  await using folder = await Folder.handOut();
  await bothSayIt(python, folder, "-I");
});
