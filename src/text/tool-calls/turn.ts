import { anyOf, type TextInput, type Waiting } from './input.ts';
import type { TurnOutput } from './output.ts';

const THINK = '<think>';
const END_THINK = '</think>';
const isTagStart = anyOf('<');

/** How one format writes calls. */
export interface CallReader {
  /** The characters that a call can begin with. */
  readonly openers: string;
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
    if (yield* input.startsWith(THINK, start)) input.skip(start + THINK.length);
    yield* readReasoning(input, output);
  }
  const isOpener = calls ? anyOf(calls.openers) : isTagStart;
  while (yield* input.has(0)) {
    output.text(input.take(input.find(isOpener, 0)));
    if (input.length === 0) continue;
    // Elsewhere in a text, `<think>` is only mentioned.
    if (output.blank && (yield* input.startsWith(THINK))) {
      input.skip(THINK.length);
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
      input.skip(END_THINK.length);
      break;
    }
    output.reasoning(input.take(input.find(isTagStart, 1)));
  }
  output.boundary();
}
