import type { Trace } from './trace-file.ts';

/** How well the needs of layers were foretold. */
export interface PredictionScore {
  /** Experts foretold. */
  readonly predicted: number;
  /** Experts needed. */
  readonly needed: number;
  /** Experts foretold that were needed. */
  readonly right: number;
}

/** A way to foretell which experts a layer will need. */
export type Predictor =
  /** Its router, applied to the hidden state `depth` sparse layers before. */
  | { readonly kind: 'router'; readonly depth: number }
  /** The experts that the token before was sent to there. */
  | { readonly kind: 'repeat' }
  /** The experts that were used there most so far. */
  | { readonly kind: 'frequent' };

export interface PredictionResult {
  readonly predictor: Predictor;
  readonly decode: PredictionScore;
  /** Chunks of a prompt, whose tokens' experts count together. Only routers foretell these. */
  readonly prompt: PredictionScore;
}

/**
 * How well experts could be foretold in a run: by the naive predictors, and by routers as deep as the
 * trace has it. Steps without a prediction of that depth, and layers that have none, do not count.
 */
export function scorePredictions({ model, steps }: Trace): PredictionResult[] {
  const { experts, expertsPerToken } = model;
  const layers = model.sparseLayers.length;
  const depths = steps.reduce((most, { predicted }) => Math.max(most, predicted.length), 0);
  const routers = Array.from({ length: depths }, () => ({
    decode: newScore(),
    prompt: newScore(),
  }));
  const repeat = newScore();
  const frequent = newScore();
  const counts = new Float64Array(layers * experts);
  /** [layer, expertsPerToken] of the token before. */
  let last: Uint8Array | Uint16Array | undefined;
  const sets = new OverlapCounter(experts);
  for (const { kind, tokens, chosen, predicted } of steps) {
    const ids = tokens * expertsPerToken;
    const needs = (layer: number) => chosen.subarray(layer * ids, (layer + 1) * ids);
    for (const [i, ahead] of predicted.entries()) {
      for (let layer = i + 1; layer < layers; layer++) {
        const at = (layer - i - 1) * ids;
        sets.score(routers[i]![kind], ahead.subarray(at, at + ids), needs(layer));
      }
    }
    for (let layer = 0; layer < layers; layer++) {
      if (kind === 'decode' && last) {
        const at = layer * expertsPerToken;
        sets.score(repeat, last.subarray(at, at + expertsPerToken), needs(layer));
        const used = counts.subarray(layer * experts, (layer + 1) * experts);
        sets.score(frequent, mostUsed(used, expertsPerToken), needs(layer));
      }
      for (const expert of needs(layer)) counts[layer * experts + expert]!++;
    }
    last = chosen.slice(0, layers * expertsPerToken);
    for (let layer = 0; layer < layers; layer++) {
      last.set(needs(layer).subarray(ids - expertsPerToken), layer * expertsPerToken);
    }
  }
  return [
    ...routers.map((scores, i) => ({
      predictor: { kind: 'router', depth: i + 1 } as const,
      ...scores,
    })),
    { predictor: { kind: 'repeat' }, decode: repeat, prompt: newScore() },
    { predictor: { kind: 'frequent' }, decode: frequent, prompt: newScore() },
  ];
}

type MutableScore = { -readonly [K in keyof PredictionScore]: PredictionScore[K] };

function newScore(): MutableScore {
  return { predicted: 0, needed: 0, right: 0 };
}

/** The k largest of a few counts, by their index. */
function mostUsed(counts: Float64Array, k: number): number[] {
  const found: number[] = [];
  for (let expert = 0; expert < counts.length; expert++) {
    let at = found.length;
    while (at > 0 && counts[found[at - 1]!]! < counts[expert]!) at--;
    if (at >= k) continue;
    found.splice(at, 0, expert);
    if (found.length > k) found.pop();
  }
  return found;
}

/** Sizes of two sets of experts, given with repetitions, and of what they share. */
class OverlapCounter {
  readonly #seen: Float64Array;
  #stamp = 0;

  constructor(experts: number) {
    this.#seen = new Float64Array(experts);
  }

  score(score: MutableScore, predicted: ArrayLike<number>, needed: ArrayLike<number>): void {
    const inFirst = ++this.#stamp;
    const counted = ++this.#stamp;
    for (let i = 0; i < predicted.length; i++) {
      if (this.#seen[predicted[i]!] === inFirst) continue;
      this.#seen[predicted[i]!] = inFirst;
      score.predicted++;
    }
    for (let i = 0; i < needed.length; i++) {
      const before = this.#seen[needed[i]!];
      if (before === counted) continue;
      this.#seen[needed[i]!] = counted;
      score.needed++;
      if (before === inFirst) score.right++;
    }
  }
}
