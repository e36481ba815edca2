/**
 * The lab's server in a process of its own, for the tools that visit it.
 *
 * @module
 */

import { ROOT, serverFlags } from "./config.ts";

/**
 * A running server, `main.ts` or another one, and what it has printed.
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

  private constructor(command: string, args: string[]) {
    this.#process = new Deno.Command(command, {
      args,
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
   * @throws {Error} When it ends before it listens, with its own words; `cause` is its exit status.
   */
  static async start(options: string[] = []): Promise<LabServer> {
    const flags = ["--quiet", ...await serverFlags(), "--allow-net"];
    return await LabServer.run(Deno.execPath(), [
      "run",
      ...flags,
      "main.ts",
      "--port=0",
      ...options,
    ]);
  }

  /**
   * Starts any server that prints the lab's line `Listening at 127.0.0.1/12000`.
   *
   * @param command Its program, run in the folder of the project.
   * @param args What follows the program's name.
   * @throws {Error} As {@linkcode start} does.
   */
  static async run(command: string, args: string[]): Promise<LabServer> {
    const server = new LabServer(command, args);
    const line = await server.find(() => server.output.find((text) => /listening/i.test(text)));
    const port = line?.match(/\/(\d+)$|"port":(\d+)/);
    if (!port) {
      const { code } = await server.#process.status;
      throw new Error(`The server did not start: ${server.log.join(" ")}`, { cause: code });
    }
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

  /**
   * Stops it as ^C does, and waits until it has ended and all that it printed is here. Windows ends
   * it at once: what it would still have printed is not there.
   */
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
