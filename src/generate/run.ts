import { MowgliError } from '../errors.ts';
import { usageBetween } from '../experts/expert-use.ts';
import type { GenerationDefaults } from '../files/generation-defaults.ts';
import { Detokenizer } from '../text/detokenizer.ts';
import type { Engine } from './engine.ts';
import { checkLogprobs, logprobsOf } from './logprobs.ts';
import { resolveSampling, Sampler, TokenHistory } from './sampler.ts';
import { StopMatcher } from './stop.ts';
import type { ModelText } from './text.ts';
import type { FinishReason, GeneratedLogprob, GenerateOptions, GeneratePart } from './types.ts';

/** What a generation needs besides its options. */
export interface RunContext {
  readonly engine: Engine;
  readonly text: ModelText;
  readonly defaults: GenerationDefaults;
  /** Makes the engine hold what is known of a prompt's beginning; answers how many tokens that are. */
  readonly prepare: (prompt: readonly number[], signal: AbortSignal) => Promise<number>;
}

/**
 * One generation: evaluates what is new of the prompt, then token after token until something ends it.
 * Yields text and a final `end` part; see `Model.generate`.
 */
export async function* run(
  { engine, text, defaults, prepare }: RunContext,
  prompt: readonly number[],
  options: GenerateOptions & { readonly signal: AbortSignal },
): AsyncGenerator<GeneratePart> {
  const { constraint, signal } = options;
  checkLogprobs(options.logprobs);
  const vocab = text.vocabSize ?? engine.config.vocabSize;
  const sampler = new Sampler(resolveSampling(options, defaults), vocab);
  const endsItself = constraint?.complete !== undefined;
  const stops = new StopMatcher(endsItself ? undefined : options.stop);
  const extraStopIds = stopTokens(engine, options);
  const stopIds = new Set([...engine.config.eosTokenIds, ...(endsItself ? [] : extraStopIds)]);
  const maxTokens = answerLength(engine, prompt.length, options.maxTokens);
  // Without a tokenizer there are ids to give, and no text.
  const detokenizer =
    text.vocabSize === undefined
      ? undefined
      : new Detokenizer(text.tokenizer, { skipSpecial: true });
  const history = new TokenHistory(prompt);
  const chooser = { engine, sampler, history, vocab, options };

  const readbacks = engine.gpu.readbacks;
  const usedBefore = engine.expertUse.now();
  const tokens: number[] = [];
  let output = '';
  const unsent = new Unsent();
  let decoded = 0;
  let cached = 0;
  let pending: readonly number[] | undefined;
  let finishReason: FinishReason | undefined;
  let aborted: MowgliError | undefined;
  const start = performance.now();
  let first = start;
  let last = start;
  let beforeDecode = readbacks;

  while (!finishReason) {
    let chosen: Chosen;
    try {
      if (!pending) {
        cached = await prepare(prompt, signal);
        pending = prompt.slice(cached);
      }
      chosen = await nextToken(chooser, pending, constraint?.allowed(maxTokens - tokens.length));
    } catch (error) {
      const stopped = error instanceof MowgliError && signal.aborted;
      if (!stopped || (error.code !== 'ABORTED' && error.code !== 'DISPOSED')) throw error;
      aborted = error;
      finishReason = 'aborted';
      break;
    }
    const { token } = chosen;
    last = performance.now();
    if (tokens.length === 0) {
      first = last;
      beforeDecode = engine.gpu.readbacks;
    }
    if (stopIds.has(token)) {
      finishReason = 'stop';
      break;
    }
    constraint?.accept(token);
    tokens.push(token);
    unsent.push(chosen, decoded);
    history.push(token);
    pending = [token];
    const piece = detokenizer?.push(token) ?? '';
    decoded += piece.length;
    const { emit, stopped } = stops.push(piece);
    if (stopped || constraint?.finished) finishReason = 'stop';
    else if (tokens.length >= maxTokens) finishReason = constraint?.complete ? 'stop' : 'length';
    if (emit || !detokenizer) {
      output += emit;
      yield { type: 'text', text: emit, ...unsent.take(detokenizer && output.length) };
    }
  }

  const tail = stops.push(detokenizer?.flush() ?? '');
  if (tail.stopped && finishReason === 'length') finishReason = 'stop';
  const rest = tail.emit + stops.flush();
  output += rest;
  const told = unsent.take(stops.matched === undefined ? undefined : output.length);
  if (rest || told.tokens.length) yield { type: 'text', text: rest, ...told };
  // What is left made up the stop text, which nobody is told of, nor how likely it was.
  const { tokens: removed } = unsent.take();
  if (removed.length) yield { type: 'text', text: '', tokens: removed };
  const promptMs = first - start;
  const completionMs = last - first;
  yield {
    type: 'end',
    finishReason,
    text: output,
    tokens,
    usage: {
      promptTokens: prompt.length,
      cachedTokens: cached,
      completionTokens: tokens.length,
      promptMs,
      completionMs,
      promptTokensPerSecond: rate(prompt.length - cached, promptMs),
      // The first token came with the prompt's evaluation.
      completionTokensPerSecond: rate(Math.max(0, tokens.length - 1), completionMs),
      readbacks: engine.gpu.readbacks - beforeDecode,
      experts: usageBetween(usedBefore, engine.expertUse.now()),
    },
  };
  if (aborted) throw aborted;
}

/** Tokens that no part has told of yet. */
class Unsent {
  readonly #waiting: { readonly chosen: Chosen; readonly begin: number }[] = [];

  /** @param begin where its text begins in the output */
  push(chosen: Chosen, begin: number): void {
    this.#waiting.push({ chosen, begin });
  }

  /** Takes those whose text begins before a place in the output; without one, all. */
  take(end = Number.POSITIVE_INFINITY): { tokens: number[]; logprobs?: GeneratedLogprob[] } {
    const kept = this.#waiting.findIndex(({ begin }) => begin >= end);
    const taken = this.#waiting.splice(0, kept < 0 ? this.#waiting.length : kept);
    const logprobs = taken.flatMap(({ chosen }) => chosen.logprob ?? []);
    const tokens = taken.map(({ chosen }) => chosen.token);
    return { tokens, ...(logprobs.length > 0 && { logprobs }) };
  }
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
      cachedTokens: 0,
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

interface Chosen {
  readonly token: number;
  readonly logprob?: GeneratedLogprob;
}

interface Chooser {
  readonly engine: Engine;
  readonly sampler: Sampler;
  readonly history: TokenHistory;
  readonly vocab: number;
  readonly options: GenerateOptions;
}

/** Evaluates tokens and chooses the next one, with no more read back than the choice needs. */
async function nextToken(
  { engine, sampler, history, vocab, options }: Chooser,
  tokens: readonly number[],
  allowed: Uint32Array | undefined,
): Promise<Chosen> {
  const { needs } = sampler;
  const { signal, onProgress, logprobs } = options;
  if (needs.kind === 'logits' || logprobs !== undefined) {
    const logits = await engine.logits(tokens, { signal, onProgress });
    const token = sampler.sample(logits, history, allowed);
    if (logprobs === undefined) return { token };
    return { token, logprob: logprobsOf(logits.subarray(0, vocab), token, logprobs) };
  }
  const { ids, logits } = await engine.best(tokens, {
    k: needs.kind === 'argmax' ? 1 : needs.k,
    vocab,
    adjustments: sampler.adjusts ? sampler.adjustments(history) : [],
    allowed,
    signal,
    onProgress,
  });
  // None is left: the sampler says why, from all of the logits.
  if (ids.length === 0) {
    return { token: sampler.sample(await engine.lastLogits(), new TokenHistory(), allowed) };
  }
  return { token: sampler.sampleCandidates(ids, logits) };
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
