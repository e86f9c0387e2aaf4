import type { ParsedToolCall, RespondEnd, RespondPart } from '../node.ts';

/** How reasoning is set apart: by a dimmer colour, or by the tags that models write. */
const marks = {
  dimmed: { begin: '\x1b[2m', end: '\x1b[22m\n\n' },
  tags: { begin: '<think>\n', end: '\n</think>\n\n' },
} as const;

/** What to show of an answer as it comes: text, reasoning set apart, each whole call on a line of its own. */
export class AnswerText {
  readonly #mark: (typeof marks)[keyof typeof marks];
  #inReasoning = false;
  /** Whether the next text begins a line. */
  #atLineStart = true;
  /** Whether nothing was shown yet. */
  empty = true;

  constructor(reasoning: keyof typeof marks) {
    this.#mark = marks[reasoning];
  }

  show(part: RespondPart): string {
    switch (part.type) {
      case 'reasoning':
        return this.#switchTo('reasoning') + this.#put(part.text);
      case 'text':
        return this.#switchTo('text') + this.#put(part.text);
      case 'tool-call-end':
        return this.#switchTo('text') + this.#endLine() + this.#put(`${callJson(part)}\n`);
      default:
        return '';
    }
  }

  /** What to show last: the end of the line. */
  end(): string {
    return this.#switchTo('text') + this.#endLine();
  }

  #put(text: string): string {
    if (text === '') return '';
    this.empty = false;
    this.#atLineStart = text.endsWith('\n');
    return text;
  }

  #endLine(): string {
    return this.#atLineStart ? '' : this.#put('\n');
  }

  #switchTo(kind: 'text' | 'reasoning'): string {
    const toReasoning = kind === 'reasoning';
    if (toReasoning === this.#inReasoning) return '';
    this.#inReasoning = toReasoning;
    return this.#put(toReasoning ? this.#mark.begin : this.#mark.end);
  }
}

/** Shows an answer in `text`, and its whole calls behind all of it. */
export function showCallsLast(text: AnswerText): (part: RespondPart) => string {
  const calls: RespondPart[] = [];
  return (part) => {
    if (part.type === 'end') return calls.map((call) => text.show(call)).join('') + text.end();
    if (part.type !== 'tool-call-end') return text.show(part);
    calls.push(part);
    return '';
  };
}

/** A call as a line shows it. */
export function callJson(call: ParsedToolCall): string {
  return `{"name":${JSON.stringify(call.name)},"arguments":${call.arguments}}`;
}

/** What to say of calls that were begun and must not be run; `undefined` when there are none. */
export function incompleteNote({ incompleteCalls, finishReason }: RespondEnd): string | undefined {
  if (incompleteCalls.length === 0) return undefined;
  const names = incompleteCalls.map(({ name }) => name).join(', ');
  return `mowgli: left out what is no whole call: ${names}; ${reasons[finishReason]}`;
}

const reasons: Readonly<Record<RespondEnd['finishReason'], string>> = {
  length: 'the answer reached its greatest length: allow more with --max-tokens or --context',
  aborted: 'the answer was interrupted',
  stop: 'the model did not finish it, or wrote it in a damaged form',
  'tool-calls': 'the model wrote it in a damaged form',
};
