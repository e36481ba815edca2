/**
 * What the grader needs of the world: connections that behave as they are told, and a server's
 * process that is started, listened to and ended.
 *
 * @module
 */

import { decode } from "@std/msgpack";
import { createConnection, type Socket } from "node:net"; // Deno's own cannot send a reset
import { delimiter } from "node:path";
import { fileURLToPath } from "node:url";
import { ROOT } from "./config.ts";

/** ms from the start of a server until it accepts. */
export const START_MS = 8000;
/** ms for a greeting, an answer, or the end after ^C. */
export const ANSWER_MS = 2000;
/** ms for what was printed before an answer to arrive here, in a pipe of its own. */
export const WORDS_MS = 500;
/** ms in which a server may be the first to close. */
export const MOMENT_MS = 20;
const PIECE_MS = 100; // keeps two pieces of a request apart, so that one read brings one of them
const PATIENCE_MS = 100; // for the server to close after the client
const LAST_WORDS_MS = 200; // for a process to end whose connection has ended
const KEPT = 65536; // characters of what a server prints, bytes of what it sends: no more is stored

/** What a check found wrong, and what to change where that is not the check's own sentence. */
export class Miss extends Error {
  /** A miss of which this was seen. */
  constructor(seen: string, readonly fix?: string) {
    super(seen);
  }
}
/** Why a check cannot be made. */
export class Untested extends Error {}

const hex = (code: number, digits: number) => code.toString(16).padStart(digits, "0");
const UNSAFE = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;
/** What a server prints or sends must not forge a row or move the cursor. */
export const escape = (text: string): string =>
  text.replace(UNSAFE, (c) => "\\u" + hex(c.charCodeAt(0), 4));
/** A text of a server, shortened and safe to show. */
export const clip = (text: string, max = 110): string =>
  escape(text.length > max ? text.slice(0, max) + "..." : text);
/** A value as JSON. */
export const show = (value: unknown): string =>
  clip(JSON.stringify(value, (_, v) => typeof v === "bigint" ? Number(v) : v) ?? "nothing");
/** The time since then. */
export const seconds = (since: number): string =>
  `${((performance.now() - since) / 1000).toFixed(1)} s`;

/** Something that changes, and that others wait for. */
export class Watched {
  #waiting: (() => void)[] = [];

  /** Wakes all who wait. */
  changed(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** Whether the condition is true, or becomes true in time. */
  async until(condition: () => boolean, ms: number): Promise<boolean> {
    const deadline = performance.now() + ms;
    while (!condition()) {
      const left = deadline - performance.now();
      if (left <= 0) return false;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.push(resolve);
      const timer = setTimeout(resolve, left);
      await promise;
      clearTimeout(timer);
    }
    return true;
  }
}

// ------------------------------------------------------------------------------ a client --

/** A value that a server has sent. */
export interface Answer {
  /** The value. */
  value: unknown;
  /** All that had arrived, this value first. */
  bytes: Uint8Array;
}

/** One connection to the server. */
export class Client extends Watched {
  /** How the server has ended the connection, in words; empty while it has not. */
  end = "";
  #received = new Uint8Array();

  /** A client that has this connection, or will have it. */
  constructor(readonly socket: Socket) {
    super();
    const ended = (how: string) => {
      this.end ||= how;
      this.changed();
    };
    socket.setNoDelay().on("connect", () => this.changed());
    socket.on("data", (chunk: Uint8Array) => {
      const isFull = this.#received.length >= KEPT;
      if (!isFull) this.#received = new Uint8Array([...this.#received, ...chunk]);
      this.changed();
    });
    socket.on("end", () => ended("the server closed the connection"));
    socket.on("error", ({ message }) => ended(`the connection broke: ${message}`));
    socket.on("close", () => ended("the connection was closed"));
  }

  /** Connects, wherever on this machine the server listens; `undefined` when nobody accepts. */
  static async connect(port: number): Promise<Client | undefined> {
    for (const host of ["127.0.0.1", "::1"]) {
      const socket = createConnection({ host, port, allowHalfOpen: true });
      const client = new Client(socket);
      const isOpen = () => !socket.connecting && client.end === "";
      await client.until(() => isOpen() || client.end !== "", ANSWER_MS);
      // The own end may get the very port that nobody listens at: that is no server.
      if (isOpen() && socket.localPort !== port) return client;
      client.reset();
    }
  }

  /** Sends the pieces of a request, one after the other; what came before is no answer to it. */
  async send(...pieces: Uint8Array[]): Promise<void> {
    this.#received = new Uint8Array();
    for (const piece of pieces) {
      if (piece !== pieces[0]) await this.until(() => this.end !== "", PIECE_MS);
      await new Promise<void>((resolve) => this.socket.write(piece, () => resolve()));
    }
  }

  /** The next value, if it comes in time: the shortest beginning that is a whole one. */
  async receive(ms: number = ANSWER_MS): Promise<Answer | undefined> {
    let answer: Answer | undefined;
    const take = () => {
      const bytes = this.#received;
      for (let end = 1; end <= Math.min(bytes.length, 8192) && answer === undefined; end++) {
        try {
          answer = { value: decode(bytes.slice(0, end)), bytes };
          this.#received = bytes.slice(end);
        } catch { // not whole yet, or never
        }
      }
      return answer !== undefined || this.end !== "";
    };
    await this.until(take, ms);
    return answer;
  }

  /** Why no value came. */
  get silence(): string {
    if (this.#received.length > 0) return `no MessagePack: ${dump(this.#received)}`;
    return this.end || `nothing within ${ANSWER_MS / 1000} s`;
  }

  /**
   * Leaves as a good client does. Whoever closes first keeps the port for a minute, in which many
   * a server cannot be started again. So this end closes first, and a server that was faster is
   * sent a reset, which frees its port at once. Returns whether the server has closed in time.
   */
  async leave(moment: number = MOMENT_MS, patience: number = PATIENCE_MS): Promise<boolean> {
    const hasEnded = () => this.end !== "";
    if (await this.until(hasEnded, moment)) {
      this.reset();
      return true;
    }
    this.socket.end();
    await this.until(hasEnded, patience);
    this.socket.destroy();
    return hasEnded();
  }

  /** Breaks the connection. */
  reset(): void {
    this.socket.resetAndDestroy();
  }
}

/** The first bytes, for a person. */
export function dump(bytes: Uint8Array): string {
  const start = [...bytes.slice(0, 16)];
  const digits = start.map((byte) => hex(byte, 2)).join(" ") + (bytes.length > 16 ? " ..." : "");
  return `${digits}, as text ${show(String.fromCharCode(...start))}`;
}

// ---------------------------------------------------------------------------- the server --

/** The end of what a server prints, however much that is. */
export class Tail {
  #text = "";
  #dropped = 0;

  /** Where the next line will begin. */
  get mark(): number {
    return this.#dropped + this.#text.lastIndexOf("\n") + 1;
  }

  /** Takes what was printed. */
  add(text: string): void {
    const all = this.#text + text;
    this.#text = all.slice(-KEPT);
    this.#dropped += all.length - this.#text.length;
  }

  /** The whole lines since a mark. */
  lines(since: number = 0): string[] {
    return this.#text.slice(Math.max(0, since - this.#dropped)).split(/\r?\n/).slice(0, -1);
  }

  /** Whether some of what was printed since a mark is not kept any more. */
  hasLost(since: number): boolean {
    return this.#dropped > since;
  }
}

/** The server under test. Without a command it runs already, and is neither started nor ended. */
export class Server extends Watched {
  /** Its standard output, of all its starts. */
  readonly out: Tail = new Tail();
  /** Its standard error. */
  readonly err: Tail = new Tail();
  /** Its line on where it listens, since the last start. */
  said: string | undefined;
  /** Whether the process that was started last has ended. */
  hasEnded = false;
  #mark = Infinity; // of the output in which that line is looked for
  #isSilent = false; // it has not printed the line at an earlier start
  #child: Deno.ChildProcess | undefined;
  #probe: Client | undefined;
  #pipes = new AbortController();
  readonly #name = `LAB_GRADE=${crypto.randomUUID()}`; // in the environment of all that it starts

  /** A server that this command starts in this folder. */
  constructor(readonly command: string[], readonly cwd: string | undefined, public port: number) {
    super();
  }

  /** Starts the server, unless it runs, and waits until it accepts. */
  async start(): Promise<void> {
    if (this.#child !== undefined && !this.hasEnded) return;
    await this.end();
    await this.look();
    if (this.command.length === 0) return;
    this.#mark = this.out.mark;
    this.#spawn();
    const deadline = performance.now() + START_MS;
    while (!this.hasEnded && performance.now() < deadline) {
      if (await this.#accepts()) return;
      await this.until(() => this.hasEnded, MOMENT_MS);
    }
    const last = this.out.lines(this.#mark).at(-1);
    const words = await this.lastWords() ||
      `nobody accepts at 127.0.0.1 or ::1, port ${this.port}, within ${START_MS / 1000} s; ` +
        (last === undefined ? "the server says nothing" : `the server says: ${clip(last)}`);
    await this.end();
    throw new Miss(words, "Start it by hand in its folder: it must listen, and go on running.");
  }

  /** Looks whether anybody is at the port. Before a start there must be nobody, else somebody. */
  async look(): Promise<void> {
    this.#probe ??= await Client.connect(this.port);
    if (this.command.length > 0 && this.#probe !== undefined) {
      this.#dropProbe();
      const text = `Port ${this.port} is in use by a program that is not to be graded: end it`;
      throw new Untested(`${text}, or say with --port where the server listens`);
    }
    if (this.command.length > 0 || this.#probe !== undefined) return;
    throw new Untested(`No server accepts at port ${this.port} of 127.0.0.1 or ::1`);
  }

  /**
   * Whether the server accepts, at the port that it says or at the expected one. The connection
   * that shows it is the next check's first client: the server takes it for one in any case.
   */
  async #accepts(): Promise<boolean> {
    const port = Number(this.said?.match(/\/(\d{1,5})$/)?.[1] ?? this.port);
    this.#probe = await Client.connect(port) ?? await Client.connect(this.port);
    if (this.#probe === undefined) return false;
    const isDone = () => this.said !== undefined || this.hasEnded;
    if (!this.#isSilent) await this.until(isDone, WORDS_MS); // many print it after they listen
    this.#isSilent = this.said === undefined;
    this.#mark = Infinity;
    this.port = this.#probe.socket.remotePort!;
    return true;
  }

  #spawn(): void {
    const [program, ...args] = this.command;
    const paths = [fileURLToPath(new URL("python", ROOT)), Deno.env.get("PYTHONPATH")];
    const [name, id] = this.#name.split("=");
    const PYTHONPATH = paths.filter(Boolean).join(delimiter);
    const env = { PYTHONPATH, PYTHONUNBUFFERED: "1", [name]: id };
    const io = { stdin: "null", stdout: "piped", stderr: "piped", detached: true } as const;
    let child: Deno.ChildProcess;
    try {
      child = new Deno.Command(program, { args, cwd: this.cwd, env, ...io }).spawn();
    } catch (error) {
      throw new Untested(`${program} cannot be started: ${(error as Error).message}`);
    }
    this.#child = child;
    this.hasEnded = false;
    this.said = undefined;
    this.#pipes = new AbortController();
    const pipes = [this.#keep(child.stdout, this.out), this.#keep(child.stderr, this.err)];
    let isDrained = false;
    Promise.all(pipes).then(() => isDrained = true).then(() => this.changed());
    child.status.then(async () => {
      if (this.#child !== child) return;
      this.signal("SIGKILL"); // what it has started goes with it
      await this.until(() => isDrained, WORDS_MS);
      this.hasEnded = true;
      this.changed();
    });
  }

  async #keep(stream: ReadableStream<Uint8Array<ArrayBuffer>>, tail: Tail): Promise<void> {
    const write = (text: string) => {
      tail.add(text);
      this.said ??= this.out.lines(this.#mark).find((line) => line.startsWith("Listening at "));
      this.changed();
    };
    const { signal } = this.#pipes;
    const sink = new WritableStream({ write });
    await stream.pipeThrough(new TextDecoderStream()).pipeTo(sink, { signal }).catch(() => {});
  }

  /** The connection that is there already, or a new one. */
  async connect(): Promise<Client> {
    const client = this.#probe ?? await Client.connect(this.port);
    this.#probe = undefined;
    if (client !== undefined) return client;
    throw new Miss("nobody accepts");
  }

  #dropProbe(): void {
    this.#probe?.reset();
    this.#probe = undefined;
  }

  /** Sends a signal to the processes of the server, as a terminal does. */
  signal(signal: Deno.Signal): void {
    if (this.#child !== undefined && !this.hasEnded) kill(-this.#child.pid, signal);
  }

  /** Ends what was started, and nothing else. */
  async end(): Promise<void> {
    if (this.#child === undefined) return;
    this.signal("SIGKILL");
    await this.until(() => this.hasEnded, ANSWER_MS);
    await this.#endEscaped();
    this.#pipes.abort();
    this.#child = undefined;
    this.#dropProbe();
  }

  /** Ends what has left the process group, as daemons do: the environment tells whose they are. */
  async #endEscaped(): Promise<void> {
    const deadline = performance.now() + ANSWER_MS;
    for (let found = true; found && performance.now() < deadline;) { // until they are gone
      const ps = new Deno.Command("ps", { args: ["axeww"], stderr: "null" });
      const { stdout } = await ps.output().catch(() => ({ stdout: new Uint8Array() })); // no ps
      const lines = new TextDecoder().decode(stdout).split("\n");
      const escaped = lines.filter((line) => line.includes(this.#name));
      for (const line of escaped) kill(parseInt(line), "SIGKILL");
      found = escaped.length > 0;
    }
  }

  /** That the server has ended and what it said last, or nothing. */
  async lastWords(): Promise<string> {
    if (this.#child === undefined || !(await this.until(() => this.hasEnded, LAST_WORDS_MS))) {
      return "";
    }
    const words = this.err.lines().at(-1) ?? this.out.lines().at(-1);
    return `the server ended: ${clip(words ?? "", 300)}`;
  }
}

function kill(pid: number, signal: Deno.Signal): void {
  try {
    Deno.kill(pid, signal);
  } catch { // it has ended
  }
}
