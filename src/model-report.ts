import type { Checkpoint } from './files/checkpoint.ts';
import type { ModelConfig, YarnConfig } from './files/model-config.ts';
import { elementCount, type TensorInfo } from './files/tensors.ts';
import { isExpert, isUnused, type MemoryNeeds, memoryNeeds } from './model/memory-needs.ts';
import type { NumberType } from './quant/index.ts';
import { ChatTemplate } from './text/chat-template.ts';
import { Tokenizer } from './text/tokenizer.ts';

/** Tensors, the values in them, and the bytes that these are stored in. */
export interface TensorSum {
  readonly tensors: number;
  readonly parameters: number;
  readonly bytes: number;
}

/** Tensors of one role in the model, such as the query projections of all layers. */
export interface TensorGroup extends TensorSum {
  /** `attention.q`, `experts.gate`, `norms`; `unused` for what no kernel reads. */
  readonly kind: string;
  /** Different shapes among them, each once. */
  readonly shapes: readonly (readonly number[])[];
  /** Tensors by number format. */
  readonly types: Readonly<Record<string, number>>;
}

/** What a tokenizer's files say. */
export interface TokenizerReport {
  readonly kind: 'byte-level BPE';
  readonly tokens: number;
  /** Rows of the embedding behind the last token: never trained, never sampled. */
  readonly paddingRows: number;
}

/** What can be said of a chat template without rendering it. */
export interface ChatTemplateReport {
  /** `default`, and others by name where a model has several. */
  readonly names: readonly string[];
  /** SHA-256 of the (first) template's text, to tell one from another. */
  readonly sha256: string;
  readonly characters: number;
  /** Its first 60 characters, on one line. */
  readonly start: string;
  readonly features: {
    readonly systemMessages: boolean;
    /** How it shows tools' calls to the model: `<function=name>` or JSON; none when it knows no tools. */
    readonly tools: 'xml' | 'json' | 'none';
    readonly thinking: boolean;
  };
}

/** All that a model's headers and small files tell about it. Sizes are in bytes. */
export interface ModelReport {
  readonly name: string;
  readonly architecture: 'Qwen3MoeForCausalLM';
  readonly shape: {
    readonly layers: number;
    readonly sparseLayers: number;
    readonly hidden: number;
    readonly heads: number;
    readonly kvHeads: number;
    readonly headDim: number;
    readonly experts: number;
    readonly expertsPerToken: number;
    readonly expertInner: number;
    readonly denseInner: number;
    readonly vocab: number;
    readonly tiedEmbeddings: boolean;
  };
  readonly parameters: {
    readonly total: number;
    /** Those that take part in one token: all but the experts that are not chosen. */
    readonly active: number;
  };
  readonly bytes: number;
  /** Largest first. FP8 weights count with their scales, as F8_B128. */
  readonly types: readonly (TensorSum & { readonly type: NumberType })[];
  readonly groups: readonly TensorGroup[];
  readonly context: {
    /** Tokens. */
    readonly longest: number;
    readonly ropeTheta: number;
    readonly yarn: YarnConfig | undefined;
  };
  readonly tokenizer: TokenizerReport | undefined;
  readonly chatTemplate: ChatTemplateReport | undefined;
  /** `text` is undefined where there is no tokenizer, or it has no such token. */
  readonly endTokens: readonly { readonly id: number; readonly text: string | undefined }[];
  readonly memory: MemoryNeeds;
}

/**
 * Describes an opened model: reads nothing more, no weights above all.
 * @throws MowgliError `TOKENIZER_INVALID`, `TEMPLATE_FAILED` when a file is there and damaged
 */
export async function describeModel(checkpoint: Checkpoint): Promise<ModelReport> {
  const { config, name, tensors } = checkpoint;
  const all = [...tensors.tensors.values()];
  const { tokenizerJson, tokenizerConfig } = checkpoint;
  const tokenizer =
    tokenizerJson === undefined
      ? undefined
      : new Tokenizer(tokenizerJson, tokenizerConfig, `${name}/tokenizer.json`);
  const used = all.filter((tensor) => !isUnused(tensor.name, config));
  return {
    name,
    architecture: 'Qwen3MoeForCausalLM',
    shape: {
      layers: config.numHiddenLayers,
      sparseLayers: config.sparseLayers.filter(Boolean).length,
      hidden: config.hiddenSize,
      heads: config.numAttentionHeads,
      kvHeads: config.numKeyValueHeads,
      headDim: config.headDim,
      experts: config.numExperts,
      expertsPerToken: config.numExpertsPerTok,
      expertInner: config.moeIntermediateSize,
      denseInner: config.intermediateSize,
      vocab: config.vocabSize,
      tiedEmbeddings: config.tieWordEmbeddings,
    },
    parameters: countParameters(used, config),
    bytes: sum(all).bytes,
    types: byKey(all, ({ type }) => type)
      .map(([type, of]) => ({ type: type as NumberType, ...sum(of) }))
      .sort((a, b) => b.bytes - a.bytes),
    groups: tensorGroups(all, config),
    context: {
      longest: config.maxPositionEmbeddings,
      ropeTheta: config.ropeTheta,
      yarn: config.yarn,
    },
    tokenizer: tokenizer && {
      kind: 'byte-level BPE',
      tokens: tokenizer.vocabSize,
      paddingRows: Math.max(0, config.vocabSize - tokenizer.vocabSize),
    },
    chatTemplate: await describeTemplate(checkpoint),
    endTokens: config.eosTokenIds.map((id) => ({
      id,
      text: tokenizer && id < tokenizer.vocabSize ? tokenizer.decode([id]) : undefined,
    })),
    memory: memoryNeeds(config, tensors.tensors),
  };
}

/** What a tensor is in the model; the number of its layer or expert does not matter. */
export function tensorKind(name: string, config: ModelConfig): string {
  if (isUnused(name, config)) return 'unused';
  if (name === 'model.embed_tokens.weight') return 'embedding';
  if (name === 'lm_head.weight') return 'output';
  if (name.endsWith('.mlp.gate.weight')) return 'router';
  const projection = /\.(self_attn|mlp|experts\.\d+)\.(\w+)_proj\.weight$/.exec(name);
  if (projection === null) return 'norms';
  const [, place, which] = projection;
  return `${place === 'self_attn' ? 'attention' : place === 'mlp' ? 'dense' : 'experts'}.${which}`;
}

/** The kinds in the order in which a token meets them. */
const kindOrder = [
  ...['embedding', 'norms', 'attention.q', 'attention.k', 'attention.v', 'attention.o', 'router'],
  ...['experts.gate', 'experts.up', 'experts.down', 'dense.gate', 'dense.up', 'dense.down'],
  ...['output', 'unused'],
];

function tensorGroups(tensors: readonly TensorInfo[], config: ModelConfig): TensorGroup[] {
  return byKey(tensors, ({ name }) => tensorKind(name, config))
    .map(([kind, of]) => ({
      kind,
      shapes: byKey(of, ({ shape }) => String(shape)).map(([, [{ shape }]]) => shape),
      types: Object.fromEntries(
        byKey(of, ({ type }) => type).map(([type, same]) => [type, same.length]),
      ),
      ...sum(of),
    }))
    .sort((a, b) => kindOrder.indexOf(a.kind) - kindOrder.indexOf(b.kind));
}

function countParameters(tensors: readonly TensorInfo[], config: ModelConfig) {
  const total = sum(tensors).parameters;
  const experts = sum(tensors.filter(({ name }) => isExpert(name))).parameters;
  const chosen = experts === 0 ? 0 : (experts / config.numExperts) * config.numExpertsPerTok;
  return { total, active: total - experts + chosen };
}

function sum(tensors: readonly TensorInfo[]): TensorSum {
  let parameters = 0;
  let bytes = 0;
  for (const tensor of tensors) {
    parameters += elementCount(tensor.shape);
    bytes += tensor.bytes;
  }
  return { tensors: tensors.length, parameters, bytes };
}

/** Never an empty list. */
function byKey<T>(items: readonly T[], keyOf: (item: T) => string): [string, T[]][] {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group) group.push(item);
    else groups.set(keyOf(item), [item]);
  }
  return [...groups];
}

async function describeTemplate({
  tokenizerConfig,
  chatTemplateFile,
}: Checkpoint): Promise<ChatTemplateReport | undefined> {
  // Parsed for the sake of its checks: from here on it is a text, or a list of named ones.
  const template = ChatTemplate.fromTokenizerConfig(tokenizerConfig, chatTemplateFile);
  if (template === undefined) return undefined;
  const inConfig = (tokenizerConfig ?? {}) as { chat_template?: string | { template: string }[] };
  const source = chatTemplateFile ?? inConfig.chat_template ?? '';
  const text = typeof source === 'string' ? source : source[0].template;
  const all = typeof source === 'string' ? source : source.map((one) => one.template).join('\n');
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  return {
    names: template.names,
    sha256: Array.from(new Uint8Array(digest), (b) => b.toString(16).padStart(2, '0')).join(''),
    characters: text.length,
    start: text.slice(0, 60).replace(/\s+/g, ' '),
    features: {
      systemMessages: /\bsystem\b/.test(all),
      tools: !/\btools\b/.test(all) ? 'none' : all.includes('<function=') ? 'xml' : 'json',
      thinking: /<think>|enable_thinking/.test(all),
    },
  };
}
