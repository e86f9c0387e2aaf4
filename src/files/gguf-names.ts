/**
 * Tensor names of the GGUF architecture `qwen3moe` and of Hugging Face's `Qwen3MoeForCausalLM`, from
 * llama.cpp's conversion script. GGUF stacks the experts of a layer into one tensor per projection;
 * everything else has its counterpart.
 */

/** Outside of layers: GGUF's name to Hugging Face's. */
const globalNames = new Map([
  ['token_embd.weight', 'model.embed_tokens.weight'],
  ['output_norm.weight', 'model.norm.weight'],
  ['output.weight', 'lm_head.weight'],
]);

/** Within a layer: GGUF's `blk.N.<...>.weight` to Hugging Face's `model.layers.N.<...>.weight`. */
const layerNames = new Map([
  ['attn_norm', 'input_layernorm'],
  ['attn_q', 'self_attn.q_proj'],
  ['attn_k', 'self_attn.k_proj'],
  ['attn_v', 'self_attn.v_proj'],
  ['attn_output', 'self_attn.o_proj'],
  ['attn_q_norm', 'self_attn.q_norm'],
  ['attn_k_norm', 'self_attn.k_norm'],
  ['ffn_norm', 'post_attention_layernorm'],
  ['ffn_gate_inp', 'mlp.gate'],
]);

/** Stacked over the experts: [experts, rows, columns]. */
const expertNames = new Map([
  ['ffn_gate_exps', 'gate_proj'],
  ['ffn_up_exps', 'up_proj'],
  ['ffn_down_exps', 'down_proj'],
]);

/** What a GGUF tensor is in Hugging Face's terms. */
export type TensorName =
  | { readonly name: string }
  /** The names of the experts' tensors, by the expert's number. */
  | { readonly nameOfExpert: (expert: number) => string };

/** Hugging Face's name of a GGUF tensor; `undefined` when this architecture has no such tensor. */
export function fromGgufName(ggufName: string): TensorName | undefined {
  const globalName = globalNames.get(ggufName);
  if (globalName !== undefined) return { name: globalName };
  const [, layer, inner] = /^blk\.(0|[1-9]\d{0,3})\.(\w+)\.weight$/.exec(ggufName) ?? [];
  const name = layerNames.get(inner);
  if (name !== undefined) return { name: `model.layers.${layer}.${name}.weight` };
  const projection = expertNames.get(inner);
  if (projection === undefined) return undefined;
  return {
    nameOfExpert: (expert) => `model.layers.${layer}.mlp.experts.${expert}.${projection}.weight`,
  };
}

const globalGgufNames = inverse(globalNames);
const layerGgufNames = inverse(layerNames);
const expertGgufNames = inverse(expertNames);

/** The GGUF tensor that a Hugging Face tensor is, or is part of; `undefined` when there is none. */
export function toGgufName(
  name: string,
): { readonly ggufName: string; readonly expert?: number } | undefined {
  const globalName = globalGgufNames.get(name);
  if (globalName !== undefined) return { ggufName: globalName };
  const [, layer, inner] = /^model\.layers\.(\d+)\.(.+)\.weight$/.exec(name) ?? [];
  const layerName = layerGgufNames.get(inner);
  if (layerName !== undefined) return { ggufName: `blk.${layer}.${layerName}.weight` };
  const [, expert, projection] = /^mlp\.experts\.(\d+)\.(\w+)$/.exec(inner ?? '') ?? [];
  const stacked = expertGgufNames.get(projection);
  if (stacked === undefined) return undefined;
  return { ggufName: `blk.${layer}.${stacked}.weight`, expert: Number(expert) };
}

function inverse(map: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  return new Map(Array.from(map, ([key, value]) => [value, key]));
}
