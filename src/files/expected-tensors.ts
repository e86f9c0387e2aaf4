import { MowgliError } from '../errors.ts';
import { checkFp8, type Fp8Problems } from './fp8-tensors.ts';
import type { ModelConfig } from './model-config.ts';
import { showShape, type TensorInfo } from './tensors.ts';

/** A tensor that a model of some configuration must have. */
export interface ExpectedTensor {
  readonly name: string;
  /** Row-major; a projection is [outputs, inputs], as in PyTorch's `nn.Linear`. */
  readonly shape: readonly number[];
}

/**
 * The tensors of a `Qwen3MoeForCausalLM`, layer by layer, with Hugging Face's names. The output
 * matrix `lm_head.weight` is not among them when it is tied to the embedding.
 */
export function* expectedTensors(config: ModelConfig): Generator<ExpectedTensor> {
  const { hiddenSize, vocabSize, headDim } = config;
  const queries = config.numAttentionHeads * headDim;
  const keys = config.numKeyValueHeads * headDim;

  yield { name: 'model.embed_tokens.weight', shape: [vocabSize, hiddenSize] };
  for (const [layer, sparse] of config.sparseLayers.entries()) {
    const at = `model.layers.${layer}`;
    yield { name: `${at}.input_layernorm.weight`, shape: [hiddenSize] };
    yield { name: `${at}.self_attn.q_proj.weight`, shape: [queries, hiddenSize] };
    yield { name: `${at}.self_attn.k_proj.weight`, shape: [keys, hiddenSize] };
    yield { name: `${at}.self_attn.v_proj.weight`, shape: [keys, hiddenSize] };
    yield { name: `${at}.self_attn.o_proj.weight`, shape: [hiddenSize, queries] };
    yield { name: `${at}.self_attn.q_norm.weight`, shape: [headDim] };
    yield { name: `${at}.self_attn.k_norm.weight`, shape: [headDim] };
    yield { name: `${at}.post_attention_layernorm.weight`, shape: [hiddenSize] };
    if (sparse) {
      yield { name: `${at}.mlp.gate.weight`, shape: [config.numExperts, hiddenSize] };
      for (let expert = 0; expert < config.numExperts; expert++) {
        yield* mlp(`${at}.mlp.experts.${expert}`, config.moeIntermediateSize, hiddenSize);
      }
    } else {
      yield* mlp(`${at}.mlp`, config.intermediateSize, hiddenSize);
    }
  }
  yield { name: 'model.norm.weight', shape: [hiddenSize] };
  if (!config.tieWordEmbeddings) yield { name: 'lm_head.weight', shape: [vocabSize, hiddenSize] };
}

function* mlp(at: string, intermediate: number, hidden: number): Generator<ExpectedTensor> {
  yield { name: `${at}.gate_proj.weight`, shape: [intermediate, hidden] };
  yield { name: `${at}.up_proj.weight`, shape: [intermediate, hidden] };
  yield { name: `${at}.down_proj.weight`, shape: [hidden, intermediate] };
}

/** Buffers that older exports saved although they follow from the configuration. */
const ignorable = /(^|\.)rotary_emb\.inv_freq$/;

/** Names spelled out in a message; the rest is counted. */
const namesShown = 3;

/**
 * Checks that the tensors of a checkpoint are those of its configuration. An `lm_head.weight` beside
 * tied embeddings is passed over, as Hugging Face does, and so are saved `rotary_emb.inv_freq`.
 * A weight in FP8 must come with its scales, and only with a configuration that speaks of FP8.
 *
 * @param where what to call the checkpoint in messages
 * @throws MowgliError `TENSOR_MISSING`, `TENSOR_SHAPE`, `TENSOR_TYPE` or `TENSOR_UNEXPECTED`, in this
 * order.
 */
export function checkTensors(
  config: ModelConfig,
  tensors: ReadonlyMap<string, TensorInfo>,
  where: string,
): void {
  const surplus = new Set(tensors.keys());
  const problems: Fp8Problems = { missing: [], misshapen: [], mistyped: [] };
  const { missing, misshapen, mistyped } = problems;
  for (const { name, shape } of expectedTensors(config)) {
    const tensor = tensors.get(name);
    surplus.delete(name);
    if (tensor === undefined) {
      missing.push(name);
    } else if (showShape(tensor.shape) !== showShape(shape)) {
      misshapen.push(`${name} (${showShape(tensor.shape)} instead of ${showShape(shape)})`);
    } else if (tensor.type === 'F8_E4M3') {
      const scales = checkFp8(tensor, tensors, config.fp8, problems);
      if (scales !== undefined) surplus.delete(scales);
    }
  }
  if (config.tieWordEmbeddings) surplus.delete('lm_head.weight');
  const unexpected = [...surplus].filter((name) => !ignorable.test(name));

  if (missing.length > 0) {
    const instead = unexpected.length > 0 ? `; it has ${list(unexpected)} instead` : '';
    throw new MowgliError(
      'TENSOR_MISSING',
      `${where} lacks ${missing.length} tensors that its config.json calls for: ${list(missing)}${instead}. Download the files that are missing, or the config.json that belongs to them`,
    );
  }
  if (misshapen.length > 0) {
    throw new MowgliError(
      'TENSOR_SHAPE',
      `${where} has ${misshapen.length} tensors of another shape than its config.json calls for: ${list(misshapen)}. Use the config.json that belongs to these weights`,
    );
  }
  if (mistyped.length > 0) {
    throw new MowgliError(
      'TENSOR_TYPE',
      `${where} has ${mistyped.length} tensors of a number type that cannot be used there: ${list(mistyped)}. Use the config.json that belongs to these weights`,
    );
  }
  if (unexpected.length > 0) {
    throw new MowgliError(
      'TENSOR_UNEXPECTED',
      `${where} has ${unexpected.length} tensors that a model of its config.json does not use: ${list(unexpected)}. It is of another architecture, or its config.json is of another model`,
    );
  }
}

function list(names: readonly string[]): string {
  const rest = names.length - namesShown;
  return names.slice(0, namesShown).join(', ') + (rest > 0 ? ` and ${rest} more` : '');
}
