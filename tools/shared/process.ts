/**
 * A program in a process of its own. What it prints is read only when somebody asks for it: so a test
 * can be the terminal that nobody looks at. Who does not care for an output of a program that prints
 * without end asks for `rest()` at once, or the program waits until its pipe is read.
 *
 * @module
 */

import { ROOT, serverFlags } from "./config.ts";

/** How a program is started. */
export interface ProcessOptions {
  /** Its folder; the project's, if it is left out. */
  readonly cwd?: string | URL;
  /** Variables of its environment, besides those that it inherits. */
  readonly env?: Record<string, string>;
  /** What it reads from standard input; nothing, if it is left out. */
  readonly input?: string;
}

/** How a program has ended, and what it has printed that nobody had read before. */
export interface Ended {
  /** The exit status. */
  readonly code: number;
  /** The lines of standard output. */
  readonly out: string[];
  /** The lines of standard error. */
  readonly err: string[];
}

/**
 * A running program; disposing of it ends it.
 *
 * ```ts
 * await using server = await Process.main("--backlog", "1");
 * const client = await Client.connect("127.0.0.1", server.port, 1000);
 * ```
 */
export class Process implements AsyncDisposable {
  /** The process itself. */
  readonly child: Deno.ChildProcess;
  /** What it prints on standard output. */
  readonly stdout: Lines;
  /** What it prints on standard error. */
  readonly stderr: Lines;
  /** Where it listens, if {@linkcode Process.server} has started it. */
  port = 0;

  /** Starts a program. */
  constructor(program: string, args: string[], options: ProcessOptions = {}) {
    this.child = new Deno.Command(program, {
      args,
      cwd: options.cwd ?? ROOT,
      env: { NO_COLOR: "1", ...options.env },
      stdin: options.input === undefined ? "null" : "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.stdout = new Lines(this.child.stdout);
    this.stderr = new Lines(this.child.stderr);
    if (options.input !== undefined) this.#type(options.input);
  }

  /**
   * Starts the project's own server, on a free port unless the options name one.
   *
   * @throws {Error} As {@linkcode Process.server} does.
   */
  static async main(...options: string[]): Promise<Process> {
    const flags = ["--quiet", ...await serverFlags(), "--allow-net"];
    const args = ["run", ...flags, "main.ts", "--port=0", ...options];
    return await Process.server(Deno.execPath(), args);
  }

  /**
   * Starts a server, and waits for its line `Listening at 127.0.0.1/12000`, or for the same as a record
   * in JSON.
   *
   * @throws {Error} When it ends before it listens, with its own words; `cause` is its exit status.
   */
  static async server(
    program: string,
    args: string[],
    options: ProcessOptions = {},
  ): Promise<Process> {
    const server = new Process(program, args, options);
    for (let line; (line = await server.stdout.next()) !== undefined;) {
      const port = line.match(/listening.*(?:\/|"port":)(\d+)/i)?.[1];
      if (port === undefined) continue;
      server.port = Number(port);
      return server;
    }
    const { code, err } = await server.end();
    throw new Error(`The server did not start: ${err.join(" ")}`, { cause: code });
  }

  /** Waits until it has ended. */
  async end(): Promise<Ended> {
    const reading = Promise.all([this.stdout.rest(), this.stderr.rest()]);
    const { code } = await this.child.status;
    const [out, err] = await reading;
    return { code, out, err };
  }

  /** Sends a signal, and waits until it has ended. Windows ends a program at once, whatever comes. */
  stop(signal: Deno.Signal = "SIGTERM"): Promise<Ended> {
    this.#signal(signal);
    return this.end();
  }

  /** Ends it at once. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop("SIGKILL");
  }

  #signal(signal: Deno.Signal): void {
    try {
      this.child.kill(signal);
    } catch {
      // It has ended by itself.
    }
  }

  async #type(input: string): Promise<void> {
    const writer = this.child.stdin.getWriter();
    try {
      await writer.write(new TextEncoder().encode(input));
      await writer.close();
    } catch {
      // It has ended, or reads no more.
    }
  }
}

/** The lines of an output, in the order in which they come. */
export class Lines {
  readonly #stream: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly #lines: AsyncGenerator<string, undefined>;

  /** The lines of this stream; what follows the last line end is a line, too. */
  constructor(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
    this.#stream = stream;
    this.#lines = split(stream);
  }

  /** The next line, or `undefined` at the end. */
  async next(): Promise<string | undefined> {
    return (await this.#lines.next()).value;
  }

  /**
   * The next line that this text is in. Those before it are dropped.
   *
   * @throws {Error} As {@linkcode upTo} does.
   */
  async until(text: string): Promise<string> {
    const lines = await this.upTo(text);
    return lines[lines.length - 1];
  }

  /**
   * The next lines, up to the one that this text is in.
   *
   * @throws {Error} When the output ends before; the message has the lines that came instead.
   */
  async upTo(text: string): Promise<string[]> {
    const lines: string[] = [];
    for (let line; (line = await this.next()) !== undefined;) {
      lines.push(line);
      if (line.includes(text)) return lines;
    }
    throw new Error(`ended without "${text}": ${lines.join("\n")}`);
  }

  /** All that is still to come. */
  rest(): Promise<string[]> {
    return Array.fromAsync(this.#lines);
  }

  /** Nobody reads on: the program cannot write any more. */
  async cancel(): Promise<void> {
    await this.#lines.return(undefined);
    if (!this.#stream.locked) await this.#stream.cancel(); // Nobody had read from it yet.
  }
}

async function* split(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
): AsyncGenerator<string, undefined> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split(/\r?\n/);
    rest = lines.pop() ?? "";
    yield* lines;
  }
  if (rest !== "") yield rest;
  return undefined;
}
