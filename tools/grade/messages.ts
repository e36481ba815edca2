/**
 * What clients of the lab send, good ones and bad ones, and the line that a server prints.
 *
 * @module
 */

import { encode } from "@std/msgpack";

/** A request of a client: step 2 of the protocol. */
export interface Request {
  /** The name in it. */
  readonly name: string;
  /** The GitHub user name in it. */
  readonly user: string;
  /** The student id in it. No other request of this process has it. */
  readonly sid: number;
  /** The whole request on the wire. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

let lastSid = 900_000_000;

/** A new request, with a student id of its own. */
export function request(name = "Alice Brown", user = "abrown"): Request {
  lastSid += 1;
  const bytes = encode({
    student_name: name,
    github_username: user,
    sid: lastSid,
  });
  return { name, user, sid: lastSid, bytes };
}

/** The line that a server prints for a request. */
export function lineOf(
  { name, user, sid }: { name: string; user: string; sid: unknown },
): string {
  return `Connected: Student: ${name}, Github Username: ${user}, sid: ${sid}`;
}

/** A name in Latin, Chinese and Greek letters. */
export const OTHER_SCRIPTS = "Zoë 李小龙 Ωμέγα";
/** A name of 3900 bytes: with it a request is as long as the server's default limit allows. */
export const LONG_NAME: string = "Anna".repeat(975);
/** The name of the student whose request has no sid: no good client has it. */
export const NAME_WITHOUT_SID = "Mallory Grey";

/** A request without the key `sid`. */
export const WITHOUT_SID: Uint8Array<ArrayBuffer> = encode({
  student_name: NAME_WITHOUT_SID,
  github_username: "mgrey",
});

/** Bytes that are no MessagePack: c1 is the one byte that it never uses. */
export const GARBAGE: Uint8Array<ArrayBuffer> = new Uint8Array([
  0xc1,
  0xff,
  0,
  0xc1,
  7,
  0xc1,
]);

/** Where a request is cut in two: in the middle of the student's name. */
const CUT_AT = 20;

/** A request in two pieces. */
export function inTwo(
  bytes: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer>[] {
  return [bytes.slice(0, CUT_AT), bytes.slice(CUT_AT)];
}
