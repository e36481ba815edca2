/**
 * The lab's server in a process of its own, for the tools that visit it.
 *
 * @module
 */

import { configFlags, ROOT } from "./config.ts";

/**
 * A running server of `main.ts`, and what it has printed.
 *
 * ```ts
 * await using server = await LabServer.start(["--backlog", "1"]);
 * const client = await Client.connect("127.0.0.1", server.port, 1000);
 * ```
 */
export class LabServer implements AsyncDisposable {
  /** The lines that it has printed on standard output so far. */
  readonly output: string[] = [];
  /** The lines that it has printed on standard error so far: its log. */
  readonly log: string[] = [];
  /** Where it listens. */
  port = 0;
  readonly #process: Deno.ChildProcess;
  readonly #hasRead: Promise<unknown>;
  #wakeUp = () => {};

  private constructor(options: string[]) {
    this.#process = new Deno.Command(Deno.execPath(), {
      args: ["run", "--quiet", ...configFlags(), "--allow-net", "main.ts", "--port=0", ...options],
      cwd: ROOT,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#hasRead = Promise.all([
      this.#read(this.#process.stdout, this.output),
      this.#read(this.#process.stderr, this.log),
    ]);
  }

  /**
   * Starts a server, on a free port unless the options name one.
   *
   * @param options Options of its command line.
   * @throws {Error} When it ends before it listens, with its own words.
   */
  static async start(options: string[] = []): Promise<LabServer> {
    const server = new LabServer(options);
    const line = await server.find(() => server.output.find((text) => /listening/i.test(text)));
    const port = line?.match(/\/(\d+)$|"port":(\d+)/);
    if (!port) throw new Error(`The server did not start: ${server.log.join(" ")}`);
    server.port = Number(port[1] ?? port[2]);
    return server;
  }

  /** Waits until this gives something, tried after each line; or nothing when the server ends. */
  async find<T>(search: () => T | undefined): Promise<T | undefined> {
    let hasEnded = false;
    this.#hasRead.then(() => {
      hasEnded = true;
      this.#wakeUp();
    });
    for (;;) {
      const found = search();
      if (found !== undefined || hasEnded) return found;
      await new Promise<void>((resolve) => this.#wakeUp = resolve);
    }
  }

  /** Stops it as ^C does, and waits until it has ended and all that it printed is here. */
  async stop(): Promise<void> {
    try {
      this.#process.kill("SIGINT");
    } catch {
      // It has ended by itself.
    }
    await this.#process.status;
    await this.#hasRead;
  }

  /** The same as {@linkcode stop}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #read(pipe: ReadableStream<Uint8Array<ArrayBuffer>>, lines: string[]): Promise<void> {
    let rest = "";
    for await (const text of pipe.pipeThrough(new TextDecoderStream())) {
      const parts = (rest + text).split(/\r?\n/);
      rest = parts.pop() ?? "";
      lines.push(...parts);
      this.#wakeUp();
    }
  }
}
