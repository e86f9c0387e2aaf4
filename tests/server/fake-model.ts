import { MowgliError } from '../../src/errors.ts';
import type {
  ChatMessage,
  FinishReason,
  GenerateOptions,
  GeneratePart,
  Prompt,
  RespondOptions,
  RespondPart,
  Usage,
} from '../../src/index.ts';
import type { ServedModel } from '../../src/server/index.ts';

/** What a fake model does for a request: parts, and waits or errors between them. */
export type Script = (
  request: { messages?: readonly ChatMessage[]; prompt?: Prompt },
  options: RespondOptions,
) => AsyncIterable<RespondPart> | Iterable<RespondPart>;

/** Says the last message again, a character at a time. */
const echo: Script = function* ({ messages, prompt }, { logprobs }) {
  const said = messages?.at(-1)?.content ?? (typeof prompt === 'string' ? prompt : 'tokens');
  for (const text of said) {
    const token = text.codePointAt(0)!;
    const entry = { token, logprob: -0.5 };
    if (logprobs !== undefined) {
      yield { type: 'logprobs', logprobs: [{ ...entry, top: [entry].slice(0, logprobs) }] };
    }
    yield { type: 'text', text };
  }
};

/** A model whose tokens are bytes, and that answers what a script says. */
export class FakeModel implements ServedModel {
  readonly name = '/secret/models/fake-model.gguf';
  readonly context = 1000;
  readonly config = { vocabSize: 256 };
  readonly hasTokenizer = true;
  failure: MowgliError | undefined;
  /** Generations under way: never more than one. */
  running = 0;
  /** The options of all generations so far. */
  readonly asked: RespondOptions[] = [];
  script: Script = echo;

  async *respond(
    messages: readonly ChatMessage[],
    options: RespondOptions = {},
  ): AsyncGenerator<RespondPart> {
    yield* this.#run({ messages }, options);
  }

  async *generate(prompt: Prompt, options: GenerateOptions = {}): AsyncGenerator<GeneratePart> {
    let logprobs: Extract<RespondPart, { type: 'logprobs' }>['logprobs'] | undefined;
    for await (const part of this.#run({ prompt }, options)) {
      if (part.type === 'logprobs') logprobs = part.logprobs;
      else if (part.type === 'text') {
        yield { ...part, tokens: [...Buffer.from(part.text)], ...(logprobs && { logprobs }) };
        logprobs = undefined;
      } else if (part.type === 'end') {
        yield { ...part, finishReason: part.finishReason as FinishReason };
      }
    }
  }

  /** Ends as a model does: when it is aborted, its `end` comes, and then an error. */
  async *#run(
    request: Parameters<Script>[0],
    options: RespondOptions,
  ): AsyncGenerator<RespondPart> {
    if (this.failure) throw this.failure;
    if (this.running > 0) throw new Error('two generations at a time');
    this.running++;
    this.asked.push(options);
    const { signal } = options;
    try {
      let text = '';
      for await (const part of this.script(request, options)) {
        if (signal?.aborted) break;
        if (part.type === 'text') text += part.text;
        yield part;
        if (part.type === 'end') return;
      }
      yield end(text, signal?.aborted ? 'aborted' : 'stop');
      if (signal?.aborted) throw new MowgliError('ABORTED', 'the generation was aborted');
    } finally {
      this.running--;
    }
  }

  detokenize(ids: readonly number[]): string {
    return Buffer.from(ids).toString();
  }

  tokenBytes(id: number): Uint8Array {
    return Uint8Array.of(id);
  }

  memory() {
    return { gpuBytes: 123_456, gpuPeakBytes: 234_567, byLabel: {} };
  }

  expertUsage() {
    return experts;
  }

  prefixCacheUse() {
    return prefixes;
  }
}

const experts = {
  ...{ slots: 4, experts: 8, hits: 17, misses: 3, hitRate: 17 / 20, evictions: 1 },
  ...{ bytesFromFiles: 1000, bytesFromHost: 200, bytesUploaded: 1200 },
  readAhead: { useful: 0, wasted: 0 },
  waitMs: { gpu: 0, read: 0, upload: 0 },
};

const prefixes = {
  ...{ budget: 9000, bytes: 4567, blocks: 1, requests: 2, hits: 1, reusedTokens: 4 },
  ...{ restoredTokens: 0, savedTokens: 10, evictions: 0, failures: 0 },
};

const usage: Usage = {
  ...{ promptTokens: 10, cachedTokens: 4, completionTokens: 3, promptMs: 5, completionMs: 8 },
  ...{ promptTokensPerSecond: 0, completionTokensPerSecond: 0, readbacks: 0, experts },
};

/** The end of an answer of nothing but text. */
export function end(
  text: string,
  finishReason: Extract<RespondPart, { type: 'end' }>['finishReason'] = 'stop',
): Extract<RespondPart, { type: 'end' }> {
  return {
    ...{ type: 'end', finishReason, text, usage },
    message: { role: 'assistant', content: text },
    ...{ incompleteCalls: [], tokens: [...Buffer.from(text)] },
  };
}

/** A wait that a test ends. */
export class Gate {
  #open = () => {};
  readonly opened = new Promise<void>((resolve) => {
    this.#open = resolve;
  });

  open(): void {
    this.#open();
  }
}

/** Waits until something is so, which it soon is. */
export async function until(so: () => boolean): Promise<void> {
  const start = performance.now();
  while (!so()) {
    if (performance.now() - start > 5000) throw new Error(`it never came to be that ${so}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
