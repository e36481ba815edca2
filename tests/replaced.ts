/**
 * What runs while a part of Deno is replaced: the listeners of servers, and their connections.
 *
 * @module
 */

/** What runs while something of Deno is replaced. */
export type Run = () => Promise<void>;

/** Runs this with servers that get each listener after it was changed so. */
export async function withListeners(change: (listener: Deno.TcpListener) => void, run: Run) {
  const { listen } = Deno;
  Deno.listen = ((options: Deno.TcpListenOptions) => {
    const listener = listen(options);
    change(listener);
    return listener;
  }) as typeof listen;
  try {
    await run();
  } finally {
    Deno.listen = listen;
  }
}

/** Runs this with servers that get each connection after it was changed so. */
export function withConnections(change: (conn: Deno.TcpConn) => void, run: Run): Promise<void> {
  return withListeners((listener) => {
    const accept = listener.accept.bind(listener);
    listener.accept = async () => {
      const conn = await accept();
      change(conn);
      return conn;
    };
  }, run);
}
