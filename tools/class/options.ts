/**
 * The command line of the class.
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import { isGood, type Kind, KINDS } from "./visit.ts";

/** A server to look at: one that runs already, or one of `main.ts` that is started for the class. */
export type Target =
  | { readonly host: string; readonly port: number }
  | { readonly serverOptions: string[] };

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
  /** The names of the files are this with `.svg` and `.html`. */
  readonly out: string;
}

/** A wrong command line; its message says what would be right. */
export class UsageError extends Error {}

const DEFAULTS = { host: "127.0.0.1", port: 12000, clients: 30, arrive: 1, out: "class" };
const MAX_CLIENTS = 1000;
const MAX_LIMIT = 86400; // s
/** What the limit of a run allows, in s: to begin, for a good client, and for each other one. */
const LIMIT = { start: 10, good: 3, bad: 13 };

const kindLine = ([kind, about]: [string, string]): string => `  ${kind.padEnd(8)} ${about}\n`;

/** What `--help` prints. */
export const HELP =
  `A class of clients visits a server at once; then a table and a picture show how each one waited.
Usage: deno task class [options] [-- options of the server]
       deno task class [options] [-- options of the server] --compare [options of the server]
       deno task class --port 12000 [--compare --port 12001]

Without --host and --port it starts the lab's server on a free port, and stops it at the end. With
one of them it visits a server that runs already, of any kind.

  --host ${DEFAULTS.host}    where the server is
  --port ${DEFAULTS.port}        its TCP port
  --clients ${DEFAULTS.clients}        how many clients
  --arrive ${DEFAULTS.arrive}          the seconds over which they arrive
  --stay SECONDS      how long each stays after the acknowledgement; 0 closes at once. Without it
                      a client stays until the server closes: most clients of this lab do so
  --kinds LIST        the clients that are not good, as kind or kind:count: silent:2,reset
  --limit SECONDS     ends a run, whatever the server does. Without it: ${LIMIT.start} s and --arrive, ${LIMIT.good} s
                      and --stay for each good client, ${LIMIT.bad} s for each other one. Ctrl-C ends it, too
  --out ${DEFAULTS.out}         the picture's files are ${DEFAULTS.out}.svg and ${DEFAULTS.out}.html
  --compare           a second run, beside the first one. What follows is its server: --host and
                      --port of a running one, or options for ours
  --help

The kinds:
${Object.entries(KINDS).map(kindLine).join("")}
The exit status is 0 if all good clients were served, 1 if one was not, 2 for a wrong option.`;

const NAMES = ["host", "port", "clients", "arrive", "stay", "kinds", "limit", "out"];

/**
 * Reads the command line.
 *
 * @throws {UsageError} When an option or its value is wrong.
 */
export function parseOptions(args: string[]): Options {
  const runs = split(args, "--compare");
  const first = split(runs.before, "--");
  const given = parse(first.before, NAMES);
  const targets = [readTarget(given, first.behind)];
  if (runs.behind) targets.push(readSecondTarget(runs.behind));
  return { plan: readPlan(given), targets, out: readOut(given.get("out") ?? DEFAULTS.out) };
}

/** What stands before the word and, if the word is there, what stands behind it. */
function split(args: string[], word: string): { before: string[]; behind?: string[] } {
  const at = args.indexOf(word);
  return at < 0 ? { before: args } : { before: args.slice(0, at), behind: args.slice(at + 1) };
}

function parse(args: string[], names: string[]): Map<string, string> {
  const unknown = (arg: string) => {
    if (arg === "") return; // the value of an option, which is empty
    throw new UsageError(`Unknown option ${arg}: there are --${names.join(", --")} (see --help)`);
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
  if (!given.has("host") && !given.has("port")) return { serverOptions: serverOptions ?? [] };
  if (serverOptions) {
    throw new UsageError("What follows -- is for our own server: leave out --host and --port");
  }
  const host = given.get("host") ?? DEFAULTS.host;
  const port = given.get("port") ?? `${DEFAULTS.port}`;
  return { host, port: readNumber("port", port, 1, 65535, true) };
}

/** The server of the second run: an address, or else the options of ours. */
function readSecondTarget(args: string[]): Target {
  const isAddress = args.some((arg) => /^--(host|port)\b/.test(arg));
  if (isAddress) return readTarget(parse(args, ["host", "port"]), undefined);
  return { serverOptions: args.filter((arg) => arg !== "--") };
}

function readPlan(given: Map<string, string>): Plan {
  const number = (name: string, otherwise: number, min: number, max: number, isWhole = false) =>
    readNumber(name, given.get(name) ?? `${otherwise}`, min, max, isWhole);
  const clients = number("clients", DEFAULTS.clients, 1, MAX_CLIENTS, true);
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
  return Array<Kind>(readNumber("kinds", count, 1, MAX_CLIENTS, true)).fill(name);
}

function isKind(name: string): name is Kind {
  return Object.hasOwn(KINDS, name);
}

function readOut(typed: string): string {
  return typed.replace(/\.(svg|html)$/, "");
}
