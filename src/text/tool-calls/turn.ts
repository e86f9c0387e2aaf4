import type { TextInput, Waiting } from './input.ts';
import type { TurnOutput } from './output.ts';

const THINK = '<think>';
const END_THINK = '</think>';

/** How one format writes calls. */
export interface CallReader {
  /** The characters that a call can begin with. */
  readonly openers: RegExp;
  /**
   * Reads the call that begins with the next character, and the white space and markup behind it.
   * False, with nothing taken, when what is there is text.
   */
  read(): Waiting<boolean>;
}

/** Options of {@link readTurn}. */
export interface TurnOptions {
  /** `undefined`: there are no calls in this turn, only text and reasoning. */
  readonly calls: CallReader | undefined;
  readonly startsInReasoning: boolean;
}

/** Reads a whole turn: text, blocks of reasoning where text could begin, and calls. */
export function* readTurn(
  input: TextInput,
  output: TurnOutput,
  { calls, startsInReasoning }: TurnOptions,
): Waiting<void> {
  if (startsInReasoning) {
    const start = yield* input.skipSpace(0);
    if (yield* input.startsWith(THINK, start)) input.take(start + THINK.length);
    yield* readReasoning(input, output);
  }
  const openers = calls?.openers ?? /</;
  while (yield* input.has(0)) {
    const opener = input.rest.search(openers);
    output.text(input.take(opener < 0 ? input.rest.length : opener));
    if (opener < 0) continue;
    // Elsewhere in a text, `<think>` is only mentioned.
    if (output.blank && (yield* input.startsWith(THINK))) {
      input.take(THINK.length);
      yield* readReasoning(input, output);
    } else if (!(calls && (yield* calls.read()))) {
      output.text(input.take(1));
    }
  }
  output.end();
}

function* readReasoning(input: TextInput, output: TurnOutput): Waiting<void> {
  output.boundary();
  while (yield* input.has(0)) {
    if (yield* input.startsWith(END_THINK)) {
      input.take(END_THINK.length);
      break;
    }
    const next = input.rest.indexOf('<', 1);
    output.reasoning(input.take(next < 0 ? input.rest.length : next));
  }
  output.boundary();
}
