import { MowgliError } from '../errors.ts';
import { usageBetween } from '../experts/expert-use.ts';
import type { GenerationDefaults } from '../files/generation-defaults.ts';
import { Detokenizer } from '../text/detokenizer.ts';
import type { Engine } from './engine.ts';
import { resolveSampling, Sampler, TokenHistory } from './sampler.ts';
import { StopMatcher } from './stop.ts';
import type { ModelText } from './text.ts';
import type { FinishReason, GenerateOptions, GeneratePart } from './types.ts';

/**
 * One generation: evaluates the prompt, then token after token until something ends it. Yields text
 * and a final `end` part; see `Model.generate`.
 */
export async function* run(
  engine: Engine,
  text: ModelText,
  defaults: GenerationDefaults,
  prompt: readonly number[],
  options: GenerateOptions,
  disposal: AbortSignal,
): AsyncGenerator<GeneratePart> {
  const vocab = text.vocabSize ?? engine.config.vocabSize;
  const sampler = new Sampler(resolveSampling(options, defaults), vocab);
  const stops = new StopMatcher(options.stop);
  const stopIds = new Set([...engine.config.eosTokenIds, ...stopTokens(engine, options)]);
  const maxTokens = answerLength(engine, prompt.length, options.maxTokens);
  // Without a tokenizer there are ids to give, and no text.
  const detokenizer =
    text.vocabSize === undefined
      ? undefined
      : new Detokenizer(text.tokenizer, { skipSpecial: true });
  const signal = options.signal ? AbortSignal.any([options.signal, disposal]) : disposal;
  const history = new TokenHistory(prompt);

  engine.rewind(0);
  const readbacks = engine.gpu.readbacks;
  const usedBefore = engine.expertUse.now();
  const tokens: number[] = [];
  let output = '';
  let unsent: number[] = [];
  let pending: readonly number[] = prompt;
  let finishReason: FinishReason | undefined;
  let aborted: MowgliError | undefined;
  const start = performance.now();
  let first = start;
  let last = start;
  let beforeDecode = readbacks;

  while (!finishReason) {
    let token: number;
    try {
      token = await nextToken(engine, sampler, history, pending, vocab, signal, options.onProgress);
    } catch (error) {
      const stopped = error instanceof MowgliError && signal.aborted;
      if (!stopped || (error.code !== 'ABORTED' && error.code !== 'DISPOSED')) throw error;
      aborted = error;
      finishReason = 'aborted';
      break;
    }
    last = performance.now();
    if (pending === prompt) {
      first = last;
      beforeDecode = engine.gpu.readbacks;
    }
    if (stopIds.has(token)) {
      finishReason = 'stop';
      break;
    }
    tokens.push(token);
    unsent.push(token);
    history.push(token);
    pending = [token];
    const { emit, stopped } = stops.push(detokenizer?.push(token) ?? '');
    if (stopped) finishReason = 'stop';
    else if (tokens.length >= maxTokens) finishReason = 'length';
    if (emit || !detokenizer) {
      output += emit;
      yield { type: 'text', text: emit, tokens: unsent };
      unsent = [];
    }
  }

  const tail = stops.push(detokenizer?.flush() ?? '');
  if (tail.stopped && finishReason === 'length') finishReason = 'stop';
  const rest = tail.emit + stops.flush();
  if (rest || unsent.length) {
    output += rest;
    yield { type: 'text', text: rest, tokens: unsent };
  }
  const promptMs = first - start;
  const completionMs = last - first;
  yield {
    type: 'end',
    finishReason,
    text: output,
    tokens,
    usage: {
      promptTokens: prompt.length,
      completionTokens: tokens.length,
      promptMs,
      completionMs,
      promptTokensPerSecond: rate(prompt.length, promptMs),
      // The first token came with the prompt's evaluation.
      completionTokensPerSecond: rate(Math.max(0, tokens.length - 1), completionMs),
      readbacks: engine.gpu.readbacks - beforeDecode,
      experts: usageBetween(usedBefore, engine.expertUse.now()),
    },
  };
  if (aborted) throw disposal.aborted ? disposed() : aborted;
}

/** The `end` part of a generation that was aborted before its turn came. */
export function nothingGenerated(engine: Engine, promptTokens: number): GeneratePart {
  const used = engine.expertUse.now();
  return {
    type: 'end',
    finishReason: 'aborted',
    text: '',
    tokens: [],
    usage: {
      promptTokens,
      completionTokens: 0,
      promptMs: 0,
      completionMs: 0,
      promptTokensPerSecond: 0,
      completionTokensPerSecond: 0,
      readbacks: 0,
      experts: usageBetween(used, used),
    },
  };
}

function rate(tokens: number, ms: number): number {
  return ms > 0 ? (1000 * tokens) / ms : 0;
}

function disposed(): MowgliError {
  return new MowgliError('DISPOSED', 'the model was disposed of during the generation');
}

/** Evaluates tokens and chooses the next one, with no more read back than the sampler needs. */
async function nextToken(
  engine: Engine,
  sampler: Sampler,
  history: TokenHistory,
  tokens: readonly number[],
  vocab: number,
  signal: AbortSignal,
  onProgress: GenerateOptions['onProgress'],
): Promise<number> {
  const { needs } = sampler;
  if (needs.kind === 'logits') {
    return sampler.sample(await engine.logits(tokens, { signal, onProgress }), history);
  }
  const { ids, logits } = await engine.best(tokens, {
    k: needs.kind === 'argmax' ? 1 : needs.k,
    vocab,
    adjustments: sampler.adjusts ? sampler.adjustments(history) : [],
    signal,
    onProgress,
  });
  // None is left: the sampler says why, from all of the logits.
  if (ids.length === 0) return sampler.sample(await engine.lastLogits(), new TokenHistory());
  return sampler.sampleCandidates(ids, logits);
}

function stopTokens(engine: Engine, { stopTokenIds = [] }: GenerateOptions): readonly number[] {
  const { vocabSize } = engine.config;
  const bad = stopTokenIds.findIndex((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
  if (bad < 0) return stopTokenIds;
  throw new MowgliError(
    'OPTION_INVALID',
    `stopTokenIds: ${stopTokenIds[bad]} is not a token; pass ids from 0 to ${vocabSize - 1}`,
  );
}

/** Tokens to generate at most. The last one needs no room: it is never evaluated. */
function answerLength(engine: Engine, promptTokens: number, wanted: number | undefined): number {
  if (wanted !== undefined && !(Number.isInteger(wanted) && wanted > 0)) {
    throw new MowgliError(
      'OPTION_INVALID',
      `maxTokens is ${wanted}; pass an integer of at least 1`,
    );
  }
  if (promptTokens > engine.context) {
    throw new MowgliError(
      'CONTEXT_EXCEEDED',
      `the prompt has ${promptTokens} tokens and the context holds ${engine.context}; shorten the ` +
        'prompt or load the model with a larger context',
    );
  }
  return Math.min(wanted ?? Number.POSITIVE_INFINITY, engine.context - promptTokens + 1);
}
