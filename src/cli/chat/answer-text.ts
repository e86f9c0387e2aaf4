import type { RespondPart } from '../../node.ts';
import { callJson } from '../tools.ts';

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

  /** What to show last: an answer is at least a line, even an empty one. */
  end(): string {
    return this.#switchTo('text') + (this.empty ? '\n' : this.#endLine());
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
