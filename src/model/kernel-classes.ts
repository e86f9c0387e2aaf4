import type { ModelConfig } from '../files/model-config.ts';
import type { TensorInfo } from '../files/tensors.ts';
import { classKey, int8Suffix, type KernelClass, tokenClasses } from '../kernels/kernel-class.ts';
import type { KvType } from '../kernels/kv-cache.ts';
import type { ActivationType } from '../kernels/matrix.ts';
import { type NumberType, numberFormats } from '../quant/index.ts';
import { stackedRuns } from './load-weights.ts';

/** Products of one token below which no variant makes a difference that anybody would notice. */
const smallest = 2 ** 20;

/** Outputs of one token below which attention does not matter either. */
const smallestAttention = 2048;

/**
 * The classes of kernels that a model is run with, those first that take most of its time. Shapes too
 * small to matter are left out: their kernels' own rules do.
 *
 * @param options `chunk`: tokens of a prompt evaluated at a time
 */
export function kernelClasses(
  config: ModelConfig,
  tensors: ReadonlyMap<string, TensorInfo>,
  options: { chunk: number; kvType: KvType; activations: ActivationType },
): KernelClass[] {
  const { chunk, kvType, activations } = options;
  const { headDim, numAttentionHeads: qHeads, numKeyValueHeads: kvHeads } = config;
  const { numExperts, numExpertsPerTok: topK, moeIntermediateSize: inner, hiddenSize } = config;
  /** By key: the class, and the products that it does for one token in all layers. */
  const found = new Map<string, { kernelClass: KernelClass; products: number }>();
  const add = (kernelClass: KernelClass, products: number) => {
    const key = classKey(kernelClass);
    const known = found.get(key);
    if (known) known.products += products;
    else found.set(key, { kernelClass, products });
  };
  const formatOf = (type: NumberType) =>
    activations === 'int8' && numberFormats[type].hasIntegers ? `${type}${int8Suffix}` : type;
  const promptTokens = measuredTokens(chunk);
  const linear = (type: NumberType, rows: number, columns: number, ofPrompts = true) => {
    const products = rows * columns;
    if (products <= smallest) return;
    const shape = { format: formatOf(type), rows, columns };
    add({ kernel: 'matvec', ...shape, tokens: 1 }, products);
    if (!ofPrompts) return;
    for (const tokens of promptTokens) add({ kernel: 'matmul', ...shape, tokens }, products);
  };
  const tensor = (name: string) => tensors.get(name)!;
  const stacked = (names: readonly string[]) => {
    const infos = names.map(tensor);
    for (const { type, rows } of stackedRuns(infos)) linear(type, rows, infos[0].shape[1]);
  };
  const single = (name: string, ofPrompts?: boolean) => {
    const { type, shape } = tensor(name);
    linear(type, shape[0], shape[1], ofPrompts);
  };

  for (const [layer, sparse] of config.sparseLayers.entries()) {
    const prefix = `model.layers.${layer}`;
    stacked(['q', 'k', 'v'].map((name) => `${prefix}.self_attn.${name}_proj.weight`));
    single(`${prefix}.self_attn.o_proj.weight`);
    if (!sparse) {
      stacked(['gate', 'up'].map((name) => `${prefix}.mlp.${name}_proj.weight`));
      single(`${prefix}.mlp.down_proj.weight`);
      continue;
    }
    const products = topK * inner * hiddenSize;
    if (products <= smallest) continue;
    const typeOf = (projection: string) => expertType(config, tensors, prefix, projection);
    const [gate, up, down] = [typeOf('gate'), typeOf('up'), typeOf('down')];
    const gateUp = { rows: inner, columns: hiddenSize, tokens: 1 };
    if (gate === up)
      add({ kernel: 'expert gate-up', format: formatOf(gate), ...gateUp }, 2 * products);
    else {
      for (const type of [gate, up]) {
        add({ kernel: 'expert matvec', format: formatOf(type), ...gateUp }, products);
      }
    }
    const ofDown = { rows: hiddenSize, columns: inner, tokens: 1 };
    add({ kernel: 'expert matvec', format: formatOf(down), ...ofDown }, products);
    for (const tokens of measuredTokens((chunk * topK) / numExperts)) {
      const format = formatOf(gate);
      add({ kernel: 'expert matmul', format, ...gateUp, tokens }, 3 * products);
    }
  }
  // The matrix product would be of use for all logits of a prompt only, which is not how text is made.
  single(config.tieWordEmbeddings ? 'model.embed_tokens.weight' : 'lm_head.weight', false);
  if (qHeads * headDim >= smallestAttention) {
    const format = `${kvType} ${qHeads / kvHeads}:1`;
    for (const tokens of new Set([1, Math.min(32, chunk)])) {
      add({ kernel: 'attention', format, rows: qHeads, columns: headDim, tokens }, smallest);
    }
  }
  return [...found.values()]
    .sort((a, b) => b.products - a.products)
    .map(({ kernelClass }) => kernelClass);
}

/** Vectors to measure a matrix product with: a full chunk's, and those of a short prompt. */
function measuredTokens(most: number): number[] {
  const tokens = Math.min(Math.max(1, Math.round(most)), tokenClasses.at(-1)!);
  const few = tokenClasses.filter((count) => count > 1 && count < tokens).at(-1);
  return few === undefined ? [tokens] : [tokens, few];
}

/** All experts of a layer share one type for each projection: their own, or F32 where they differ. */
function expertType(
  { numExperts }: ModelConfig,
  tensors: ReadonlyMap<string, TensorInfo>,
  prefix: string,
  projection: string,
): NumberType {
  const types = new Set<NumberType>();
  for (let expert = 0; expert < numExperts; expert++) {
    types.add(tensors.get(`${prefix}.mlp.experts.${expert}.${projection}_proj.weight`)!.type);
  }
  return types.size === 1 ? [...types][0] : 'F32';
}
