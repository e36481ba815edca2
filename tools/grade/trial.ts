/**
 * One experiment with a server: a fresh server, and the clients that visit it.
 *
 * @module
 */

import { Client, type Received } from "../shared/client.ts";
import { type Request, request } from "./lab.ts";
import {
  ANSWER_MS,
  CONNECT_MS,
  DYING_MS,
  GREETING_MS,
  PIECE_MS,
  POLITE_MS,
  START_MS,
} from "./limits.ts";
import { Miss, NoServer, NotJudged } from "./outcome.ts";
import { type Address, listeningAddresses, untilFree } from "./ports.ts";
import { type Launch, Server } from "./server.ts";
import { dump, printable } from "./show.ts";
import { delay, until } from "./until.ts";
import { errorLine } from "./words.ts";

/** What an experiment is made with. */
export interface Setting {
  /** How the server is started; without it, the clients visit one that runs already. */
  readonly launch?: Launch;
  /** Where the server listens if it does not say so. */
  readonly port: number;
  /** How long a silent client may keep the next one out, in seconds. */
  readonly silence: number;
  /** Whether all that listens here is the server: then it can be looked up where. */
  readonly isAlone: boolean;
  /** Ports that have to be free before a server is started, where others have used them before. */
  readonly usedPorts: Set<number>;
  /** Tells the person at the terminal something. */
  readonly say: (words: string) => void;
}

/** What a good client has got. */
export interface Visit {
  /** What it has sent. */
  readonly request: Request;
  /** The first value that came before the request. */
  readonly greeting?: Received;
  /** The first value that came after it and is no greeting. */
  readonly answer?: Received;
}

/** A line that says where the server listens, in one of the lab's own texts. */
const LISTENING =
  /\blistening (?:at|on) \(?'?(?<host>[\w.:-]+?)'?(?:\/|:|, ?)(?<port>\d+)\)?/i;

/** Whether this value is the greeting: it may come late. */
function isGreeting(received: Received): boolean {
  return Object(received.value).clientid !== undefined;
}

/** A fresh server and its clients. */
export class Trial {
  /** The server, once the first client has come; never where it was not started here. */
  server: Server | undefined;
  /** Where the last client was accepted. */
  address: Address | undefined;
  readonly #clients: Client[] = [];
  #commentBefore: string | undefined; // than ^C, which has ended the server since

  /** A trial; its server starts when the first client comes. */
  constructor(readonly setting: Setting) {}

  /** What the server has printed, line by line. */
  get lines(): readonly string[] {
    return this.server?.lines ?? [];
  }

  /**
   * A client. The first one starts the server. The connection that shows that the server accepts is
   * this client's: the server takes it for one anyhow.
   *
   * @throws {Miss} When nobody accepts.
   */
  async connect(): Promise<Client> {
    const isFirst = this.address === undefined;
    if (this.server === undefined) await this.#start();
    const client = await this.#reach(
      isFirst && this.setting.launch ? START_MS : 0,
    );
    this.#clients.push(client);
    return client;
  }

  /** What a good client does: it waits for the greeting, sends its request and takes the answer. */
  async visit(message: Request = request()): Promise<Visit> {
    const client = await this.connect();
    const visit = await this.converse(client, message);
    await this.leave(client);
    return visit;
  }

  /**
   * The same on a connection that is there. That the client is served shows by a greeting or by an
   * answer: what the answer is does not matter here.
   *
   * @throws {Miss} When nothing comes.
   */
  async converse(client: Client, message: Request = request()): Promise<Visit> {
    const greeting = await client.receive(GREETING_MS);
    await this.send(client, [message.bytes]);
    const first = await client.receive(greeting ? POLITE_MS : ANSWER_MS);
    if (!first && !greeting) throw this.nothing(client, "no answer");
    const isLate = first !== undefined && isGreeting(first);
    const answer = isLate ? await client.receive(POLITE_MS) : first;
    return {
      request: message,
      greeting: greeting ?? (isLate ? first : undefined),
      answer,
    };
  }

  /** The next value that is no greeting, or nothing. */
  async nextAnswer(
    client: Client,
    ms = ANSWER_MS,
  ): Promise<Received | undefined> {
    const first = await client.receive(ms);
    return first && isGreeting(first) ? await client.receive(ms) : first;
  }

  /** Sends these pieces, so that the server reads one after the other. */
  async send(client: Client, pieces: Uint8Array<ArrayBuffer>[]): Promise<void> {
    client.pending = new Uint8Array(); // what came before it is no answer
    for (const [index, piece] of pieces.entries()) {
      if (index > 0) await delay(PIECE_MS);
      client.send(piece);
    }
  }

  /**
   * Leaves as a good client does, which closes first. If the server has closed before, a reset: it
   * frees the server's port at once, and many a server cannot be started again else.
   */
  async leave(client: Client): Promise<void> {
    if (client.end === "") {
      client.closeWrite();
      await client.untilEnd(DYING_MS);
    }
    client.reset();
  }

  /** Waits until the server has printed a line of this kind. */
  async hasPrinted(
    isIt: (line: string) => boolean,
    ms: number,
  ): Promise<boolean> {
    return await until(() => this.lines.some(isIt), ms);
  }

  /** Why nothing has come from the server: with the bytes that did come, if they mean nothing. */
  nothing(client: Client, what: string): Miss {
    if (client.pending.length > 0) {
      return new Miss(`${what}, but no MessagePack: ${dump(client.pending)}`);
    }
    return new Miss(
      `${what}: ${client.end || `nothing within ${ANSWER_MS / 1000} s`}`,
    );
  }

  /** Ends the server as ^C does, and waits until it has ended. Returns whether it has. */
  async interrupt(): Promise<boolean> {
    this.#commentBefore = await this.comment();
    this.server?.signal("SIGINT");
    return await until(() => this.server?.hasEnded === true, ANSWER_MS);
  }

  /** What the server itself says about a miss: how it ended, or the error in its output. */
  async comment(): Promise<string> {
    const server = this.server;
    if (this.#commentBefore !== undefined) return this.#commentBefore;
    if (!server) return "";
    if (await until(() => server.hasEnded, DYING_MS)) {
      return `; the server ended (${server.ending}): ${server.lastWords()}`;
    }
    const error = errorLine(server.allLines());
    return error === undefined ? "" : `; its output says: ${printable(error)}`;
  }

  /** Where the server says that it listens. */
  said(): (Address & { line: string }) | undefined {
    for (const line of this.lines) {
      const { host, port } = line.match(LISTENING)?.groups ?? {};
      if (host !== undefined && Number(port) < 65536) {
        return { host, port: Number(port), line };
      }
    }
    return undefined;
  }

  /** Ends the server, but not its clients: TCP may keep its port for their connections. */
  async restart(): Promise<void> {
    await this.server?.kill();
    this.server = undefined;
    this.address = undefined;
    await this.#launch();
  }

  /** Ends all clients and the server. */
  async end(): Promise<void> {
    for (const client of this.#clients) client.reset();
    await this.server?.kill();
  }

  async #start(): Promise<void> {
    if (!this.setting.launch) return;
    if (!this.setting.isAlone) {
      await untilFree(this.setting.usedPorts, this.setting.say);
    }
    await this.#launch();
  }

  #launch(): void {
    if (this.setting.launch) this.server = new Server(this.setting.launch);
  }

  /** Tries all addresses until one accepts, or the server has ended, or time is over. */
  async #reach(ms: number): Promise<Client> {
    const deadline = performance.now() + ms;
    for (let round = 0;; round++) {
      for (const address of await this.#addresses(round)) {
        const client = await this.#tryAt(address);
        if (client) return client;
      }
      if (this.server?.hasEnded || performance.now() > deadline) {
        throw this.#nobody(ms > 0);
      }
      await delay(20);
    }
  }

  async #tryAt(address: Address): Promise<Client | undefined> {
    try {
      const client = await Client.connect(
        address.host,
        address.port,
        CONNECT_MS,
      );
      this.address = address;
      this.setting.usedPorts.add(address.port);
      return client;
    } catch {
      return undefined;
    }
  }

  /** Where the server may listen. Where nobody else does, the system is asked now and then. */
  async #addresses(round: number): Promise<Address[]> {
    if (this.address) return [this.address];
    const usual = ["127.0.0.1", "::1"].map((host) => ({
      host,
      port: this.setting.port,
    }));
    const said = this.said();
    const addresses = said
      ? [...usual, { ...said, host: "127.0.0.1" }, said]
      : usual;
    const isDue = this.setting.isAlone && round % 10 === 9;
    return isDue ? [...addresses, ...await listeningAddresses()] : addresses;
  }

  #nobody(isFirst: boolean): Error {
    const words = `nobody accepts at port ${
      this.address?.port ?? this.setting.port
    }`;
    const isGone = !this.setting.launch && this.address === undefined;
    if (isGone) return new NotJudged(`${words}: start the server first`);
    return isFirst ? new NoServer(words) : new Miss(words);
  }
}
