/**
 * The process of a submission: how it is started, what it prints, and how it ends.
 *
 * @module
 */

import { delimiter } from "node:path";
import { existsSync } from "node:fs";
import {
  ANSWER_MS,
  delay,
  MAX_LINE_LENGTH,
  MAX_LINES,
  MAX_REPORTED_LINES,
  PIPES_MS,
  until,
} from "./limits.ts";
import { printable } from "../shared/text.ts";
import { lastWords } from "./words.ts";

/** How a server is started. */
export interface Launch {
  /** The program and its arguments. */
  readonly command: string[];
  /** Its working directory. */
  readonly folder: string;
  /** The folder with the lab's own `pickle.py`, for Python's search path. */
  readonly labFolder: string;
  /** Programs that lower the rights of the server: they run the command that follows them. */
  readonly wrappers: string[];
}

/**
 * What makes every program print at once, in UTF-8 and without colours. The lab's `pickle.py` comes first in Python's
 * search path, what was there before comes after it.
 */
function environmentOf(launch: Launch): Record<string, string> {
  const paths = [launch.labFolder, Deno.env.get("PYTHONPATH") ?? ""];
  return {
    PYTHONPATH: paths.filter((path) => path !== "").join(delimiter),
    PYTHONUNBUFFERED: "1",
    PYTHONIOENCODING: "utf-8",
    LANG: "C.UTF-8",
    LC_ALL: "C.UTF-8",
    NO_COLOR: "1",
  };
}

/** From the package coreutils. */
const STDBUF = "/usr/bin/stdbuf";

/**
 * What makes a program in C print each line at once, as it does in a terminal: with a pipe it would
 * keep its output until it ends. A program in another language does not notice it.
 */
function lineBuffered(): string[] {
  return existsSync(STDBUF) ? [STDBUF, "-oL"] : [];
}

const running = new Set<Server>();

/** Ends all servers that were started here and not in a sandbox. */
export function endServers(): void {
  for (const server of running) server.signal("SIGKILL");
}

/** A running server, in a process group of its own. Its standard input is open and silent. */
export class Server {
  /** The whole lines that it has printed, on standard output and standard error. */
  readonly lines: string[] = [];
  /** Whether its first process has ended and what it printed is here. */
  hasEnded = false;
  /** How its first process has ended: empty while it runs. */
  ending = "";
  readonly #process: Deno.ChildProcess;
  #rests: Record<string, string> = {};

  /** Starts a server. */
  constructor(launch: Launch) {
    const [program, ...args] = [...launch.wrappers, ...lineBuffered(), ...launch.command];
    this.#process = new Deno.Command(program, {
      args,
      cwd: launch.folder,
      env: environmentOf(launch),
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
      detached: true,
    }).spawn();
    const pipes = Promise.all([
      this.#read("stdout", this.#process.stdout),
      this.#read("stderr", this.#process.stderr),
    ]);
    running.add(this);
    this.#finish(pipes);
  }

  /** Ends its standard input: a server that waits for it goes on, or ends. */
  async closeInput(): Promise<void> {
    await this.#process.stdin.close().catch(() => {}); // it has just ended
  }

  /** Sends a signal to all processes of its group, as a terminal does. */
  signal(name: Deno.Signal): void {
    try {
      const isWindows = Deno.build.os === "windows"; // it has no process groups
      Deno.kill(isWindows ? this.#process.pid : -this.#process.pid, name);
    } catch {
      // It has just ended.
    }
  }

  /** Ends it at once, with what it has started in its group and left behind. */
  async kill(): Promise<void> {
    this.signal("SIGKILL");
    await until(() => this.hasEnded, ANSWER_MS);
    running.delete(this);
  }

  /** All that it has printed, with what it printed last and without a line break. */
  allLines(): string[] {
    return [
      ...this.lines,
      ...Object.values(this.#rests).filter((rest) => rest !== ""),
    ];
  }

  /** The error that it ended with, or the last line that it printed. */
  lastWords(): string {
    return printable(lastWords(this.allLines()));
  }

  /** What a report shows of its output: the first lines and the last ones. */
  excerpt(): string[] {
    const lines = this.allLines().map(printable);
    if (lines.length <= MAX_REPORTED_LINES) return lines;
    const half = MAX_REPORTED_LINES / 2;
    const left = lines.length - MAX_REPORTED_LINES;
    return [
      ...lines.slice(0, half),
      `(${left} lines more)`,
      ...lines.slice(-half),
    ];
  }

  async #read(
    name: string,
    pipe: ReadableStream<Uint8Array<ArrayBuffer>>,
  ): Promise<void> {
    for await (const text of pipe.pipeThrough(new TextDecoderStream())) {
      const parts = ((this.#rests[name] ?? "") + text).split(LINE_BREAK);
      this.#rests[name] = (parts.pop() ?? "").slice(0, MAX_LINE_LENGTH);
      if (this.lines.length >= MAX_LINES) continue;
      this.lines.push(...parts.map((line) => line.slice(0, MAX_LINE_LENGTH)));
    }
  }

  /** Its first process may end while others go on: so does every server that becomes a daemon. */
  async #finish(pipes: Promise<unknown>): Promise<void> {
    const { code, signal } = await this.#process.status;
    await Promise.race([pipes, delay(PIPES_MS)]);
    this.ending = signal ?? `status ${code}`;
    this.hasEnded = true;
  }
}

/** Only Windows ends its lines with `\r\n`; elsewhere a `\r` is one more character, and seen. */
const LINE_BREAK = Deno.build.os === "windows" ? /\r?\n/ : "\n";
