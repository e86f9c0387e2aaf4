import type { ModelConfig } from '../files/model-config.ts';

/**
 * Angles of the rotary embedding, computed in double precision on the CPU: at position 200,000 a
 * product in single precision would be off by a hundredth of a radian.
 */
export class RopeTable {
  readonly #inverseFrequencies: Float64Array;
  readonly #attentionFactor: number;

  constructor(config: Pick<ModelConfig, 'headDim' | 'ropeTheta' | 'yarn'>) {
    this.#inverseFrequencies = inverseFrequencies(config);
    this.#attentionFactor = config.yarn?.attentionFactor ?? 1;
  }

  /** (cos, sin) of each of `tokens` positions from `position` on: [tokens, headDim / 2, 2]. */
  at(position: number, tokens: number): Float32Array<ArrayBuffer> {
    const half = this.#inverseFrequencies.length;
    const table = new Float32Array(tokens * half * 2);
    for (let t = 0; t < tokens; t++) {
      for (let i = 0; i < half; i++) {
        const angle = (position + t) * this.#inverseFrequencies[i];
        table[2 * (t * half + i)] = Math.cos(angle) * this.#attentionFactor;
        table[2 * (t * half + i) + 1] = Math.sin(angle) * this.#attentionFactor;
      }
    }
    return table;
  }
}

/**
 * Radians per position for each pair of elements. With YaRN (arXiv:2309.00071, section 3.2) pairs
 * that turn less than `betaSlow` times in the original context are slowed down by `factor`, those
 * that turn more than `betaFast` times are kept, and those between are blended.
 */
function inverseFrequencies({
  headDim,
  ropeTheta,
  yarn,
}: Pick<ModelConfig, 'headDim' | 'ropeTheta' | 'yarn'>): Float64Array {
  const half = headDim / 2;
  const plain = Float64Array.from({ length: half }, (_, i) => ropeTheta ** (-i / half));
  if (!yarn) return plain;

  // The pair that makes `turns` turns in the original context.
  const pairWithTurns = (turns: number) =>
    (half * Math.log(yarn.originalMaxPositionEmbeddings / (turns * 2 * Math.PI))) /
    Math.log(ropeTheta);
  let low = pairWithTurns(yarn.betaFast);
  let high = pairWithTurns(yarn.betaSlow);
  if (yarn.truncate) {
    low = Math.floor(low);
    high = Math.ceil(high);
  }
  low = Math.max(low, 0);
  high = Math.min(high, headDim - 1);
  const width = high === low ? 0.001 : high - low; // As Hugging Face does, to avoid 0 / 0.
  return plain.map((frequency, i) => {
    const slowed = Math.min(Math.max((i - low) / width, 0), 1);
    return (frequency / yarn.factor) * slowed + frequency * (1 - slowed);
  });
}
