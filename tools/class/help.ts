/**
 * What `deno task class --help` prints, and the values that count without an option.
 *
 * @module
 */

import { KINDS } from "./kinds.ts";

/** What counts where an option is left out. */
export const DEFAULTS = {
  host: "127.0.0.1",
  port: 12000,
  clients: 30,
  slideClients: 10,
  arrive: 1, // s
  out: "class",
};

/** How many clients there can be, on a slide and elsewhere. */
export const MAX_CLIENTS = { slide: 12, other: 1000 };

/** What the limit of a run allows, in s: to begin, for a good client, and for each other one. */
export const LIMIT = { start: 10, good: 3, bad: 13 };

const kindLine = ([kind, about]: [string, string]): string => `  ${kind.padEnd(8)} ${about}\n`;

/** What `--help` prints. */
export const HELP =
  `A class of clients visits a server at once; then a table and a picture show how each one waited.
With ${DEFAULTS.clients} clients and the lab's server it takes a minute: each client stays for 2 s.
Usage: deno task class [options] [-- options of the server]
       deno task class [options] [-- options of the server] --compare [options of the server]
       deno task class --port 12000 [--compare --port 12001 --label "with threads"]

Without --host and --port it starts the lab's server on a free port, and stops it at the end. With
one of them it visits a server that runs already, of any kind.

  --host ${DEFAULTS.host}    where the server is
  --port ${DEFAULTS.port}        its TCP port
  --label TEXT        its name in the picture; without it the address, or our server's options
  --clients ${DEFAULTS.clients}        how many clients
  --arrive ${DEFAULTS.arrive}          the seconds over which they arrive
  --stay SECONDS      how long each stays after the acknowledgement; 0 closes at once. Without it
                      a client stays until the server closes: most clients of this lab do so
  --kinds LIST        the clients that are not good, as kind or kind:count: silent:2,reset
  --limit SECONDS     ends a run, whatever the server does. Without it: ${LIMIT.start} s and --arrive, ${LIMIT.good} s
                      and --stay for each good client, ${LIMIT.bad} s for each other one. Ctrl-C ends it, too
  --slide             a picture for a projector: large text, no table, ${DEFAULTS.slideClients} clients (${MAX_CLIENTS.slide} at the most)
  --out ${DEFAULTS.out}         the picture's files are ${DEFAULTS.out}.svg and ${DEFAULTS.out}.html
  --compare           a second run, beside the first one. What follows is its server: --host and
                      --port of a running one, or options for ours; --label is its name
  --help

The kinds:
${Object.entries(KINDS).map(kindLine).join("")}
The exit status is 0 if all good clients were served, 1 if one was not, 2 for a wrong option.`;
