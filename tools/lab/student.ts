/**
 * Servers that students write: the skeleton, with a text of theirs in the place of each TODO.
 *
 * @module
 */

import { Process } from "../shared/process.ts";
import { freePort } from "../shared/testing.ts";
import { FIXTURES, Folder, LAB, type Python } from "./testing.ts";

/** The skeleton as it is handed out. */
export const SKELETON: string = await Deno.readTextFile(new URL("server.py", LAB));

/** A server that passes everything. It is not handed out. */
export const SOLUTION: string = await Deno.readTextFile(new URL("solution.py", FIXTURES));

/** A folder with the hand-out and this server at a free port; and the port. */
export async function folderWithServer(text: string): Promise<{ folder: Folder; port: number }> {
  const folder = await Folder.handOut();
  const port = freePort();
  await folder.write("server.py", text.replace("PORT = 12000", `PORT = ${port}`));
  return { folder, port };
}

/** Starts the server of a folder, in another way than by itself where one is given. */
export function startServer(python: Python, folder: Folder, ...way: string[]): Promise<Process> {
  const env = { PYTHONDONTWRITEBYTECODE: "1", PYTHONUNBUFFERED: "1" };
  return Process.server(python.program, [...way, folder.file("server.py")], { env });
}

/** Lines of Python for methods of the skeleton, by their names. */
export type Methods = Record<string, string[]>;

/** What is in the skeleton where a method is still to be written. */
export function placeOf(name: string): string {
  const end = `        raise SystemExit(TODO % "${name}")\n`;
  const method = SKELETON.slice(SKELETON.indexOf(`    def ${name}(`), SKELETON.indexOf(end));
  return method.slice(method.indexOf("        # TODO")) + end;
}

/** These lines as the body of a method. */
export function bodyOf(lines: string[]): string {
  return lines.map((line) => `        ${line}\n`).join("");
}

/** The skeleton with these methods written; the others are still to be written. */
export function withMethods(methods: Methods): string {
  let text = SKELETON;
  for (const [name, lines] of Object.entries(methods)) {
    text = text.replace(placeOf(name), () => bodyOf(lines));
  }
  return text;
}

/** The methods as lab/README.md says it: they pass what the lab asks for. */
export const BY_THE_README: Methods = {
  create_socket: [
    "self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)",
    "self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)",
  ],
  bind: ["self.socket.bind((self.host, self.port))"],
  listen: ["self.socket.listen(BACKLOG)", 'print("Listening at %s/%d" % (self.host, self.port))'],
  accept_clients: [
    "while True:",
    "    conn, address = self.socket.accept()",
    "    try:",
    "        self.serve_client(conn, address)",
    "    except Exception:",
    '        print("%s/%d:" % address, file=sys.stderr)',
    "        traceback.print_exc()",
    "    finally:",
    "        conn.close()",
  ],
  serve_client: [
    "self.greet(conn, address)",
    "student = self.receive(conn)",
    "while student is not None:",
    "    self.print_student(student)",
    "    self.acknowledge(conn)",
    "    student = self.receive(conn)",
  ],
  greet: ['conn.sendall(pickle.dumps({"clientid": address[1]}))'],
  receive: [
    "data = conn.recv(4096)",
    'return pickle.loads(data) if data != b"" else None',
  ],
  print_student: [
    'print("Connected: Student: %s, Github Username: %s, sid: %s"',
    '      % (student["student_name"], student["github_username"], student["sid"]))',
  ],
  acknowledge: ["conn.sendall(pickle.dumps(1))"],
};
