/**
 * Waiting for something that sockets, pipes and processes have no event in common for.
 *
 * @module
 */

/** Time between two looks, in ms. */
const LOOK_MS = 5;

/** Waits some ms. */
export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Waits until this holds; returns whether it does before `ms` have passed. */
export async function until(
  holds: () => boolean,
  ms: number,
): Promise<boolean> {
  const deadline = performance.now() + ms;
  while (!holds()) {
    if (performance.now() > deadline) return false;
    await delay(LOOK_MS);
  }
  return true;
}
