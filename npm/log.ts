/** The names of `@std/log` that main.ts and the tests use, and no more. */

/** The name of a level. */
export type LevelName = "DEBUG" | "INFO" | "WARN" | "ERROR";

const LEVELS: Record<LevelName, number> = { DEBUG: 10, INFO: 20, WARN: 30, ERROR: 40 };

/** One record: its level, its message, and what came with it. */
export interface LogRecord {
  /** The name of its level. */
  readonly levelName: string;
  /** The message. */
  readonly msg: string;
  /** What came with it. */
  readonly args: unknown[];
}

/** Formats records and writes them somewhere. */
export abstract class BaseHandler {
  readonly #level: number;
  readonly #formatter: (record: LogRecord) => string;

  /** A handler for records of `levelName` and above. */
  constructor(levelName: LevelName, options: { formatter?: (record: LogRecord) => string } = {}) {
    this.#level = LEVELS[levelName];
    this.#formatter = options.formatter ?? (({ levelName, msg }) => `${levelName} ${msg}`);
  }

  /** Takes a record. */
  handle(record: LogRecord): void {
    if (LEVELS[record.levelName as LevelName] >= this.#level) this.log(this.#formatter(record));
  }

  /** Writes a line. */
  abstract log(line: string): void;
}

/** Makes records and hands them to its handlers. */
export class Logger {
  readonly #level: number;
  readonly #handlers: BaseHandler[];

  /** A logger for records of `levelName` and above. */
  constructor(_name: string, readonly levelName: LevelName, options: { handlers: BaseHandler[] }) {
    this.#level = LEVELS[levelName];
    this.#handlers = options.handlers;
  }

  #log(levelName: LevelName, msg: string | (() => string), args: unknown[]): void {
    if (LEVELS[levelName] < this.#level) return;
    const record = { levelName, msg: typeof msg === "string" ? msg : msg(), args };
    for (const handler of this.#handlers) handler.handle(record);
  }

  /** Logs what shows how it works. A message that is a function is called only where it is shown. */
  debug(msg: string | (() => string), ...args: unknown[]): void {
    this.#log("DEBUG", msg, args);
  }

  /** Logs what is worth knowing, and no problem. */
  info(msg: string | (() => string), ...args: unknown[]): void {
    this.#log("INFO", msg, args);
  }

  /** Logs a problem of a client. */
  warn(msg: string | (() => string), ...args: unknown[]): void {
    this.#log("WARN", msg, args);
  }

  /** Logs a problem of the server. */
  error(msg: string | (() => string), ...args: unknown[]): void {
    this.#log("ERROR", msg, args);
  }
}
