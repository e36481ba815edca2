/**
 * Which ports are in use, and where a server listens that does not say so. Other programs know it:
 * `ss` on Linux (Debian's package iproute2), `netstat` elsewhere.
 *
 * @module
 */

import { delay, PORT_MS } from "./limits.ts";
import { Trouble } from "./outcome.ts";

/** Where something listens. */
export interface Address {
  /** The address, without the brackets of IPv6. */
  readonly host: string;
  /** The TCP port. */
  readonly port: number;
}

/** The first address in a line of `ss` or `netstat` is the local one; macOS writes a dot. */
const LOCAL_ADDRESS = /(\S+)[:.](\d+)\s/;

/** Runs a program; returns its output, or nothing where it is missing. */
async function outputOf(program: string, args: string[]): Promise<string> {
  try {
    const { stdout } = await new Deno.Command(program, { args, stdin: "null" })
      .output();
    return new TextDecoder().decode(stdout);
  } catch {
    return "";
  }
}

function readAddress(line: string): Address[] {
  const match = line.match(LOCAL_ADDRESS);
  if (!match) return [];
  const host = match[1].replace(/^\[|\]$|%.*$/g, "");
  return [{ host, port: Number(match[2]) }];
}

/** Where programs of this machine, or of this sandbox, listen. Empty where `ss` is missing. */
export async function listeningAddresses(): Promise<Address[]> {
  const output = await outputOf("ss", ["-Htln"]);
  return output.split("\n").flatMap(readAddress).map(({ host, port }) => {
    if (host === "*" || host === "0.0.0.0") return { host: "127.0.0.1", port };
    return { host: host === "::" ? "::1" : host, port };
  });
}

/** Whether a program has this port, or TCP keeps it for a connection that was closed. */
async function isInUse(port: number): Promise<boolean> {
  try {
    Deno.listen({ hostname: "127.0.0.1", port }).close();
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) return true;
    throw error;
  }
  // Deno sets SO_REUSEADDR, and not every submission does. Windows keeps no port.
  if (Deno.build.os === "windows") return false;
  const isLinux = Deno.build.os === "linux";
  const output = isLinux
    ? await outputOf("ss", ["-Htan"])
    : await outputOf("netstat", ["-an", "-p", "tcp"]);
  return output.split("\n").flatMap(readAddress).some((address) => address.port === port);
}

/**
 * Waits until a server can bind these ports. A submission without `SO_REUSEADDR` cannot do so for up
 * to a minute after the one before it, and that is not its fault.
 *
 * @param say Tells the person who waits why.
 * @throws {Trouble} When one of them does not become free.
 */
export async function untilFree(
  ports: Iterable<number>,
  say: (words: string) => void,
): Promise<void> {
  for (const port of ports) {
    const deadline = performance.now() + PORT_MS;
    let hasSaid = false;
    while (await isInUse(port)) {
      if (performance.now() > deadline) {
        throw new Trouble(
          `port ${port} is in use by another program: end it, or see --port`,
        );
      }
      if (!hasSaid) {
        say(`Port ${port} is still in use; waiting for it, up to a minute`);
      }
      hasSaid = true;
      await delay(500);
    }
  }
}
