/**
 * What the clients of a class do.
 *
 * @module
 */

/** What each kind of client does, in words. */
export const KINDS = {
  good: "does what the lab asks for",
  early: "sends its request before it reads the greeting (good, too)",
  half: "sends half a request, then nothing",
  garbage: "sends bytes that are no MessagePack",
  silent: "sends nothing",
  reset: "sends its request and breaks the connection",
};

/** The name of what a client does. */
export type Kind = keyof typeof KINDS;

/** Whether a client of this kind has to be served. */
export const isGood = (kind: Kind): boolean => kind === "good" || kind === "early";
