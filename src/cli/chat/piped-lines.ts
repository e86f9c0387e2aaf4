import { createInterface } from 'node:readline';
import type { LineSource } from './line-source.ts';
import type { Line } from './message-reader.ts';

/** Lines of a stdin that is a pipe or a file. Ends when the signal fires, too. */
export class PipedLines implements LineSource {
  readonly interactive = false;
  readonly #lines: AsyncIterator<string>;

  constructor(signal: AbortSignal) {
    const { stdin } = process;
    const lines = createInterface({ input: stdin, crlfDelay: Number.POSITIVE_INFINITY, signal });
    this.#lines = lines[Symbol.asyncIterator]();
  }

  async next(): Promise<Line | undefined> {
    const { value, done } = await this.#lines.next();
    return done ? undefined : { text: value, pasted: false };
  }

  rest(): void {}

  [Symbol.dispose](): void {
    void this.#lines.return?.();
  }
}
