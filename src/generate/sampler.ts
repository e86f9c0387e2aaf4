/**
 * Choosing the next token from logits.
 *
 * Steps, in this order:
 * 1. repetition penalty `r`, once for every token of the prompt or the output so far:
 *    `logit > 0 ? logit / r : logit * r` (CTRL, arXiv 1909.05858, as in transformers)
 * 2. logit bias, presence and frequency penalty in one sum:
 *    `logit + bias - presence * [count > 0] - frequency * count`, counting the output only
 *    (OpenAI's formula)
 * 3. temperature, 4. top-k, 5. top-p, 6. min-p (transformers' order of warpers; each on what the
 *    one before left)
 * 7. a draw from what is left.
 *
 * transformers and llama.cpp add the bias before step 1. Here it comes after, so that a bias means
 * the same whether or not its token has occurred, and so that steps 1 and 2 are two numbers per
 * token, {@link Adjustment}, which a GPU can apply before its top-k. All arithmetic of steps 1 and 2
 * is in float32, so both ways give the same candidates.
 */
import { MowgliError } from '../errors.ts';
import type { ResolvedSampling } from './sampler-options.ts';
import { Random } from './sampler-random.ts';

export {
  type ResolvedSampling,
  resolveSampling,
  type SamplingDefaults,
} from './sampler-options.ts';

/** The most candidates that a GPU is asked to find; beyond it, all logits are read back. */
export const MAX_CANDIDATES = 64;

/** Ids below this fit beside a logit in a double's 53 bits. */
const ID_RANGE = 2 ** 21;

/** What the sampler has to be given for each token. */
export type SamplerNeeds =
  /**
   * The id of the highest adjusted logit, of equal ones the lowest, is the answer. No random number
   * is drawn, so the GPU may go on by itself.
   */
  | { readonly kind: 'argmax' }
  /** The `k` highest adjusted logits with their ids, for {@link Sampler.sampleCandidates}. */
  | { readonly kind: 'candidates'; readonly k: number }
  /** All logits, as the model made them, for {@link Sampler.sample}. */
  | { readonly kind: 'logits' };

/**
 * Change of one token's logit before temperature:
 * `(logit > 0 ? logit / repetition : logit * repetition) + add`, in float32. `add` is -Infinity for
 * a token that a bias forbids.
 */
export interface Adjustment {
  readonly id: number;
  readonly repetition: number;
  readonly add: number;
}

/** Which tokens have occurred, for the penalties. Cheap to extend token by token. */
export class TokenHistory {
  readonly #seen = new Set<number>();
  readonly #counts = new Map<number, number>();

  /** @param prompt Tokens that only the repetition penalty looks at. */
  constructor(prompt: Iterable<number> = []) {
    for (const id of prompt) this.#seen.add(id);
  }

  /** Records a generated token. */
  push(id: number): void {
    this.#seen.add(id);
    this.#counts.set(id, (this.#counts.get(id) ?? 0) + 1);
  }

  /** Every token of prompt and output, once. */
  get seen(): ReadonlySet<number> {
    return this.#seen;
  }

  /** How often each token was generated. */
  get counts(): ReadonlyMap<number, number> {
    return this.#counts;
  }
}

/** Tokens to draw from, likeliest first, with weights relative to the first one's 1. */
interface Candidates {
  readonly ids: Uint32Array;
  readonly weights: Float64Array;
}

/** Draws tokens. One sampler serves one sequence: its random numbers go on from token to token. */
export class Sampler {
  /** What to hand over for each token; decided by the options alone. */
  readonly needs: SamplerNeeds;
  /** Whether {@link adjustments} can ever be other than empty. */
  readonly adjusts: boolean;
  readonly #options: ResolvedSampling;
  readonly #vocabSize: number;
  readonly #random: Random;
  /** Adjusted logits of one call, kept between calls: 600 KB for Qwen's vocabulary. */
  #work = new Float32Array(0);
  /** 0, 1, 2 ... for draws from the whole vocabulary. */
  #identity = new Uint32Array(0);

  /**
   * @param vocabSize The number of real tokens. Rows from there on are padding and never drawn.
   * @throws MowgliError `OPTION_INVALID` for a bias on a token that does not exist.
   */
  constructor(options: ResolvedSampling, vocabSize: number) {
    for (const id of options.logitBias.keys()) {
      if (id >= vocabSize) {
        throw new MowgliError(
          'OPTION_INVALID',
          `logitBias: ${id} is not a token; pass ids from 0 to ${vocabSize - 1}.`,
        );
      }
    }
    this.#options = options;
    this.#vocabSize = vocabSize;
    this.#random = new Random(options.seed);
    this.needs = needsOf(options);
    this.adjusts = penalizes(options) || options.logitBias.size > 0;
  }

  /**
   * The tokens whose logits change, each once, in no particular order. Empty when no penalty or
   * bias is set.
   */
  adjustments(history: TokenHistory): Adjustment[] {
    const ids = new Set(this.#options.logitBias.keys());
    if (this.#options.repetitionPenalty !== 1) for (const id of history.seen) ids.add(id);
    if (this.#options.presencePenalty !== 0 || this.#options.frequencyPenalty !== 0) {
      for (const id of history.counts.keys()) ids.add(id);
    }
    const result: Adjustment[] = [];
    for (const id of ids) if (id < this.#vocabSize) result.push(this.adjustment(id, history));
    return result;
  }

  /** The adjustment of one token: after `history.push(id)`, the only one that has changed. */
  adjustment(id: number, history: TokenHistory): Adjustment {
    const { repetitionPenalty, presencePenalty, frequencyPenalty, logitBias } = this.#options;
    const count = history.counts.get(id) ?? 0;
    const penalty = (count > 0 ? presencePenalty : 0) + frequencyPenalty * count;
    return {
      id,
      repetition: history.seen.has(id) ? repetitionPenalty : 1,
      add: (logitBias.get(id) ?? 0) - penalty,
    };
  }

  /**
   * Draws from all logits of the model, which stay as they are. Rows past the vocabulary are not
   * looked at.
   * @param allowed The only tokens to choose from, a bit each; see `TokenConstraint`.
   * @throws MowgliError `GPU_ERROR` when a logit is NaN or +Infinity, or all are -Infinity;
   * `OPTION_INVALID` when biases and `allowed` forbid every token.
   */
  sample(logits: Float32Array, history: TokenHistory, allowed?: Uint32Array): number {
    const n = this.#vocabSize;
    if (logits.length < n) {
      throw new MowgliError(
        'GPU_ERROR',
        `the model gave ${logits.length} logits for a vocabulary of ${n}; the tokenizer and the weights are not of the same model.`,
      );
    }
    if (this.#work.length !== n) this.#work = new Float32Array(n);
    const work = this.#work;
    work.set(logits.subarray(0, n));
    checkLogits(work);
    for (const change of this.adjustments(history)) {
      work[change.id] = adjusted(work[change.id]!, change);
    }
    if (allowed) {
      for (let id = 0; id < n; id++) {
        if (!((allowed[id >>> 5]! >>> (id & 31)) & 1)) work[id] = Number.NEGATIVE_INFINITY;
      }
    }
    const best = argmax(work);
    if (work[best] === Number.NEGATIVE_INFINITY) throw everyTokenForbidden();
    if (this.needs.kind === 'argmax') return best;
    const { topK } = this.#options;
    const kept =
      topK > 0
        ? this.#weigh(largest(work, Math.min(topK, n)), work)
        : this.#likely(work, work[best]!);
    return this.#draw(this.#cut(kept));
  }

  /**
   * Draws from the candidates that the GPU found: ids and adjusted logits, in any order, the
   * `needs.k` highest of the vocabulary (without its padding rows, which could displace real
   * tokens). Gives the token that {@link sample} would, from the same random numbers. Ids past the
   * vocabulary stand for "none" and are left out.
   * @throws MowgliError `GPU_ERROR` when a logit is NaN or +Infinity, or nothing is left.
   */
  sampleCandidates(ids: ArrayLike<number>, logits: ArrayLike<number>): number {
    const found: number[] = [];
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i]!;
      if (id < 0 || id >= this.#vocabSize) continue;
      checkLogit(logits[i]!, id);
      // A GPU may keep the largest negative number in place of -Infinity.
      if (logits[i] === Number.NEGATIVE_INFINITY) continue;
      if (this.#options.logitBias.get(id) === Number.NEGATIVE_INFINITY) continue;
      found.push(i);
    }
    if (found.length === 0) {
      throw this.#options.logitBias.size > 0 ? everyTokenForbidden() : noFiniteLogit();
    }
    found.sort((a, b) => logits[b]! - logits[a]! || ids[a]! - ids[b]!);
    const k = this.needs.kind === 'argmax' ? 1 : this.#options.topK || found.length;
    const kept = found.slice(0, k);
    if (this.needs.kind === 'argmax') return ids[kept[0]!]!;
    const order = Uint32Array.from(kept, (i) => ids[i]!);
    const values = Float32Array.from(kept, (i) => logits[i]!);
    return this.#draw(this.#cut({ ids: order, weights: this.#weights(values) }));
  }

  /** Top-k's result with weights. */
  #weigh(ids: Uint32Array, work: Float32Array): Candidates {
    return { ids, weights: this.#weights(Float32Array.from(ids, (id) => work[id]!)) };
  }

  /** exp((x - max) / temperature) for logits in falling order. */
  #weights(logits: Float32Array): Float64Array {
    const max = logits[0]!;
    return Float64Array.from(logits, (x) => Math.exp((x - max) / this.#options.temperature));
  }

  /**
   * The part of the whole vocabulary that top-p and min-p can keep, sorted, without sorting all of
   * it. Tokens of weight below `(1 - p) * total / n` together have less than `1 - p` of the mass, so
   * top-p's prefix is complete before any of them. The total is of all tokens.
   */
  #likely(work: Float32Array, max: number): Candidates & { readonly total: number } {
    const { temperature, topP, minP } = this.#options;
    const n = work.length;
    const weights = new Float64Array(n);
    let total = 0;
    for (let id = 0; id < n; id++) {
      const weight = Math.exp((work[id]! - max) / temperature);
      weights[id] = weight;
      total += weight;
    }
    // With nothing to cut, the order does not matter and sorting would be the main cost.
    if (topP === 1 && minP === 0) return { ids: this.#allIds(), weights, total };
    const least = Math.max(minP, ((1 - topP) * total) / n);
    let count = 0;
    const found = new Uint32Array(n);
    for (let id = 0; id < n; id++) if (weights[id]! >= least) found[count++] = id;
    const ids = found.subarray(0, count);
    sortByLogit(ids, work);
    return { ids, weights: new Float64Array(count).map((_, i) => weights[ids[i]!]!), total };
  }

  #allIds(): Uint32Array {
    if (this.#identity.length !== this.#vocabSize) {
      this.#identity = new Uint32Array(this.#vocabSize).map((_, i) => i);
    }
    return this.#identity;
  }

  /** Top-p, then min-p. Both keep a beginning of the sorted list, and always the first token. */
  #cut(candidates: Candidates & { readonly total?: number }): Candidates {
    const { topP, minP } = this.#options;
    const { ids, weights } = candidates;
    let length = ids.length;
    if (topP < 1) {
      const goal = topP * (candidates.total ?? weights.reduce((sum, w) => sum + w, 0));
      let sum = 0;
      for (length = 0; length < ids.length; ) {
        sum += weights[length++]!;
        if (sum >= goal) break;
      }
    }
    if (minP > 0) while (length > 1 && weights[length - 1]! < minP) length--;
    return { ids: ids.subarray(0, length), weights: weights.subarray(0, length) };
  }

  #draw({ ids, weights }: Candidates): number {
    let total = 0;
    for (const weight of weights) total += weight;
    const goal = this.#random.next() * total;
    let sum = 0;
    let last = 0;
    for (let i = 0; i < ids.length; i++) {
      if (weights[i] === 0) continue;
      sum += weights[i]!;
      last = i;
      if (sum > goal) break;
    }
    // Rounding of the total can leave the goal beyond the last sum: then it is the last token.
    return ids[last]!;
  }
}

function penalizes(options: ResolvedSampling): boolean {
  return (
    options.repetitionPenalty !== 1 ||
    options.presencePenalty !== 0 ||
    options.frequencyPenalty !== 0
  );
}

function needsOf({ temperature, topK, topP }: ResolvedSampling): SamplerNeeds {
  if (temperature === 0 || topK === 1 || topP === 0) return { kind: 'argmax' };
  if (topK > 0 && topK <= MAX_CANDIDATES) return { kind: 'candidates', k: topK };
  return { kind: 'logits' };
}

/** Applies an {@link Adjustment}, rounding to float32 after each operation as a GPU does. */
export function adjusted(logit: number, { repetition, add }: Adjustment): number {
  const factor = Math.fround(repetition);
  const penalized = Math.fround(logit > 0 ? logit / factor : logit * factor);
  return Math.fround(penalized + Math.fround(add));
}

/**
 * Sorts ids by falling logit, equal ones by rising id. Each pair is packed into one double, 32 bits
 * of the logit's order above 21 bits of the id, so that the engine's native number sort does it:
 * several times faster on a whole vocabulary than a comparison function.
 */
function sortByLogit(ids: Uint32Array, logits: Float32Array): void {
  const value = new Float32Array(1);
  const bits = new Uint32Array(value.buffer);
  const keys = new Float64Array(ids.length);
  for (let i = 0; i < ids.length; i++) {
    value[0] = logits[ids[i]!]! + 0; // -0 and 0 are equal
    // As unsigned integers, the bits of positive floats rise and those of negative ones fall.
    const rising = bits[0]! >>> 31 ? ~bits[0]! >>> 0 : (bits[0]! | 0x8000_0000) >>> 0;
    keys[i] = (~rising >>> 0) * ID_RANGE + ids[i]!;
  }
  keys.sort();
  for (let i = 0; i < ids.length; i++) ids[i] = keys[i]! % ID_RANGE;
}

/** The highest value's index; of equal ones the lowest. */
function argmax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

/**
 * Indices of the k largest values, largest first, equal ones by index: a heap of the k best so far
 * whose root is the worst of them.
 */
function largest(values: Float32Array, k: number): Uint32Array {
  const heap = new Uint32Array(k);
  const worse = (a: number, b: number) =>
    values[a]! < values[b]! || (values[a] === values[b] && a > b);
  const sink = (start: number, size: number) => {
    const item = heap[start]!;
    let at = start;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= size) break;
      if (child + 1 < size && worse(heap[child + 1]!, heap[child]!)) child++;
      if (!worse(heap[child]!, item)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = item;
  };
  for (let i = 0; i < k; i++) heap[i] = i;
  for (let i = (k >>> 1) - 1; i >= 0; i--) sink(i, k);
  for (let i = k; i < values.length; i++) {
    if (worse(heap[0]!, i)) {
      heap[0] = i;
      sink(0, k);
    }
  }
  // Taking the worst off one by one leaves the array in falling order.
  for (let size = k - 1; size > 0; size--) {
    const worst = heap[0]!;
    heap[0] = heap[size]!;
    heap[size] = worst;
    sink(0, size);
  }
  return heap;
}

function checkLogits(logits: Float32Array): void {
  let finite = false;
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id]!;
    // One comparison passes all ordinary values; NaN and +Infinity fail it.
    if (!(logit < Number.POSITIVE_INFINITY)) checkLogit(logit, id);
    finite ||= logit > Number.NEGATIVE_INFINITY;
  }
  if (!finite) throw noFiniteLogit();
}

/** A broken logit would turn into a random token, so it stops the generation instead. */
function checkLogit(logit: number, id: number): void {
  if (Number.isNaN(logit) || logit === Number.POSITIVE_INFINITY) {
    throw new MowgliError(
      'GPU_ERROR',
      `the model gave the logit ${logit} for token ${id}. Check the model files; if they are sound, report this with the name of the GPU.`,
    );
  }
}

function noFiniteLogit(): MowgliError {
  return new MowgliError(
    'GPU_ERROR',
    'the model gave -Infinity for every token. Check the model files; if they are sound, report this with the name of the GPU.',
  );
}

function everyTokenForbidden(): MowgliError {
  return new MowgliError(
    'OPTION_INVALID',
    'logitBias leaves no token that could be chosen, or none that the required form of the answer allows; forbid fewer tokens.',
  );
}
