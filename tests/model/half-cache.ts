import type { ModelConfig } from '../../src/index.ts';

/**
 * How far logits may be off when keys and values are kept as 16-bit floats, as a share of the largest
 * logit, to first order: each layer's attention is off by one rounding of its values, and by the
 * rounding of its scores, whose size is at most sqrt(head_dim) for normalised q and k; both reach the
 * residual stream, which the logits follow.
 */
export function halfCacheShare({ numHiddenLayers, headDim }: ModelConfig): number {
  const rounding = 2 ** -11;
  return numHiddenLayers * rounding * (1 + Math.sqrt(headDim));
}
