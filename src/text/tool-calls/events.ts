/**
 * What a turn of the assistant consists of, in order. Texts and deltas may come in any number of
 * pieces; joined, they are the same however the model's text was cut.
 */
export type TurnEvent =
  /** Text for the user. White space next to a call or to reasoning is markup and left out. */
  | { readonly type: 'text'; readonly text: string }
  /** Text from a `<think>` block. */
  | { readonly type: 'reasoning'; readonly text: string }
  /** A call has begun. `index` counts the calls of the turn from 0. */
  | { readonly type: 'tool-call-start'; readonly index: number; readonly name: string }
  /** More of the arguments' JSON text. */
  | { readonly type: 'tool-call-delta'; readonly index: number; readonly delta: string }
  /**
   * The call is whole: `arguments`, the deltas joined, is the JSON text of an object, in which no key
   * comes twice.
   */
  | {
      readonly type: 'tool-call-end';
      readonly index: number;
      readonly name: string;
      readonly arguments: string;
    }
  /**
   * The call was cut off or is damaged, and must not be run: `arguments`, the deltas joined, is the
   * beginning of a JSON text, without its last bracket at least.
   */
  | {
      readonly type: 'tool-call-incomplete';
      readonly index: number;
      readonly name: string;
      readonly arguments: string;
    };

/** A call, with its arguments as JSON text, which keeps numbers that JavaScript cannot hold. */
export interface ParsedToolCall {
  readonly name: string;
  readonly arguments: string;
}

/** A whole turn. */
export interface ParsedTurn {
  readonly content: string;
  readonly reasoning: string;
  readonly toolCalls: readonly ParsedToolCall[];
  /** Calls that were begun and must not be run; their arguments are not valid JSON. */
  readonly incompleteCalls: readonly ParsedToolCall[];
}

/** The turn that events add up to. */
export function collectTurn(events: Iterable<TurnEvent>): ParsedTurn {
  let content = '';
  let reasoning = '';
  const toolCalls: ParsedToolCall[] = [];
  const incompleteCalls: ParsedToolCall[] = [];
  for (const event of events) {
    if (event.type === 'text') content += event.text;
    else if (event.type === 'reasoning') reasoning += event.text;
    else if (event.type === 'tool-call-end') {
      toolCalls.push({ name: event.name, arguments: event.arguments });
    } else if (event.type === 'tool-call-incomplete') {
      incompleteCalls.push({ name: event.name, arguments: event.arguments });
    }
  }
  return { content, reasoning, toolCalls, incompleteCalls };
}
