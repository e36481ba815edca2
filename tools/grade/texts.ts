/**
 * The checks: their names, what they build on, and every text of them, in one table. What they do is
 * in experiment.ts, so that `--help` can be answered without it.
 *
 * @module
 */

import type { Part } from "./outcome.ts";

/** A row of the table. */
export interface CheckText {
  /** The name, which `--only` and `--points` take. */
  readonly name: string;
  /** The part that it belongs to. */
  readonly part: Part;
  /** Kinds of bad clients: an experiment for each, and all must succeed. */
  readonly kinds?: string[];
  /**
   * The checks that it builds on. Where one of them is neither passed nor its subject met by any
   * client, a miss of this one says nothing, and it is "not judged". A pass stands for itself.
   */
  readonly needs: string[];
  /** Whether the grader must have started the server: it reads its output or starts it again. */
  readonly isLocal?: boolean;
  /** Whether it may take long: then it is begun before the others. */
  readonly isLong?: boolean;
  /** What is done with the server. */
  readonly done: string;
  /** What a right server does then. */
  readonly expected: string;
  /** What to change, in the words of the protocol: for a server in any language. */
  readonly change: string;
  /** How to change it in Python. */
  readonly inPython: string;
}

const STREAM =
  'stream = conn.makefile("rb"), once a client; then d = pickle.load(stream) reads one whole value.';
/** It accepts a client. */
const STARTS = ["says where"];
/** A first client is served: it is greeted, and its request is taken. */
const FIRST = ["greets", "acknowledges"];
/** The same, and there is a line for it. */
const PRINTED = [...FIRST, "prints"];
/** A second client is served, too. */
const SECOND = ["serves the next"];

const NEXT_IS_SERVED = "the next client is served";

/** All checks, in the order of the reports. */
export const CHECKS: CheckText[] = [
  {
    name: "says where",
    part: "lab",
    needs: [],
    isLocal: true,
    done: "The server starts",
    expected: "Listening at 127.0.0.1/12000, with its own port",
    change: "Ask for nothing. Listen at 127.0.0.1, port 12000, and print the line " +
      "Listening at HOST/PORT with these two. Flush it.",
    inPython: 'print(f"Listening at {host}/{port}", flush=True)',
  },
  {
    name: "greets",
    part: "lab",
    needs: STARTS,
    done: "A client connects and waits",
    expected: '{"clientid": the client\'s port} at once',
    change: "Send the dict with clientid as one MessagePack value right after accept, before you " +
      "read anything. Its value is the port of the client, an integer.",
    inPython:
      'conn, address = server.accept(); conn.sendall(pickle.dumps({"clientid": address[1]}))',
  },
  {
    name: "acknowledges",
    part: "lab",
    needs: STARTS,
    done: "A client sends its name, user name and sid",
    expected: "the integer 1",
    change: "Send the integer 1 as one MessagePack value, once, when the line of the request is " +
      "printed.",
    inPython: "conn.sendall(pickle.dumps(1))",
  },
  {
    name: "prints",
    part: "lab",
    needs: STARTS,
    isLocal: true,
    done: "The console, when a client has sent them",
    expected: "Connected: Student: ..., Github Username: ..., sid: ... on a line of its own",
    change: "Print this line to the letter, before you send the acknowledgement: nothing before " +
      "or after it, no colours, a plain line break. Flush it.",
    inPython:
      "print(f\"Connected: Student: {d['student_name']}, Github Username: {d['github_username']}, " +
      "sid: {d['sid']}\", flush=True)",
  },
  {
    name: "serves the next",
    part: "lab",
    needs: FIRST,
    done: "Two clients come, one after the other",
    expected: "both are served",
    change: "Accept in a loop that does not end. When a client has closed, close its connection " +
      "and accept the next one.",
    inPython:
      "while True: around accept and all that follows; leave the loop around recv when it " +
      "returns b''.",
  },
  {
    name: "one at a time",
    part: "lab",
    needs: FIRST,
    done: "A client comes while another one is served",
    expected: "it gets nothing until the first one has left: the lab's server is iterative",
    change: "Serve one client from accept to close, and only then accept the next one. A thread " +
      "or a process for each client makes another kind of server.",
    inPython: "Call the function that serves a client; do not start a threading.Thread with it.",
  },
  {
    name: "two at once",
    part: "lab",
    needs: SECOND,
    done: "A client comes while another one is served, and waits",
    expected: "it is served when the first one has left",
    change: "Listen once, before the loop, with a backlog of 10. Close the connections of " +
      "clients, but never the one that listens.",
    inPython: "server.listen(10) before while True, and conn.close() in it.",
  },
  {
    name: "leaves at once",
    part: "lab",
    needs: SECOND,
    done: "A client connects and leaves without a word",
    expected: NEXT_IS_SERVED,
    change: "When a read brings no bytes, the client has closed. Close its connection and accept " +
      "the next one.",
    inPython: "data = conn.recv(4096); if not data: break",
  },
  {
    name: "leaves in the middle",
    part: "lab",
    needs: SECOND,
    done: "A client sends a half of its request and leaves",
    expected: NEXT_IS_SERVED,
    change: "Expect the decoder to fail. Handle its error within the loop, close this " +
      "connection, and accept the next one.",
    inPython: "try: ... except Exception as error: print(client, error) inside the accept loop.",
  },
  {
    name: "resets",
    part: "lab",
    needs: SECOND,
    done: "A client breaks the connection (a reset)",
    expected: NEXT_IS_SERVED,
    change: "Expect every read and every write to fail. Handle the error within the loop, close " +
      "this connection, and accept the next one.",
    inPython: "except OSError as error: (ConnectionResetError is one) around recv and sendall.",
  },
  {
    name: "garbage",
    part: "lab",
    needs: SECOND,
    done: "A client sends bytes that are no MessagePack",
    expected: NEXT_IS_SERVED,
    change: "Expect the decoder to fail. Handle its error within the loop, close this " +
      "connection, and accept the next one.",
    inPython: "try: ... except Exception as error: print(client, error) inside the accept loop.",
  },
  {
    name: "missing key",
    part: "lab",
    needs: SECOND,
    done: "A client sends a dict without sid",
    expected: `no acknowledgement and no line for it, and ${NEXT_IS_SERVED}`,
    change: "See that all three keys are there before you print and acknowledge. If one is " +
      "missing, say so, close this connection, and accept the next one.",
    inPython: "d['sid'] with except KeyError inside the accept loop; d.get('sid') hides it.",
  },
  {
    name: "reports exceptions",
    part: "lab",
    needs: SECOND,
    kinds: ["leaves in the middle", "resets", "garbage", "missing key"],
    isLocal: true,
    done: "The console, meanwhile",
    expected: "words on each such client, which good clients do not cause",
    change: "Print what has happened and to whom, for bad clients only, where you handle the " +
      "error. What good clients cause, too, tells nobody anything.",
    inPython: 'except Exception as error: print(f"{address}: {error!r}", flush=True)',
  },
  {
    name: "reports leaving",
    part: "beyond",
    needs: SECOND,
    kinds: ["leaves at once"],
    isLocal: true,
    done: "The console when a client leaves without a word",
    expected: "words on it, which good clients do not cause",
    change: "Print a line of its own when a client leaves without a request: else nobody knows.",
    inPython: 'if not data and count == 0: print(f"{address} left without a request", flush=True)',
  },
  {
    name: "two pieces",
    part: "beyond",
    needs: FIRST,
    done: "A request comes in two pieces",
    expected: "it is answered as a whole one is, when it is whole",
    change: "One read may bring a part of a value. Keep what has come and read on until it is " +
      "whole: the bytes of MessagePack say how long a value is.",
    inPython: STREAM,
  },
  {
    name: "two in one",
    part: "beyond",
    needs: FIRST,
    done: "Two requests come in one piece",
    expected: "two answers",
    change: "One read may bring two values. Answer each of them, and keep what is left.",
    inPython: STREAM,
  },
  {
    name: "other script",
    part: "beyond",
    needs: PRINTED,
    isLocal: true,
    done: "A name has Latin, Chinese and Greek letters",
    expected: "its line has them as they are",
    change: "Keep the name as text, and print it as UTF-8.",
    inPython: "No .encode() and no ascii(): a str is printed as it is.",
  },
  {
    name: "long name",
    part: "beyond",
    needs: PRINTED,
    isLocal: true,
    done: "A name has 3900 bytes",
    expected: "its line has all of it",
    change: "Read up to 4096 bytes at once, and read on until the value is whole.",
    inPython: STREAM,
  },
  {
    name: "silent client",
    part: "beyond",
    needs: SECOND,
    isLong: true,
    done: "A client connects and stays silent",
    expected: "another one is served before long",
    change: "Set a limit on how long a read may take. When it passes, close this connection and " +
      "accept the next one.",
    inPython: "conn.settimeout(2) after accept, and except socket.timeout.",
  },
  {
    name: "forged line",
    part: "beyond",
    needs: SECOND,
    isLocal: true,
    done: "A name has a line break and a second line in it",
    expected: "no such line is printed",
    change: "Print no control character of a name: put another character in its place, or refuse " +
      "the name.",
    inPython: '"".join(c if c.isprintable() else "?" for c in name)',
  },
  {
    name: "starts again",
    part: "beyond",
    needs: FIRST,
    isLocal: true,
    done: "The server ends with a client connected, and is started again",
    expected: "it accepts at the same port",
    change: "Set the option SO_REUSEADDR of the listening socket before you bind it.",
    inPython: "server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)",
  },
  {
    name: "^C",
    part: "beyond",
    needs: FIRST,
    isLocal: true,
    done: "^C is pressed (SIGINT)",
    expected: "the server ends",
    change: "Let the signal SIGINT end the server, whatever it is doing.",
    inPython: "except Exception:, and no bare except:, which also catches KeyboardInterrupt.",
  },
];

/**
 * The checks whose clients may end a server, from the mildest to the hardest. One that runs already
 * is visited by all others before, and by these in this order: the first that ends it ends the
 * grading.
 */
export const HARDSHIPS: string[] = [
  "silent client",
  "leaves at once",
  "missing key",
  "leaves in the middle",
  "garbage",
  "resets",
  "two pieces",
  "two in one",
];
