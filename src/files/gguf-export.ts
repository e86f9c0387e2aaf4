import { MowgliError } from '../errors.ts';
import { type NumberType, numberFormats } from '../quant/index.ts';
import { qwen2Words } from '../text/qwen-words.ts';
import type { Checkpoint } from './checkpoint.ts';
import type { GenerationDefaults } from './generation-defaults.ts';
import { toGgufName } from './gguf-names.ts';
import { tokenKinds } from './gguf-tokenizer.ts';
import type { GgufEntry, GgufTensorData, GgufTensorPlan } from './gguf-write.ts';
import { isJsonObject, type JsonObject, show } from './json.ts';
import type { ModelConfig, YarnConfig } from './model-config.ts';
import { elementCount, type TensorInfo, type TensorStore } from './tensors.ts';

export interface GgufExportOptions {
  /**
   * Number format of the matrices: a float, or one that has an encoder. Absent: their own, whatever it
   * is. Norms and routers are F32, as in every GGUF file, and so is a matrix whose rows are not whole
   * blocks.
   */
  readonly type?: NumberType;
  /** Another format for some matrices, by GGUF's name; `undefined` for the others. */
  readonly typeOf?: (ggufName: string) => NumberType | undefined;
  /** What `general.name` shall be. */
  readonly name: string;
  readonly signal?: AbortSignal | undefined;
}

export interface GgufExport {
  readonly metadata: ReadonlyMap<string, GgufEntry>;
  readonly tensors: readonly GgufTensorData[];
}

/** Values converted at a time: whole blocks of every format, and few megabytes. */
const valuesAtOnce = 1 << 20;

/** llama.cpp's `enum llama_ftype`: what a file is mostly made of. Of K-quants the smallest mixture. */
const fileTypes: Partial<Record<NumberType, number>> = {
  F32: 0,
  F16: 1,
  Q4_0: 2,
  Q4_1: 3,
  Q8_0: 7,
  Q5_0: 8,
  Q5_1: 9,
  Q2_K: 10,
  Q3_K: 11,
  Q4_K: 14,
  Q5_K: 16,
  Q6_K: 18,
  IQ2_XXS: 19,
  IQ2_XS: 20,
  IQ3_XXS: 23,
  IQ1_S: 24,
  IQ4_NL: 25,
  IQ3_S: 26,
  IQ2_S: 28,
  IQ4_XS: 30,
  IQ1_M: 31,
  BF16: 32,
  MXFP4: 38,
};

/** Formats that any other can be converted to. */
const writableTypes = Object.values(numberFormats)
  .filter(({ name, encode }) => encode !== undefined && name !== 'F8_E4M3')
  .map(({ name }) => name);

/**
 * A model as GGUF's architecture `qwen3moe`, the way llama.cpp's conversion script writes it: experts
 * stacked, tokenizer and chat template in the metadata. Reads weights only when a tensor's `bytes` are
 * asked for, piece by piece.
 *
 * @throws MowgliError `OPTION_INVALID` for a format that this library cannot write,
 * `CONFIG_UNSUPPORTED` for what the architecture cannot express, `TOKENIZER_INVALID` for a tokenizer
 * of another kind than Qwen's.
 */
export function exportGguf(checkpoint: Checkpoint, options: GgufExportOptions): GgufExport {
  const { config, generationDefaults, tokenizerJson, name } = checkpoint;
  const tensors = stackTensors(checkpoint.tensors, options);
  return {
    metadata: new Map<string, GgufEntry>([
      ['general.architecture', ['string', 'qwen3moe']],
      ['general.type', ['string', 'model']],
      ['general.name', ['string', options.name]],
      ['general.file_type', ['u32', fileTypes[options.type ?? mostlyType(tensors)] ?? 0]],
      ['general.quantization_version', ['u32', 2]],
      ...samplingEntries(generationDefaults),
      ...configEntries(config, name),
      ...(tokenizerJson === undefined
        ? ([['tokenizer.ggml.model', ['string', 'none']]] as [string, GgufEntry][])
        : tokenizerEntries(checkpoint)),
    ]),
    tensors,
  };
}

/** The format that most values are in. */
function mostlyType(tensors: readonly GgufTensorPlan[]): NumberType {
  const values = new Map<NumberType, number>();
  for (const { type, shape } of tensors) {
    values.set(type, (values.get(type) ?? 0) + elementCount(shape));
  }
  return [...values].sort((a, b) => b[1] - a[1])[0][0];
}

function samplingEntries(defaults: GenerationDefaults): [string, GgufEntry][] {
  const { doSample = true, topK, topP, minP, repetitionPenalty } = defaults;
  const temperature = doSample ? defaults.temperature : 0;
  const values: [string, 'f32' | 'i32', number | undefined][] = [
    ['temp', 'f32', temperature],
    ['top_k', 'i32', topK],
    ['top_p', 'f32', topP],
    ['min_p', 'f32', minP],
    ['penalty_repeat', 'f32', repetitionPenalty],
  ];
  return values.flatMap(([key, type, value]) =>
    value === undefined ? [] : [[`general.sampling.${key}`, [type, value]] as const],
  ) as [string, GgufEntry][];
}

function configEntries(config: ModelConfig, name: string): [string, GgufEntry][] {
  if (config.sparseLayers.includes(false)) {
    throw new MowgliError(
      'CONFIG_UNSUPPORTED',
      `${name} has layers without experts, which GGUF's architecture qwen3moe has no place for; use it as it is`,
    );
  }
  const entries: [string, GgufEntry][] = [
    ['block_count', ['u32', config.numHiddenLayers]],
    ['context_length', ['u32', config.maxPositionEmbeddings]],
    ['embedding_length', ['u32', config.hiddenSize]],
    ['feed_forward_length', ['u32', config.intermediateSize]],
    ['attention.head_count', ['u32', config.numAttentionHeads]],
    ['attention.head_count_kv', ['u32', config.numKeyValueHeads]],
    ['attention.key_length', ['u32', config.headDim]],
    ['attention.value_length', ['u32', config.headDim]],
    ['attention.layer_norm_rms_epsilon', ['f32', config.rmsNormEps]],
    ['rope.freq_base', ['f32', config.ropeTheta]],
    ['expert_count', ['u32', config.numExperts]],
    ['expert_used_count', ['u32', config.numExpertsPerTok]],
    ['expert_feed_forward_length', ['u32', config.moeIntermediateSize]],
    ['vocab_size', ['u32', config.vocabSize]],
    ...(config.yarn ? yarnEntries(config.yarn, name) : []),
  ];
  if (!config.normTopkProb) entries.push(['expert_weights_norm', ['bool', false]]);
  return entries.map(([key, entry]) => [`qwen3moe.${key}`, entry]);
}

function yarnEntries(yarn: YarnConfig, name: string): [string, GgufEntry][] {
  if (!yarn.truncate) {
    throw new MowgliError(
      'CONFIG_UNSUPPORTED',
      `${name}: rope_scaling with truncate false cannot be written to GGUF; use the model as it is`,
    );
  }
  const { factor, originalMaxPositionEmbeddings, attentionFactor, betaFast, betaSlow } = yarn;
  const entries: [string, GgufEntry][] = [
    ['type', ['string', 'yarn']],
    ['factor', ['f32', factor]],
    ['original_context_length', ['u32', originalMaxPositionEmbeddings]],
    // A factor to what readers compute themselves.
    ['attn_factor', ['f32', attentionFactor / (0.1 * Math.log(factor) + 1)]],
    ['yarn_beta_fast', ['f32', betaFast]],
    ['yarn_beta_slow', ['f32', betaSlow]],
  ];
  return entries.map(([key, entry]) => [`rope.scaling.${key}`, entry]);
}

function tokenizerEntries({
  config,
  tokenizerJson,
  tokenizerConfig,
  chatTemplateFile,
  name,
}: Checkpoint): [string, GgufEntry][] {
  const { tokens, kinds, merges } = tokenizerArrays(tokenizerJson, config.vocabSize, name);
  const files = isJsonObject(tokenizerConfig) ? tokenizerConfig : {};
  const tokenId = (role: string) => {
    const token = isJsonObject(files[role]) ? files[role].content : files[role];
    const id = typeof token === 'string' ? tokens.indexOf(token) : -1;
    return id < 0 ? undefined : id;
  };
  const ids: [string, number | undefined][] = [
    ['eos', config.eosTokenIds[0] ?? tokenId('eos_token')],
    ['padding', tokenId('pad_token')],
    ['bos', tokenId('bos_token')],
  ];
  return [
    ['tokenizer.ggml.model', ['string', 'gpt2']],
    ['tokenizer.ggml.pre', ['string', 'qwen2']],
    ['tokenizer.ggml.tokens', ['array', 'string', tokens]],
    ['tokenizer.ggml.token_type', ['array', 'i32', kinds]],
    ['tokenizer.ggml.merges', ['array', 'string', merges]],
    ...ids.flatMap(([role, id]): [string, GgufEntry][] =>
      id === undefined ? [] : [[`tokenizer.ggml.${role}_token_id`, ['u32', id]]],
    ),
    ['tokenizer.ggml.add_bos_token', ['bool', false]],
    ...templateEntries(chatTemplateFile ?? files.chat_template),
  ];
}

/** One template, or several by name as `tokenizer_config.json` may have them. */
function templateEntries(template: unknown): [string, GgufEntry][] {
  const key = 'tokenizer.chat_template';
  const list = Array.isArray(template) ? template : [{ name: 'default', template }];
  return list.flatMap(({ name, template: text }): [string, GgufEntry][] => {
    if (typeof text !== 'string') return [];
    return [[name === 'default' ? key : `${key}.${name}`, ['string', text]]];
  });
}

/**
 * The vocabulary of a parsed `tokenizer.json` as the arrays of a GGUF file, filled up to the rows of
 * the embedding with unused tokens.
 * @throws MowgliError `TOKENIZER_INVALID` when it is not a byte-level BPE of Qwen's kind, or larger than
 * the embedding.
 */
export function tokenizerArrays(
  tokenizerJson: unknown,
  vocabSize: number,
  name: string,
): { tokens: string[]; kinds: number[]; merges: string[] } {
  const fail = (problem: string) =>
    new MowgliError(
      'TOKENIZER_INVALID',
      `${name}/tokenizer.json: ${problem}; use a Qwen3 model's, and take all files from its repository`,
    );
  const json = isJsonObject(tokenizerJson) ? tokenizerJson : {};
  const { vocab, merges } = isJsonObject(json.model) ? json.model : {};
  const added = json.added_tokens ?? [];
  if (!isJsonObject(vocab) || !Array.isArray(merges) || !Array.isArray(added)) {
    throw fail('it is not a byte-level BPE');
  }
  // The file would only name the expression, and every reader would use its own.
  if (!JSON.stringify(json.pre_tokenizer ?? null).includes(JSON.stringify(qwen2Words))) {
    throw fail('it cuts text into words in another way than Qwen2');
  }
  const tokens = Array.from({ length: vocabSize }, (_, id) => `[PAD${id}]`);
  const kinds = new Array<number>(vocabSize).fill(tokenKinds.unused);
  const put = (id: unknown, token: unknown, kind: number) => {
    if (typeof token !== 'string' || typeof id !== 'number' || tokens[id] === undefined) {
      throw fail(`token ${show(token)} with id ${show(id)} does not fit ${vocabSize} rows`);
    }
    tokens[id] = token;
    kinds[id] = kind;
  };
  for (const [token, id] of Object.entries(vocab)) put(id, token, tokenKinds.normal);
  for (const { id, content, special } of added as JsonObject[]) {
    put(id, content, special === true ? tokenKinds.control : tokenKinds.userDefined);
  }
  const joined = merges.map((merge) => (Array.isArray(merge) ? merge.join(' ') : String(merge)));
  return { tokens, kinds, merges: joined };
}

/** The tensors of a GGUF file: stacks of experts, and all others by themselves. */
function stackTensors(store: TensorStore, options: GgufExportOptions): GgufTensorData[] {
  const stacks = new Map<string, TensorInfo[]>();
  const single = new Set<string>();
  for (const tensor of store.tensors.values()) {
    const target = toGgufName(tensor.name);
    if (target === undefined) continue; // checkTensors let it pass: it is none that a model uses
    const { ggufName, expert } = target;
    if (expert === undefined) single.add(ggufName);
    const stack = stacks.get(ggufName) ?? [];
    stack[expert ?? 0] = tensor;
    stacks.set(ggufName, stack);
  }
  return Array.from(stacks, ([name, parts]) => {
    const { shape } = parts[0];
    const type = targetType(name, parts, options);
    return {
      name,
      type,
      shape: single.has(name) ? shape : [parts.length, ...shape],
      bytes: async function* () {
        // One piece for all parts, or a large model's garbage would be as large as the model.
        const piece = new Uint8Array(Math.max(...parts.map(bytesAtOnce)));
        for (const part of parts) yield* convertedPieces(store, part, type, piece, options.signal);
      },
    };
  });
}

function targetType(
  ggufName: string,
  parts: readonly TensorInfo[],
  { type, typeOf }: GgufExportOptions,
): NumberType {
  const { shape } = parts[0];
  if (shape.length === 1 || ggufName.endsWith('.ffn_gate_inp.weight')) return 'F32';
  const own = new Set(parts.map((part) => part.type));
  const ownType = own.size === 1 ? parts[0].type : undefined;
  const wanted = typeOf?.(ggufName) ?? type ?? ownType ?? 'F32';
  if (wanted !== ownType && !writableTypes.includes(wanted)) {
    throw new MowgliError(
      'OPTION_INVALID',
      `${wanted} cannot be written for ${ggufName}; choose one of ${writableTypes.join(', ')}`,
    );
  }
  return shape[shape.length - 1] % numberFormats[wanted].blockElements === 0 ? wanted : 'F32';
}

/** Bytes of a tensor that are read at a time. */
function bytesAtOnce({ type, bytes }: TensorInfo): number {
  const { blockElements, blockBytes } = numberFormats[type];
  return Math.min((valuesAtOnce / blockElements) * blockBytes, bytes);
}

/** A tensor's bytes in another number format. What is read lies in `into`. */
async function* convertedPieces(
  store: TensorStore,
  tensor: TensorInfo,
  to: NumberType,
  into: Uint8Array,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const from = numberFormats[tensor.type];
  const pieceBytes = bytesAtOnce(tensor);
  for (let offset = 0; offset < tensor.bytes; offset += pieceBytes) {
    const length = Math.min(pieceBytes, tensor.bytes - offset);
    const bytes = await store.read(tensor.name, { offset, length, into, signal });
    if (tensor.type === to) {
      yield bytes;
      continue;
    }
    const values = new Float32Array((length / from.blockBytes) * from.blockElements);
    from.decode(bytes, values);
    yield numberFormats[to].encode!(values);
  }
}
