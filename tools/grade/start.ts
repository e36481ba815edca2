/**
 * Why a server does not start, as its output tells it, and what to change then.
 *
 * @module
 */

import { DYING_MS, MAX_LINES, until } from "./limits.ts";
import type { Server } from "./server.ts";

/** A way to fail. */
interface Failure {
  /** What the server prints then. */
  readonly says: RegExp;
  /** What to change. Its `$1` and `$2` are what the pattern has found. */
  readonly advice: string;
}

/** The first row that fits counts. */
const FAILURES: Failure[] = [
  {
    says: /Non-UTF-8 code|\(unicode error\)|null bytes|codec can't decode byte/,
    advice: "Save the file as UTF-8: your editor has written another encoding.",
  },
  {
    says: /line (\d+)[^]*?SyntaxError: (invalid character .*)/,
    advice: "Write line $1 anew: $2. It was copied from a text whose quotes or dashes are no code.",
  },
  {
    says: /line (\d+)[^]*?SyntaxError: Missing parentheses in call to 'print'/,
    advice: "Write print(...) in line $1: this is Python 2, and the lab has Python 3.",
  },
  {
    says: /line (\d+)[^]*?((?:Syntax|Indentation|Tab)Error: .*)/,
    advice: "Mend line $1, which Python cannot read: $2.",
  },
  {
    says: /SyntaxError: (.*)/,
    advice: "Mend the line that cannot be read: $1.",
  },
  {
    says: /(?:No module named|Cannot find module|Module not found) ['"]?([^'"\s]+)/,
    advice:
      "Do without the module $1, which is not there: hand in all files of your own, and use " +
      "what the language itself brings. (A teacher can add a folder with --expose.)",
  },
  {
    says: /sys\.argv|the following arguments are required|^usage: /im,
    advice: "Do not need arguments: the server is started without any. Use 127.0.0.1 and 12000 " +
      "where none are given.",
  },
  {
    says: /EOFError: EOF when reading a line/,
    advice: "Ask for nothing: nobody types anything. Use 127.0.0.1 and 12000.",
  },
  {
    says: /the method (\w+) is still to be written/,
    advice: "Write the method $1 in the place of its TODO: this is the lab's skeleton.",
  },
  {
    says: /NotImplementedError/,
    advice: "Write what is still to be written: a TODO stands where the server ends.",
  },
  {
    says: /Name or service not known|nodename nor servname|gaierror|ENOTFOUND/,
    advice: 'Listen at "127.0.0.1": the name of another machine is not known everywhere.',
  },
  {
    says: /Cannot assign requested address|EADDRNOTAVAIL/,
    advice: 'Listen at "127.0.0.1": the address in the program is that of another machine.',
  },
  {
    says: /Address already in use|EADDRINUSE/,
    advice: "Bind and listen once. The port was free when the server started.",
  },
  {
    says: /^(?=[^]*Error)[^]*line (\d+), in [^]*?\n(\w*Error\b.*)/,
    advice: "Mend line $1, where the server ends before it listens: $2.",
  },
];

const ENDED = "Listen and accept in a loop that does not end: the server ended by itself before " +
  "a client came.";
const ASKED =
  "Ask for nothing: the server reads its standard input before it listens, and nobody " +
  "types anything. Use 127.0.0.1 and 12000.";
const PRINTS = "Get on to listen and accept: the server prints without end.";
const ELSEWHERE =
  "Listen at 127.0.0.1, port 12000: the server says that it listens, and no client " +
  "reaches it there.";

/** What to change where nobody accepts; empty where nothing is known about it. */
export async function adviceOnStart(server: Server, saysThatItListens: boolean): Promise<string> {
  const hadEnded = server.hasEnded;
  if (!hadEnded) await server.closeInput();
  const endsWithoutInput = !hadEnded && await until(() => server.hasEnded, DYING_MS);
  const advice = adviceOn(server.allLines().join("\n"));
  if (advice !== "") return advice;
  if (endsWithoutInput) return ASKED;
  if (hadEnded) return ENDED;
  if (server.lines.length >= MAX_LINES) return PRINTS;
  return saysThatItListens ? ELSEWHERE : "";
}

/** The advice of the first row that fits this output. */
export function adviceOn(output: string): string {
  for (const { says, advice } of FAILURES) {
    const found = output.match(says);
    if (found) return advice.replace(/\$(\d)/g, (_, digit) => found[Number(digit)] ?? "");
  }
  return "";
}
