/**
 * Clients in Python that several tests use: a class that connects at once, and a flood.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import type { Process } from "../tools/shared/process.ts";
import { ACK, python, startServer } from "./shared.ts";

// Students that connect at once, and never hang up by themselves.
const CLASS = `
import json, os, pickle, socket, sys
gate, opener = os.pipe()
for sid in range(int(sys.argv[2])):
    if os.fork() == 0:
        try:
            os.close(opener)
            os.read(gate, 1)  # until all are there
            s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
            hello = pickle.loads(s.recv(4096))
            s.send(pickle.dumps({"student_name": "A", "github_username": "a", "sid": sid}))
            answer = pickle.loads(s.recv(4096))
            os.write(1, (json.dumps([sid, answer]) + "\\n").encode())
            s.recv(4096)
        except Exception as error:
            os.write(2, (repr(error) + "\\n").encode())
        os._exit(0)
os.close(opener)
for _ in range(int(sys.argv[2])): os.wait()
`;

/** Serves a class with a server that has these options: each is acknowledged, and on the roster once. */
export async function serveClass(students: number, ...options: string[]): Promise<void> {
  await using server = await startServer(...options);
  await using clients = python(["-c", CLASS, String(server.port), String(students)]);
  const { out: acknowledged, err } = await clients.end();
  assertEquals(err, []);
  const sids = Array.from({ length: students }, (_, sid) => sid);
  const bySid = ([a]: number[], [b]: number[]) => a - b;
  const answers: number[][] = acknowledged.map((line) => JSON.parse(line));
  assertEquals(answers.toSorted(bySid), sids.map((sid) => [sid, ACK]));

  const { code, out, err: log } = await server.stop();
  const printed = out.map((line) => Number(line.split("sid: ")[1]));
  assertEquals([code, printed.toSorted((a, b) => a - b)], [0, sids]);
  const nextTurns = log.filter((line) => /^INFO 127.*silent for .*next client's turn$/.test(line));
  assertEquals(nextTurns.length, students);
  assertEquals(log.at(-1), `INFO Served ${students} clients and ${students} requests`);
}

// Answers are one byte each: with the least of buffers some 50,000 requests fill them.
const FLOOD = `
import msgpack, socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 88)
s.connect(("127.0.0.1", int(sys.argv[1])))
print(s.getsockname()[1], flush=True)
requests = msgpack.packb({"student_name": "a", "github_username": "b", "sid": 1}) * 1000
try:
    while True: s.sendall(requests)
except OSError: pass
`;

/** A client that sends requests without end and reads no answer. It prints its port. */
export function flood(port: number): Process {
  return python(["-c", FLOOD, String(port)]);
}
