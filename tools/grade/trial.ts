/**
 * One experiment with a server: a fresh server, and the clients that visit it.
 *
 * @module
 */

import { Client, type Received } from "../shared/client.ts";
import { printable } from "../shared/text.ts";
import {
  ANSWER_MS,
  CONNECT_MS,
  delay,
  DYING_MS,
  MAX_LINES,
  PIECE_MS,
  POLITE_MS,
  QUIET_MS,
  SETTLE_MS,
  START_MS,
  until,
} from "./limits.ts";
import { type Request, request } from "./messages.ts";
import { Miss, NoServer, Trouble } from "./outcome.ts";
import { type Address, listeningAddresses, untilFree } from "./ports.ts";
import { type Launch, Server } from "./server.ts";
import { dump } from "./show.ts";
import { errorLine, kindOf, speakOfError } from "./words.ts";

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
  /** The first value that came after it, if one came. */
  readonly answer?: Received;
}

/** A line that says where the server listens, in one of the lab's own texts. */
const LISTENING = /\blistening (?:at|on) \(?'?(?<host>[\w.:-]+?)'?(?:\/|:|, ?)(?<port>\d+)\)?/i;

/** How what starts a server says that it cannot: the interpreter is not in the sandbox, say. */
const CANNOT_START = [
  /^(\S*\/)?(setpriv|choom|prlimit|stdbuf): failed to (execute|run)/,
  /^env: .*No such file/,
  /^Fatal Python error: init/,
];

/** A fresh server and its clients. */
export class Trial {
  /** The server, once the first client has come; never where it was not started here. */
  server: Server | undefined;
  /** Where the last client was accepted. */
  address: Address | undefined;
  /** The names of the checks whose subject a client has met here, whatever the words were. */
  readonly met = new Set<string>();
  /** A word for the person that costs no points. */
  note = "";
  #served = 0;
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
    const client = await this.#reach(isFirst && this.setting.launch ? START_MS : 0);
    this.met.add("says where");
    this.#clients.push(client);
    return client;
  }

  /** What a good client does: it waits for the greeting, sends its request and takes the answer. */
  async visit(message: Request = request()): Promise<Visit> {
    const client = await this.greeted();
    const visit = await this.ask(client, message);
    await this.leave(client);
    return visit;
  }

  /**
   * A client that was greeted: by whatever value, since another check judges which one.
   *
   * @throws {Miss} When no byte comes.
   */
  async greeted(): Promise<Client> {
    const client = await this.connect();
    await this.greeting(client, ANSWER_MS);
    return client;
  }

  /** The same on a connection that is there. */
  async greeting(client: Client, ms: number): Promise<void> {
    await client.until(() => client.pending.length > 0 || client.end !== "", ms);
    if (client.pending.length === 0) throw this.nothing(client, "no greeting", ms);
    this.met.add("greets");
    await client.receive(SETTLE_MS);
  }

  /** Whether bytes come in this time, in which the client sends nothing. */
  async bringsUnasked(client: Client, ms: number): Promise<boolean> {
    client.pending = new Uint8Array();
    return await client.until(() => client.pending.length > 0 || client.end !== "", ms) &&
      client.pending.length > 0;
  }

  /**
   * A client that was greeted sends its request, and the server takes it: bytes come back, or a line
   * is printed that was not there before. What comes without a request is no reaction to one, so the
   * client is quiet for a moment before.
   *
   * @throws {Miss} When the request is not taken.
   */
  async ask(client: Client, message = request()): Promise<Visit> {
    const isUnasked = await this.bringsUnasked(client, QUIET_MS);
    if (client.end !== "") throw new Miss(`before the request ${client.end}`);
    const first = this.lines.length;
    const known = new Set(this.lines.map(kindOf));
    await this.send(client, [message.bytes]);
    const isAnswered = () => client.pending.length > 0 && !isUnasked;
    if (!await this.#isTaken(client, message, isAnswered, first, known)) {
      if (isUnasked) throw new Miss("only what comes without a request, too");
      throw this.nothing(client, "nothing after the request");
    }
    this.#count();
    return { request: message, answer: await client.receive(POLITE_MS) };
  }

  /**
   * Whether a request is taken. A line with its sid always counts; another one only if its kind is
   * new and no error comes with it.
   */
  async #isTaken(
    client: Client,
    message: Request,
    isAnswered: () => boolean,
    first: number,
    known: Set<string>,
  ): Promise<boolean> {
    const later = () => this.lines.slice(first);
    const isTaken = () => isAnswered() || this.hasLineFor(message);
    const isNew = () => later().some((line) => !known.has(kindOf(line)));
    const isOver = () => client.end !== "" || this.server?.hasEnded === true;
    await until(() => isTaken() || isNew() || isOver(), ANSWER_MS);
    if (!isTaken()) await until(isTaken, DYING_MS);
    return isTaken() || isNew() && !speakOfError(later());
  }

  #count(): void {
    this.#served += 1;
    this.met.add(this.#served === 1 ? "acknowledges" : "serves the next");
  }

  /** Whether there is a line with the sid of this request: nobody else has it. */
  hasLineFor({ sid }: Request): boolean {
    const isThere = this.lines.some((line) => line.includes(`${sid}`));
    if (isThere) this.met.add("prints");
    return isThere;
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
    if (client.end !== "") return client.reset();
    client.closeWrite();
    await client.untilEnd(DYING_MS);
    client.close();
  }

  /** Waits until the server has printed a line of this kind. */
  async hasPrinted(isIt: (line: string) => boolean, ms: number): Promise<boolean> {
    return await until(() => this.lines.some(isIt), ms);
  }

  /** Why nothing has come from the server: with the bytes that did come, if they mean nothing. */
  nothing(client: Client, what: string, ms = ANSWER_MS): Miss {
    if (client.pending.length > 0) {
      return new Miss(`${what}, but no MessagePack: ${dump(client.pending)}`);
    }
    return new Miss(`${what}: ${client.end || `nothing within ${ms / 1000} s`}`);
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
    if (this.lines.length >= MAX_LINES) return "; it prints without end";
    const error = errorLine(server.allLines());
    return error === undefined ? "" : `; its output says: ${printable(error)}`;
  }

  /** Where the server says that it listens. */
  said(): (Address & { line: string }) | undefined {
    for (const line of this.lines) {
      const { host, port } = line.match(LISTENING)?.groups ?? {};
      if (host !== undefined && Number(port) < 65536) return { host, port: Number(port), line };
    }
    return undefined;
  }

  /** Ends the server, but not its clients: TCP may keep its port for their connections. */
  async restart(): Promise<void> {
    await this.server?.kill();
    this.server = undefined;
    this.address = undefined;
    this.#served = 0;
    this.#launch();
  }

  /** Ends all clients and the server. One that was not started here sees no reset: it goes on. */
  async end(): Promise<void> {
    for (const client of this.#clients) {
      if (this.server) client.reset();
      else client.close();
    }
    await this.server?.kill();
  }

  async #start(): Promise<void> {
    if (!this.setting.launch) return;
    if (!this.setting.isAlone) await untilFree(this.setting.usedPorts, this.setting.say);
    this.#launch();
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
      if (this.server?.hasEnded || performance.now() > deadline) throw this.#nobody();
      await delay(20);
    }
  }

  async #tryAt(address: Address): Promise<Client | undefined> {
    try {
      const client = await Client.connect(address.host, address.port, CONNECT_MS);
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
    const usual = ["127.0.0.1", "::1"].map((host) => ({ host, port: this.setting.port }));
    const said = this.said();
    const addresses = said ? [...usual, { ...said, host: "127.0.0.1" }, said] : usual;
    const isDue = this.setting.isAlone && round % 10 === 9;
    return isDue ? [...addresses, ...await listeningAddresses()] : addresses;
  }

  #nobody(): Error {
    const lines = this.server?.allLines() ?? [];
    const broken = lines.find((line) => CANNOT_START.some((pattern) => pattern.test(line)));
    if (broken !== undefined) return new Trouble(`its program cannot start here: ${broken}`);
    const words = `nobody accepts at port ${this.address?.port ?? this.setting.port}`;
    return this.address === undefined ? new NoServer(words) : new Miss(words);
  }
}
