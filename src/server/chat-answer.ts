import type { GeneratedLogprob, RespondEnd, RespondPart, ToolCall } from '../index.ts';
import {
  type Answer,
  type AnswerHead,
  answerHead,
  chatLogprobs,
  type TokenTexts,
  usageFields,
} from './answer.ts';
import type { ChatRequest } from './requests.ts';

/** What a chunk adds to the message. */
interface Delta {
  role?: 'assistant';
  content?: string;
  reasoning_content?: string;
  tool_calls?: readonly object[];
}

/** An answer of POST /v1/chat/completions, as one object or in chunks. */
export class ChatAnswer implements Answer<RespondPart> {
  readonly #head: AnswerHead;
  readonly #texts: TokenTexts;
  readonly #request: ChatRequest;
  #begun = false;
  /** Those of no chunk yet. */
  readonly #logprobs: GeneratedLogprob[] = [];
  /** Calls that were told. */
  #calls = 0;

  constructor(request: ChatRequest, texts: TokenTexts) {
    this.#head = answerHead('chatcmpl-', request.model);
    this.#texts = texts;
    this.#request = request;
  }

  whole(parts: readonly RespondPart[]): object {
    const { message, finishReason, usage } = parts.at(-1) as RespondEnd;
    const logprobs = parts.flatMap((part) => (part.type === 'logprobs' ? part.logprobs : []));
    const asked = this.#request.options.logprobs !== undefined;
    const choice = {
      index: 0,
      message: { ...message, refusal: null },
      logprobs: asked ? chatLogprobs(this.#texts, logprobs) : null,
      finish_reason: finishReasons[finishReason],
    };
    const object = 'chat.completion';
    return { ...this.#head, object, choices: [choice], usage: usageFields(usage) };
  }

  /**
   * A call is told when it is whole, in two chunks: who it is, and its arguments. Told earlier, it could
   * still turn out to be cut off or damaged, and no chunk takes back what a client has seen of it: some
   * run a call whose arguments are empty or happen to parse. For the same reason an answer whose only
   * call is incomplete ends with `stop` or `length`, and never with `tool_calls`.
   */
  *chunks(part: RespondPart): Generator<object> {
    if (part.type === 'logprobs') {
      this.#logprobs.push(...part.logprobs);
      return;
    }
    if (!this.#begun) {
      this.#begun = true;
      yield this.#chunk({ role: 'assistant', content: '' });
    }
    if (part.type === 'text') yield this.#chunk({ content: part.text });
    else if (part.type === 'reasoning') yield this.#chunk({ reasoning_content: part.text });
    else if (part.type === 'tool-call-end') {
      const { id, name } = part;
      yield* this.#call({ id, type: 'function', function: { name, arguments: part.arguments } });
    } else if (part.type === 'end') yield* this.#end(part);
  }

  *#call({ id, type, function: { name, arguments: given } }: ToolCall): Generator<object> {
    const index = this.#calls++;
    yield this.#chunk({ tool_calls: [{ index, id, type, function: { name, arguments: '' } }] });
    yield this.#chunk({ tool_calls: [{ index, function: { arguments: given } }] });
  }

  *#end({ finishReason, usage }: RespondEnd): Generator<object> {
    yield this.#chunk({}, finishReasons[finishReason]);
    if (this.#request.includeUsage) {
      yield { ...this.#head, object, choices: [], usage: usageFields(usage) };
    }
  }

  #chunk(delta: Delta, finish_reason: string | null = null): object {
    // With the chunk that they made; the first one says only who speaks.
    const pending = delta.role ? [] : this.#logprobs.splice(0);
    const logprobs = pending.length > 0 ? chatLogprobs(this.#texts, pending) : null;
    return {
      ...this.#head,
      object,
      choices: [{ index: 0, delta, logprobs, finish_reason }],
      ...(this.#request.includeUsage && { usage: null }),
    };
  }
}

const object = 'chat.completion.chunk';

const finishReasons: Readonly<Record<RespondEnd['finishReason'], string>> = {
  stop: 'stop',
  length: 'length',
  'tool-calls': 'tool_calls',
  // The end of an answer that nobody waits for.
  aborted: 'stop',
};
