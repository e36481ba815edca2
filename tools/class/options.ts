/**
 * The command line of the class.
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import { UsageError } from "../shared/tool.ts";
import { DEFAULTS, LIMIT, MAX_CLIENTS } from "./help.ts";
import { isGood, type Kind, KINDS } from "./kinds.ts";

/** A server to look at: one that runs already, or one of `main.ts` that is started for the class. */
export type Target =
  & { readonly label?: string }
  & ({ readonly host: string; readonly port: number } | {
    readonly serverOptions: string[];
  });

/** What the clients do, whatever server they visit. */
export interface Plan {
  /** What each client does, in the order of arrival. */
  readonly kinds: Kind[];
  /** Over how long they arrive, in ms. */
  readonly arriveMs: number;
  /** How long each stays after its acknowledgement, in ms; `undefined`: until the server closes. */
  readonly stayMs?: number;
  /** When a run is stopped, whatever the server does, in ms. */
  readonly limitMs: number;
}

/** All that a command line says. */
export interface Options {
  /** What the clients do. */
  readonly plan: Plan;
  /** The servers: one, or two to compare. */
  readonly targets: Target[];
  /** Whether the picture is for a projector. */
  readonly isSlide: boolean;
  /** The names of the files are this with `.svg` and `.html`. */
  readonly out: string;
}

const MAX_LIMIT = 86400; // s

const SERVER_NAMES = ["host", "port", "label"];
const NAMES = [...SERVER_NAMES, "clients", "arrive", "stay", "kinds", "limit", "out"];
const FLAGS = ["slide", "compare"];

/**
 * Reads the command line.
 *
 * @throws {UsageError} When an option or its value is wrong.
 */
export function parseOptions(args: string[]): Options {
  const runs = split(args, "--compare");
  const first = split(runs.before, "--");
  const isSlide = first.before.includes("--slide");
  const given = parse(first.before.filter((arg) => arg !== "--slide"), NAMES, FLAGS);
  const targets = [readTarget(given, first.behind)];
  if (runs.behind) targets.push(readSecondTarget(runs.behind));
  return {
    plan: readPlan(given, isSlide),
    targets,
    isSlide,
    out: (given.get("out") ?? DEFAULTS.out).replace(/\.(svg|html)$/, ""),
  };
}

/** What stands before the word and, if the word is there, what stands behind it. */
function split(args: string[], word: string): { before: string[]; behind?: string[] } {
  const at = args.indexOf(word);
  return at < 0 ? { before: args } : { before: args.slice(0, at), behind: args.slice(at + 1) };
}

/** The options that have these names and a value; `flags` are the names of those without one. */
function parse(args: string[], names: string[], flags: string[] = []): Map<string, string> {
  const unknown = (arg: string) => {
    if (arg === "") return; // the value of an option, which is empty
    const known = [...names, ...flags].join(", --");
    throw new UsageError(`Unknown option ${arg}: there are --${known} (see --help)`);
  };
  const parsed = parseArgs(args, { string: names, unknown });
  const given = new Map<string, string>();
  for (const name of names.filter((name) => parsed[name] !== undefined)) {
    const value = `${parsed[name]}`;
    if (value.trim() === "") throw new UsageError(`--${name} needs a value (see --help)`);
    given.set(name, value);
  }
  return given;
}

function readTarget(given: Map<string, string>, serverOptions: string[] | undefined): Target {
  const label = given.get("label");
  if (!given.has("host") && !given.has("port")) {
    return { label, serverOptions: serverOptions ?? [] };
  }
  if (serverOptions) {
    throw new UsageError("What follows -- is for our own server: leave out --host and --port");
  }
  const host = given.get("host") ?? DEFAULTS.host;
  const port = given.get("port") ?? `${DEFAULTS.port}`;
  return { label, host, port: readNumber("port", port, 1, 65535, true) };
}

/** The server of the second run: an address, or else the options of ours; and its label. */
function readSecondTarget(args: string[]): Target {
  if (args.some((arg) => /^--(host|port)\b/.test(arg))) {
    return readTarget(parse(args, SERVER_NAMES), undefined);
  }
  const at = args.findIndex((arg) => /^--label\b/.test(arg));
  const length = at < 0 ? 0 : args[at].includes("=") ? 1 : 2;
  const rest = args.toSpliced(at, length).filter((arg) => arg !== "--");
  return readTarget(parse(args.slice(at, at + length), SERVER_NAMES), rest);
}

function readPlan(given: Map<string, string>, isSlide: boolean): Plan {
  const number = (
    name: string,
    otherwise: number,
    min: number,
    max: number,
    isWhole = false,
  ) => readNumber(name, given.get(name) ?? `${otherwise}`, min, max, isWhole);
  const [usual, most] = isSlide
    ? [DEFAULTS.slideClients, MAX_CLIENTS.slide]
    : [DEFAULTS.clients, MAX_CLIENTS.other];
  const clients = number("clients", usual, 1, most, true);
  const kinds = readKinds(given.get("kinds") ?? "", clients);
  const arrive = number("arrive", DEFAULTS.arrive, 0, 3600);
  const stay = number("stay", 0, 0, 3600);
  const limit = number("limit", usualLimit(kinds, arrive, stay), 0.1, MAX_LIMIT);
  return {
    kinds,
    arriveMs: arrive * 1000,
    stayMs: given.has("stay") ? stay * 1000 : undefined,
    limitMs: limit * 1000,
  };
}

/** What a run takes at the most with the limits of our server, in s. */
function usualLimit(kinds: Kind[], arrive: number, stay: number): number {
  const good = kinds.filter(isGood).length;
  const bad = kinds.length - good;
  const limit = LIMIT.start + arrive + (LIMIT.good + stay) * good + LIMIT.bad * bad;
  return Math.min(limit, MAX_LIMIT);
}

function readNumber(name: string, text: string, min: number, max: number, isWhole = false): number {
  const value = /^[\d.]+$/.test(text) ? Number(text) : NaN;
  if (value >= min && value <= max && (!isWhole || Number.isInteger(value))) return value;
  const kind = isWhole ? "a whole number" : "a number of seconds";
  throw new UsageError(`--${name} must be ${kind} from ${min} to ${max}, not ${text}`);
}

/** What each client does: good ones, and the others spread among them at equal distances. */
function readKinds(list: string, clients: number): Kind[] {
  const others = list.split(",").filter((part) => part !== "").flatMap(readKind);
  if (others.length > clients) {
    throw new UsageError(`--kinds has ${others.length} clients, but --clients is ${clients}`);
  }
  const kinds = Array<Kind>(clients).fill("good");
  others.forEach((kind, index) => {
    kinds[Math.floor((index + 0.5) * clients / others.length)] = kind;
  });
  return kinds;
}

/** The clients that a part of `--kinds` names: `silent:2` are two. */
function readKind(part: string): Kind[] {
  const [name, count = "1"] = part.trim().split(":");
  if (!isKind(name)) {
    throw new UsageError(`--kinds knows ${Object.keys(KINDS).join(", ")}; not ${name}`);
  }
  return Array<Kind>(readNumber("kinds", count, 1, MAX_CLIENTS.other, true)).fill(name);
}

function isKind(name: string): name is Kind {
  return Object.hasOwn(KINDS, name);
}
