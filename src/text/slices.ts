import { throwIfAborted } from '../errors.ts';

/** Work in small steps: between two `yield`s there is little of it. */
export type Steps<T> = Generator<void, T, void>;

/** Milliseconds of work after which others get their turn: a frame of a page, twice over. */
const SLICE_MS = 8;

/** Does work at once. */
export function atOnce<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/**
 * Does work such that timers, the network and other calls get their turn about every ten milliseconds.
 * Work that takes less waits for nobody.
 *
 * @param what what messages call the work
 * @throws MowgliError `ABORTED` soon after the signal fires
 */
export async function inSlices<T>(
  steps: Steps<T>,
  what: string,
  signal?: AbortSignal | undefined,
): Promise<T> {
  throwIfAborted(signal, what);
  let start = performance.now();
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
    if (performance.now() - start < SLICE_MS) continue;
    await nextTurn();
    throwIfAborted(signal, what);
    start = performance.now();
  }
}

/** The turn of the event loop behind all that waits for it; `setTimeout` would take 1 to 4 ms more. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof setImmediate === 'function') {
      setImmediate(resolve);
      return;
    }
    const { port1, port2 } = new MessageChannel();
    const done = () => {
      port1.close();
      resolve();
    };
    port1.addEventListener('message', done, { once: true });
    port1.start();
    port2.postMessage(undefined);
  });
}
