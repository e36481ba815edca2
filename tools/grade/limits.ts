/**
 * How long the grader waits, in ms, and how much of what a server says it keeps.
 *
 * @module
 */

/** For a server to accept its first client. */
export const START_MS = 8000;
/** For one try to connect. */
export const CONNECT_MS = 1000;
/** For an answer, for a greeting where it is the question, and for the end after ^C. */
export const ANSWER_MS = 2000;
/** For the greeting before a client sends its request anyhow. */
export const GREETING_MS = 500;
/** For the acknowledgement of a client whose greeting has already shown that it is served. */
export const POLITE_MS = 500;
/** For printed words, which may arrive after the answer. */
export const PRINT_MS = 1500;
/** Between two pieces of a request, so that the server reads the first one alone. */
export const PIECE_MS = 300;
/** How long a client is watched that must not get anything. */
export const NOTHING_MS = 500;
/** For a server to print what good clients cause after they have left. */
export const SETTLE_MS = 150;
/** For an error to end a server that has not answered. */
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
