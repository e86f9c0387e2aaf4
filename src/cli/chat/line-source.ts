import type { Line } from './message-reader.ts';

/** Ctrl-C where there is no answer to stop. */
export interface Interruption {
  readonly interrupted: true;
  /** Whether something was typed on the line, which is dropped. */
  readonly dropped: boolean;
}

/** Where lines come from. */
export interface LineSource extends Disposable {
  /** Whether a person is there, who sees prompts and may correct what was wrong. */
  readonly interactive: boolean;
  /** The next line; `undefined` when there is none any more. */
  next(prompt: string): Promise<Line | Interruption | undefined>;
  /** Leaves the terminal to others until the next line is asked for, so that Ctrl-C is a signal. */
  rest(): void;
}
