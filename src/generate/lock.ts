import { MowgliError } from '../errors.ts';

/** Lets one caller in at a time, in the order of asking. */
export class Lock {
  #tail: Promise<void> = Promise.resolve();

  /**
   * Waits for its turn; the answer lets the next one in.
   * @throws MowgliError `ABORTED` when the signal fires first; the turn is then passed on
   */
  async acquire(signal?: AbortSignal): Promise<() => void> {
    const turn = this.#tail;
    let release = () => {};
    this.#tail = new Promise((resolve) => {
      release = resolve;
    });
    if (!signal) {
      await turn;
      return release;
    }
    let onAbort = () => {};
    const aborted = new Promise<never>((_, reject) => {
      onAbort = () =>
        reject(
          new MowgliError('ABORTED', 'the request was aborted while it waited for its turn', {
            cause: signal.reason,
          }),
        );
    });
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort);
    try {
      await Promise.race([turn, aborted]);
      return release;
    } catch (error) {
      turn.then(release);
      throw error;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }
}
