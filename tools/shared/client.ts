/**
 * A client that does as it is told, for the tests, the grader and the picture of a class. It speaks to
 * any server of the lab. It uses Node's sockets, because Deno's own cannot send a reset.
 *
 * @module
 */

import { decode, type encode } from "@std/msgpack";
import { once } from "node:events";
import { createConnection, type Socket } from "node:net";

/** What is kept of the bytes that a server sends, maybe without end. */
const MAX_KEPT_BYTES = 65536;
/** What is tried as one value: a value of the lab is small, and each length is one more try. */
const MAX_VALUE_BYTES = 4096;

/** A MessagePack value that `encode` takes. */
export type Value = Parameters<typeof encode>[0];

/** A value that the server has sent, with the bytes that it was made of. */
export interface Received {
  /** The value. */
  readonly value: unknown;
  /** Its bytes on the wire. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** When the last of its bytes came, at the latest: ms of `performance.now()`. */
  readonly at: number;
}

/**
 * One connection to a server, as a client.
 *
 * ```ts
 * const client = await Client.connect("127.0.0.1", 12000, 1000);
 * const greeting = await client.receive(2000);
 * client.send(encode({ student_name: "Alice Brown", github_username: "abrown", sid: 1 }));
 * const acknowledgement = await client.receive(2000);
 * client.close();
 * ```
 */
export class Client {
  /** How the connection has ended, in words; empty while it is open. */
  end = "";
  /** When the connection was there: ms of `performance.now()`. */
  readonly connectedAt: number;
  /** When the connection has ended: ms of `performance.now()`; `undefined` while it is open. */
  endedAt?: number;
  /** What has come and was not taken by {@linkcode receive}. */
  pending: Uint8Array<ArrayBuffer> = new Uint8Array();
  readonly #socket: Socket;
  #lastCameAt = 0;
  #wakeUp = () => {};

  private constructor(socket: Socket, connectedAt: number) {
    this.#socket = socket;
    this.connectedAt = connectedAt;
    socket.setNoDelay();
    socket.on("data", (chunk: Uint8Array) => this.#keep(chunk));
    socket.on("end", () => this.#finish("the server closed the connection"));
    socket.on("close", () => this.#finish("the connection is closed"));
    socket.on("error", ({ message }) => this.#finish(`the connection broke: ${message}`));
  }

  /**
   * Connects to a server.
   *
   * @param ms How long to wait for the connection.
   * @throws {Error} When there is no connection in that time; its message is the system's.
   */
  static async connect(host: string, port: number, ms: number): Promise<Client> {
    const socket = createConnection({ host, port, allowHalfOpen: true });
    let connectedAt = 0;
    socket.once("connect", () => connectedAt = performance.now());
    try {
      await once(socket, "connect", { signal: AbortSignal.timeout(ms) });
    } catch (error) {
      socket.on("error", () => {});
      socket.destroy();
      throw error;
    }
    return new Client(socket, connectedAt);
  }

  /** The TCP port of this end: the id that the server greets with. */
  get localPort(): number {
    return this.#socket.localPort ?? 0;
  }

  /** Sends bytes in one write; resolves when the system has taken them, or when it takes no more. */
  send(bytes: Uint8Array): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    if (this.#socket.writable) this.#socket.write(bytes, () => resolve());
    else resolve();
    return promise;
  }

  /**
   * The next value that the server sends, or `undefined` if no whole one comes in `ms`, or if the
   * server has closed. A value is the shortest beginning of what has come that `decode` takes.
   */
  async receive(ms: number): Promise<Received | undefined> {
    let received: Received | undefined;
    await this.until(() => {
      received = this.#take();
      return received !== undefined || this.end !== "";
    }, ms);
    return received;
  }

  /** Waits until the server has closed the connection; returns whether it did so in `ms`. */
  untilEnd(ms: number): Promise<boolean> {
    return this.until(() => this.end !== "", ms);
  }

  /** Waits until this holds; it is tried after every event of the socket. Returns whether it does. */
  async until(holds: () => boolean, ms: number): Promise<boolean> {
    const deadline = performance.now() + ms;
    while (!holds()) {
      const left = deadline - performance.now();
      if (left <= 0) return false;
      await this.#nextEvent(left);
    }
    return true;
  }

  /** Ends the sending side only; answers can still come. */
  closeWrite(): void {
    this.#socket.end();
  }

  /** Closes the connection in the ordinary way. */
  close(): void {
    this.#socket.end();
    this.#socket.destroy();
  }

  /** Breaks the connection: the server gets a reset. */
  reset(): void {
    this.#socket.resetAndDestroy();
  }

  #keep(chunk: Uint8Array): void {
    this.#lastCameAt = performance.now();
    if (this.pending.length < MAX_KEPT_BYTES) {
      this.pending = new Uint8Array([...this.pending, ...chunk]);
    }
    this.#wakeUp();
  }

  #finish(how: string): void {
    if (this.end === "") {
      this.end = how;
      this.endedAt = performance.now();
    }
    this.#wakeUp();
  }

  #take(): Received | undefined {
    const longest = Math.min(this.pending.length, MAX_VALUE_BYTES);
    for (let length = 1; length <= longest; length++) {
      const bytes = this.pending.slice(0, length);
      try {
        const value = decode(bytes);
        this.pending = this.pending.slice(length);
        return { value, bytes, at: this.#lastCameAt };
      } catch {
        // These bytes are no whole value: one more may make them one.
      }
    }
    return undefined;
  }

  async #nextEvent(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wakeUp = resolve;
    const timer = setTimeout(resolve, ms);
    await promise;
    clearTimeout(timer);
  }
}
