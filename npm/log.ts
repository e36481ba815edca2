/** The names of `@std/log` that main.ts uses, and no more. */

const LEVELS = { NOTSET: 0, DEBUG: 10, INFO: 20, WARN: 30, ERROR: 40, CRITICAL: 50 };

/** The name of a level. */
export type LevelName = keyof typeof LEVELS;

/** One record: a message, its level, and what came with it. */
export class LogRecord {
  /** When it was made. */
  readonly datetime: Date = new Date();
  /** The level as a number. */
  readonly level: number;

  /** A record of this level. */
  constructor(readonly levelName: string, readonly msg: string, readonly args: unknown[]) {
    this.level = LEVELS[levelName as LevelName];
  }
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
    if (record.level >= this.#level) this.log(this.format(record));
  }

  /** The record's line. */
  format(record: LogRecord): string {
    return this.#formatter(record);
  }

  /** Writes a line. */
  abstract log(line: string): void;
}

/** Makes records and hands them to its handlers. */
export class Logger {
  readonly #level: number;
  /** Where the records go. */
  readonly handlers: BaseHandler[];

  /** A logger for records of `levelName` and above. */
  constructor(_name: string, levelName: LevelName, options: { handlers?: BaseHandler[] } = {}) {
    this.#level = LEVELS[levelName];
    this.handlers = options.handlers ?? [];
  }

  #log(levelName: LevelName, msg: string, args: unknown[]): void {
    if (LEVELS[levelName] < this.#level) return;
    const record = new LogRecord(levelName, msg, args);
    for (const handler of this.handlers) handler.handle(record);
  }

  /** Logs what only a maintainer wants to know. */
  debug(msg: string, ...args: unknown[]): void {
    this.#log("DEBUG", msg, args);
  }

  /** Logs what is as it should be. */
  info(msg: string, ...args: unknown[]): void {
    this.#log("INFO", msg, args);
  }

  /** Logs a problem of a client. */
  warn(msg: string, ...args: unknown[]): void {
    this.#log("WARN", msg, args);
  }

  /** Logs a problem of the server. */
  error(msg: string, ...args: unknown[]): void {
    this.#log("ERROR", msg, args);
  }
}
