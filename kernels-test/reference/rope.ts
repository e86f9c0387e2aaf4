import type { ModelConfig, YarnConfig } from '../../src/files/model-config.ts';
import { rmsNorm } from './norm.ts';
import { expectShape, type Values } from './values.ts';

/** What rotates a head: angle of pair `i` at position `p` is `p * inverseFrequencies[i]`. */
export interface RopeTables {
  /** Radians per token, `[headDim / 2]`. */
  readonly inverseFrequencies: Float64Array;
  /** Multiplies cos and sin; 1 without YaRN. */
  readonly attentionFactor: number;
}

/**
 * Rotary position embedding (Su et al. 2021, arXiv:2104.09864), and its extension by YaRN
 * (Peng et al. 2023, arXiv:2309.00071, section 3.2) as `modeling_rope_utils.py` in Hugging Face
 * transformers computes it, in float64 where that file uses float32.
 */
export function ropeTables({
  headDim,
  ropeTheta,
  yarn,
}: Pick<ModelConfig, 'headDim' | 'ropeTheta' | 'yarn'>): RopeTables {
  const inverseFrequencies = Float64Array.from(
    { length: headDim / 2 },
    (_, i) => ropeTheta ** ((-2 * i) / headDim),
  );
  if (!yarn) return { inverseFrequencies, attentionFactor: 1 };
  const [low, high] = correctionRange(headDim, ropeTheta, yarn);
  return {
    // Pairs before `low` turn often within the trained context and keep their frequency
    // (extrapolation); pairs after `high` never turned once and are slowed down (interpolation).
    inverseFrequencies: inverseFrequencies.map((frequency, i) => {
      const ramp = Math.min(Math.max((i - low) / (high - low), 0), 1);
      return (frequency / yarn.factor) * ramp + frequency * (1 - ramp);
    }),
    attentionFactor: yarn.attentionFactor,
  };
}

/** Pair indices between which YaRN blends from extrapolation to interpolation. */
function correctionRange(headDim: number, theta: number, yarn: YarnConfig): [number, number] {
  /** The (fractional) pair that makes `rotations` full turns within the trained context. */
  const pairOfRotations = (rotations: number) =>
    (headDim * Math.log(yarn.originalMaxPositionEmbeddings / (rotations * 2 * Math.PI))) /
    (2 * Math.log(theta));
  let low = pairOfRotations(yarn.betaFast);
  let high = pairOfRotations(yarn.betaSlow);
  if (yarn.truncate) {
    low = Math.floor(low);
    high = Math.ceil(high);
  }
  low = Math.max(low, 0);
  high = Math.min(high, headDim - 1);
  return [low, low === high ? high + 0.001 : high]; // an empty range would divide by zero
}

/** Shape of the heads that are rotated: `x[tokens, heads, headDim]`, tokens from position `start`. */
export interface HeadsAt {
  readonly heads: number;
  readonly headDim: number;
  readonly start: number;
}

/**
 * Rotates pairs `(i, i + headDim/2)` ("NeoX halves", `rotate_half` in transformers) of every head:
 * `x[tokens, heads, headDim]` -> the same shape.
 */
export function applyRope(
  x: Values,
  { inverseFrequencies, attentionFactor }: RopeTables,
  { heads, headDim, start }: HeadsAt,
): Float64Array {
  const half = headDim / 2;
  expectShape('inverseFrequencies', inverseFrequencies, [half]);
  const tokens = x.length / (heads * headDim);
  if (!Number.isInteger(tokens)) expectShape('x', x, [Math.ceil(tokens), heads, headDim]);
  const out = new Float64Array(x.length);
  for (let t = 0; t < tokens; t++) {
    for (let i = 0; i < half; i++) {
      const angle = (start + t) * inverseFrequencies[i];
      const cos = Math.cos(angle) * attentionFactor;
      const sin = Math.sin(angle) * attentionFactor;
      for (let head = 0; head < heads; head++) {
        const at = (t * heads + head) * headDim + i;
        out[at] = x[at] * cos - x[at + half] * sin;
        out[at + half] = x[at + half] * cos + x[at] * sin;
      }
    }
  }
  return out;
}

/**
 * What Qwen3 does to queries and keys: RMSNorm over each head (`q_norm`, `k_norm`; `weight[headDim]`),
 * then the rotation. `x[tokens, heads, headDim]` -> the same shape.
 */
export function qkNormRope(
  x: Values,
  weight: Values,
  eps: number,
  tables: RopeTables,
  at: HeadsAt,
): Float64Array {
  expectShape('weight', weight, [at.headDim]);
  return applyRope(rmsNorm(x, weight, eps), tables, at);
}
