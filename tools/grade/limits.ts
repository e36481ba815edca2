/**
 * How long the grader waits, in ms, and how much of what a server says it keeps.
 *
 * @module
 */

/** For a server to accept its first client. */
export const START_MS = 8000;
/** For one try to connect. */
export const CONNECT_MS = 1000;
/** For a greeting, an answer or a line, and for the end after ^C. */
export const ANSWER_MS = 2000;
/** For the greeting before a client sends its request anyhow, where the greeting is not the question. */
export const GREETING_MS = 800;
/** For an answer that may be missing: that the request was taken has shown otherwise. */
export const POLITE_MS = 800;
/** A client is quiet for this long before its request: what comes meanwhile is no reaction to it. */
export const QUIET_MS = 100;
/** For printed words, which may arrive after the answer. */
export const PRINT_MS = 1500;
/** Between two pieces of a request, so that the server reads the first one alone. */
export const PIECE_MS = 300;
/** How long a client is watched that must not get anything. */
export const NOTHING_MS = 800;
/** For a server to print what good clients cause after they have left. */
export const SETTLE_MS = 150;
/** For an error to end a server that has not answered, or to show in its output. */
export const DYING_MS = 300;
/** For the pipes of a server that has ended, which a process of its own may keep open. */
export const PIPES_MS = 1000;
/** For one experiment in its sandbox; then its sandbox is ended. */
export const EXPERIMENT_MS = 60_000;
/** For all checks of a submission; then no further one is begun. */
export const SUBMISSION_MS = 180_000;
/** For a port to become free: TCP keeps a closed connection for a minute (TIME_WAIT). */
export const PORT_MS = 65_000;

/** Lines kept of what a server prints, maybe without end. */
export const MAX_LINES = 5000;
/** Characters kept of one line. */
export const MAX_LINE_LENGTH = 8192;
/** Lines of one experiment that a report shows. */
export const MAX_REPORTED_LINES = 30;
/** Characters of one line, or of what was seen, that a report shows. */
export const MAX_REPORTED_LENGTH = 300;
/** Characters that come out of a sandbox; an outcome has some thousands. */
export const MAX_ANSWER_LENGTH = 2 ** 20;

/** Time between two looks of {@linkcode until}. */
const LOOK_MS = 5;

/** Waits some ms. */
export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * Waits until this holds; returns whether it does before `ms` have passed. It looks again and again:
 * sockets, pipes and processes have no event in common.
 */
export async function until(holds: () => boolean, ms: number): Promise<boolean> {
  const deadline = performance.now() + ms;
  while (!holds()) {
    if (performance.now() > deadline) return false;
    await delay(LOOK_MS);
  }
  return true;
}
