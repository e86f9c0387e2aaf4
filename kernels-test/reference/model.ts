import type { ModelConfig } from '../../src/files/model-config.ts';
import type { TensorStore } from '../../src/files/tensors.ts';
import { numberFormats } from '../../src/quant/index.ts';
import {
  add,
  argmax,
  attention,
  embedding,
  type MlpWeights,
  matmul,
  mlp,
  moe,
  qkNormRope,
  type RopeTables,
  type Routing,
  rmsNorm,
  ropeTables,
  routerTopK,
} from './ops.ts';

/** What one layer did in one call of `forward`; `tokens` is the number of ids of that call. */
export interface LayerTrace {
  /** Residual stream after the attention, `[tokens, hidden]`. */
  readonly attention: Float64Array;
  /** Residual stream after the layer, `[tokens, hidden]`. */
  readonly hidden: Float64Array;
  /** `[tokens, experts]`; absent, like `routing`, in a dense layer. */
  readonly routerLogits: Float64Array | undefined;
  readonly routing: Routing | undefined;
}

export interface ForwardOptions {
  /** Logits of every position that is fed (default), or of the last one only. */
  every?: boolean;
  /** Receives one entry per layer. */
  trace?: LayerTrace[];
}

/**
 * The whole of `Qwen3MoeForCausalLM` (transformers, `modeling_qwen3_moe.py`) in float64, with a
 * key/value cache that is not rounded. It is slow on purpose; weights stay in memory once read, as
 * float32, so it is meant for models of some hundred megabytes at most.
 */
export class ReferenceModel {
  readonly config: ModelConfig;
  readonly #tensors: TensorStore;
  readonly #rope: RopeTables;
  readonly #decoded = new Map<string, Float32Array>();
  /** Per layer, `[position, numKeyValueHeads, headDim]`. */
  #keys: Float64Array[];
  #values: Float64Array[];
  #position = 0;

  constructor(config: ModelConfig, tensors: TensorStore) {
    this.config = config;
    this.#tensors = tensors;
    this.#rope = ropeTables(config);
    this.#keys = config.sparseLayers.map(() => new Float64Array(0));
    this.#values = config.sparseLayers.map(() => new Float64Array(0));
  }

  /** Tokens in the cache: the position that the next token gets. */
  get position(): number {
    return this.#position;
  }

  /** Forgets every token at or after `position`. */
  rewind(position = 0): void {
    const { numKeyValueHeads, headDim } = this.config;
    const kept = Math.min(position, this.#position) * numKeyValueHeads * headDim;
    this.#keys = this.#keys.map((keys) => keys.slice(0, kept));
    this.#values = this.#values.map((values) => values.slice(0, kept));
    this.#position = Math.min(position, this.#position);
  }

  /** Feeds `ids` after those fed before; returns logits `[ids.length or 1, vocab]`. */
  async forward(
    ids: ArrayLike<number>,
    { every = true, trace }: ForwardOptions = {},
  ): Promise<Float64Array> {
    const { hiddenSize, vocabSize, rmsNormEps, sparseLayers, tieWordEmbeddings } = this.config;
    const embedTokens = await this.#weight('model.embed_tokens');

    let x = embedding(embedTokens, ids, hiddenSize);
    for (let layer = 0; layer < sparseLayers.length; layer++) {
      const prefix = `model.layers.${layer}`;

      const normed = rmsNorm(x, await this.#weight(`${prefix}.input_layernorm`), rmsNormEps);
      x = add(x, await this.#selfAttention(normed, layer));
      const afterAttention = x;

      const mlpNorm = await this.#weight(`${prefix}.post_attention_layernorm`);
      const block = await this.#feedForward(rmsNorm(x, mlpNorm, rmsNormEps), layer);
      x = add(x, block.out);

      const { routerLogits, routing } = block;
      trace?.push({ attention: afterAttention, hidden: x, routerLogits, routing });
    }
    this.#position += ids.length;

    if (!every) x = x.slice(-hiddenSize);
    const lmHead = tieWordEmbeddings ? embedTokens : await this.#weight('lm_head');
    const normed = rmsNorm(x, await this.#weight('model.norm'), rmsNormEps);
    return matmul(lmHead, normed, { m: x.length / hiddenSize, n: vocabSize, k: hiddenSize });
  }

  /** Feeds `ids`, then chooses the most probable token `tokens` times; returns the choices. */
  async greedy(ids: ArrayLike<number>, tokens: number): Promise<number[]> {
    const chosen: number[] = [];
    let logits = await this.forward(ids, { every: false });
    while (chosen.length < tokens) {
      if (chosen.length > 0) logits = await this.forward(chosen.slice(-1));
      chosen.push(argmax(logits));
    }
    return chosen;
  }

  /** `x[tokens, hidden]`, already normalised -> `[tokens, hidden]`. */
  async #selfAttention(x: Float64Array, layer: number): Promise<Float64Array> {
    const { hiddenSize, numAttentionHeads, numKeyValueHeads, headDim, rmsNormEps } = this.config;
    const prefix = `model.layers.${layer}.self_attn`;
    const m = x.length / hiddenSize;
    const start = this.#position;
    const queryWidth = numAttentionHeads * headDim;
    const keyWidth = numKeyValueHeads * headDim;

    const project = async (name: string, n: number) =>
      matmul(await this.#weight(`${prefix}.${name}`), x, { m, n, k: hiddenSize });
    const normRope = async (name: string, heads: Float64Array, count: number) =>
      qkNormRope(heads, await this.#weight(`${prefix}.${name}`), rmsNormEps, this.#rope, {
        heads: count,
        headDim,
        start,
      });

    const q = await normRope('q_norm', await project('q_proj', queryWidth), numAttentionHeads);
    const k = await normRope('k_norm', await project('k_proj', keyWidth), numKeyValueHeads);
    const v = await project('v_proj', keyWidth);
    this.#keys[layer] = concat(this.#keys[layer], k);
    this.#values[layer] = concat(this.#values[layer], v);

    const mixed = attention(q, this.#keys[layer], this.#values[layer], {
      heads: numAttentionHeads,
      kvHeads: numKeyValueHeads,
      headDim,
      start,
    });
    const oProj = await this.#weight(`${prefix}.o_proj`);
    return matmul(oProj, mixed, { m, n: hiddenSize, k: queryWidth });
  }

  /** The Mixture-of-Experts block of a sparse layer, the MLP of a dense one. */
  async #feedForward(
    x: Float64Array,
    layer: number,
  ): Promise<Pick<LayerTrace, 'routerLogits' | 'routing'> & { out: Float64Array }> {
    const { hiddenSize, numExperts, numExpertsPerTok, normTopkProb, sparseLayers } = this.config;
    const prefix = `model.layers.${layer}.mlp`;
    if (!sparseLayers[layer]) {
      const out = mlp(x, await this.#mlpWeights(prefix), hiddenSize);
      return { out, routerLogits: undefined, routing: undefined };
    }
    const routerLogits = matmul(await this.#weight(`${prefix}.gate`), x, {
      m: x.length / hiddenSize,
      n: numExperts,
      k: hiddenSize,
    });
    const routing = routerTopK(routerLogits, {
      experts: numExperts,
      k: numExpertsPerTok,
      normTopkProb,
    });
    const experts = new Map<number, MlpWeights>();
    for (const id of new Set(routing.experts)) {
      experts.set(id, await this.#mlpWeights(`${prefix}.experts.${id}`));
    }
    return { out: moe(x, routing, (id) => experts.get(id)!, hiddenSize), routerLogits, routing };
  }

  async #mlpWeights(prefix: string): Promise<MlpWeights> {
    return {
      gate: await this.#weight(`${prefix}.gate_proj`),
      up: await this.#weight(`${prefix}.up_proj`),
      down: await this.#weight(`${prefix}.down_proj`),
    };
  }

  /** The tensor `<module>.weight`, decoded. */
  async #weight(module: string): Promise<Float32Array> {
    const name = `${module}.weight`;
    let values = this.#decoded.get(name);
    if (!values) {
      const bytes = await this.#tensors.read(name); // throws when there is no such tensor
      const { type, shape } = this.#tensors.tensors.get(name)!;
      values = new Float32Array(shape.reduce((product, size) => product * size, 1));
      numberFormats[type].decode(bytes, values);
      this.#decoded.set(name, values);
    }
    return values;
  }
}

function concat(a: Float64Array, b: Float64Array): Float64Array {
  const out = new Float64Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}
