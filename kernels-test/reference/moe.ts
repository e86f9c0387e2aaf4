import { softmax } from './attention.ts';
import { matmul } from './linear.ts';
import { topK } from './sampling.ts';
import { expectShape, type Values } from './values.ts';

/** `silu(gate) * up`, with `silu(z) = z / (1 + exp(-z))` (Shazeer 2020, arXiv:2002.05202). */
export function swiglu(gate: Values, up: Values): Float64Array {
  expectShape('up', up, [gate.length]);
  return Float64Array.from(gate, (z, i) => (z / (1 + Math.exp(-z))) * up[i]);
}

/** One feed-forward network: an expert, or the MLP of a dense layer. */
export interface MlpWeights {
  /** `gate_proj[inner, hidden]`. */
  readonly gate: Values;
  /** `up_proj[inner, hidden]`. */
  readonly up: Values;
  /** `down_proj[hidden, inner]`. */
  readonly down: Values;
}

/** `down(silu(gate(x)) * up(x))`: `x[rows, hidden]` -> `[rows, hidden]`. */
export function mlp(x: Values, { gate, up, down }: MlpWeights, hidden: number): Float64Array {
  const m = x.length / hidden;
  const inner = gate.length / hidden;
  const g = matmul(gate, x, { m, n: inner, k: hidden });
  const u = matmul(up, x, { m, n: inner, k: hidden });
  return matmul(down, swiglu(g, u), { m, n: hidden, k: inner });
}

/** Which experts each token is sent to, best first: both `[tokens, k]`. */
export interface Routing {
  readonly k: number;
  readonly experts: Int32Array;
  readonly weights: Float64Array;
}

/**
 * Softmax over all experts, then the `k` most probable; equals go to the lower index. With
 * `normTopkProb` the chosen probabilities are divided by their sum (`norm_topk_prob` in
 * transformers' `Qwen3MoeTopKRouter`). `logits[tokens, experts]`.
 */
export function routerTopK(
  logits: Values,
  { experts, k, normTopkProb }: { experts: number; k: number; normTopkProb: boolean },
): Routing {
  const tokens = logits.length / experts;
  if (!Number.isInteger(tokens)) expectShape('logits', logits, [Math.ceil(tokens), experts]);
  const routing = {
    k,
    experts: new Int32Array(tokens * k),
    weights: new Float64Array(tokens * k),
  };
  for (let t = 0; t < tokens; t++) {
    const top = topK(softmax(logits.subarray(t * experts, (t + 1) * experts)), k);
    const sum = normTopkProb ? top.values.reduce((a, b) => a + b, 0) : 1;
    routing.experts.set(top.ids, t * k);
    routing.weights.set(
      top.values.map((p) => p / sum),
      t * k,
    );
  }
  return routing;
}

/**
 * The Mixture-of-Experts block: each token's output is the weighted sum of its experts' outputs.
 * `x[tokens, hidden]` -> `[tokens, hidden]`. `expert(id)` is asked for the chosen experts only.
 */
export function moe(
  x: Values,
  { k, experts, weights }: Routing,
  expert: (id: number) => MlpWeights,
  hidden: number,
): Float64Array {
  const tokens = x.length / hidden;
  expectShape('experts', experts, [tokens, k]);
  expectShape('weights', weights, [tokens, k]);
  const out = new Float64Array(x.length);
  for (let t = 0; t < tokens; t++) {
    const row = x.subarray(t * hidden, (t + 1) * hidden);
    for (let j = t * k; j < (t + 1) * k; j++) {
      const y = mlp(row, expert(experts[j]), hidden);
      for (let i = 0; i < hidden; i++) out[t * hidden + i] += weights[j] * y[i];
    }
  }
  return out;
}
