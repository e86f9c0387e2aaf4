import type { GeneratePart } from '../index.ts';
import {
  type Answer,
  type AnswerHead,
  answerHead,
  completionLogprobs,
  TextOffsets,
  type TokenTexts,
  usageFields,
} from './answer.ts';
import type { CompletionRequest } from './requests.ts';

type TextPart = Extract<GeneratePart, { type: 'text' }>;
type EndPart = Extract<GeneratePart, { type: 'end' }>;

/** An answer of POST /v1/completions, as one object or in chunks. */
export class CompletionAnswer implements Answer<GeneratePart> {
  readonly #head: AnswerHead & { readonly object: 'text_completion' };
  readonly #texts: TokenTexts;
  readonly #request: CompletionRequest;
  readonly #offsets: TextOffsets;

  constructor(request: CompletionRequest, texts: TokenTexts) {
    this.#head = { ...answerHead('cmpl-', request.model), object: 'text_completion' };
    this.#texts = texts;
    this.#request = request;
    this.#offsets = new TextOffsets(texts);
  }

  whole(parts: readonly GeneratePart[]): object {
    const { text, finishReason, usage } = parts.at(-1) as EndPart;
    const all = parts.flatMap((part) => (part.type === 'text' && part.logprobs) || []);
    const logprobs = this.#logprobs(all);
    return {
      ...this.#head,
      choices: [{ index: 0, text, logprobs, finish_reason: finishReason }],
      usage: usageFields(usage),
    };
  }

  *chunks(part: GeneratePart): Generator<object> {
    const { includeUsage } = this.#request;
    const isText = part.type === 'text';
    const choice = {
      index: 0,
      text: isText ? part.text : '',
      logprobs: this.#logprobs((isText && part.logprobs) || []),
      finish_reason: isText ? null : part.finishReason,
    };
    yield { ...this.#head, choices: [choice], ...(includeUsage && { usage: null }) };
    if (!isText && includeUsage) {
      yield { ...this.#head, choices: [], usage: usageFields(part.usage) };
    }
  }

  #logprobs(logprobs: NonNullable<TextPart['logprobs']>) {
    if (this.#request.options.logprobs === undefined) return null;
    return completionLogprobs(this.#texts, logprobs, this.#offsets);
  }
}
