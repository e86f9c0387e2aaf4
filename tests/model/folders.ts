import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { ByteFolder, ByteSource } from '../../src/files/byte-source.ts';
import { MemoryFolder, MemorySource } from '../../src/files/memory.ts';
import { parseModelConfig } from '../../src/files/model-config.ts';
import { presets } from '../../src/files/presets.ts';
import { SyntheticStore } from '../../src/files/synthetic.ts';
import { elementCount, type TensorInfo, type TensorStore } from '../../src/files/tensors.ts';
import { writeCheckpoint } from '../../src/files/write-safetensors.ts';
import { NodeFolder } from '../../src/node/folder.ts';
import { formatBytes, formats, type TensorType } from '../../src/quant/index.ts';

/** The trained demo model of this repository. */
export const tinyCoder = fileURLToPath(new URL('../../models/tiny-coder', import.meta.url));

/** What PyTorch computes with it; `reference/expected.json` says how. */
export interface ReferencePrompt {
  readonly name: string;
  readonly ids: readonly number[];
  readonly top20_ids: readonly number[];
  readonly top20_logits: readonly number[];
  /** [layer][k], at the last position, best first. */
  readonly experts: readonly (readonly number[])[];
  /** 48 tokens, also past tokens that end a text. */
  readonly greedy_ids: readonly number[];
  /** Smallest gap between the logits of a greedy token and the runner-up. */
  readonly greedy_min_margin: number;
}

export async function referencePrompts(): Promise<readonly ReferencePrompt[]> {
  const text = await readFile(`${tinyCoder}/reference/expected.json`, 'utf8');
  return JSON.parse(text).prompts;
}

/** A folder with some of its files replaced, added, or (undefined) taken away. */
export class Overlay implements ByteFolder {
  readonly name: string;
  readonly #below: ByteFolder;
  readonly #files: ReadonlyMap<string, Uint8Array | undefined>;

  constructor(below: ByteFolder, files: Readonly<Record<string, Uint8Array | string | undefined>>) {
    this.name = below.name;
    this.#below = below;
    this.#files = new Map(
      Object.entries(files).map(([file, content]) => [
        file,
        typeof content === 'string' ? new TextEncoder().encode(content) : content,
      ]),
    );
  }

  async open(file: string): Promise<ByteSource | undefined> {
    if (!this.#files.has(file)) return this.#below.open(file);
    const bytes = this.#files.get(file);
    return bytes && new MemorySource(`${this.name}/${file}`, bytes);
  }
}

/** A model on disk with no tokens that end a generation, as the references were made without. */
export async function endless(path: string): Promise<ByteFolder> {
  const folder = await NodeFolder.open(path);
  const config = JSON.parse(await readFile(`${path}/config.json`, 'utf8'));
  return new Overlay(folder, {
    'config.json': JSON.stringify({ ...config, eos_token_id: null }),
    'generation_config.json': '{}',
  });
}

/** Counts what is opened and closed, and lets a test fail the reads. */
export class WatchedFolder implements ByteFolder {
  readonly name: string;
  /** Files open now. */
  openFiles = 0;
  /** Reads so far. */
  reads = 0;
  /** Called before each read with its number, from 1; may throw, abort something, or take its time. */
  onRead: (read: number) => void | Promise<void> = () => {};
  /** Called when a file is closed; may throw. */
  onClose: () => void = () => {};
  readonly #below: ByteFolder;

  constructor(below: ByteFolder) {
    this.name = below.name;
    this.#below = below;
  }

  async open(file: string): Promise<ByteSource | undefined> {
    const source = await this.#below.open(file);
    if (!source) return undefined;
    this.openFiles++;
    let isOpen = true;
    return {
      name: source.name,
      size: source.size,
      read: async (offset, length, options) => {
        await this.onRead(++this.reads);
        return source.read(offset, length, options);
      },
      close: async () => {
        if (isOpen) this.openFiles--;
        isOpen = false;
        await source.close();
        this.onClose();
      },
    };
  }
}

/** What makes a made model differ from the plain one. */
export interface Making {
  /** Fields of config.json. */
  config?: Readonly<Record<string, unknown>>;
  seed?: number;
  /** Number type by tensor name; BF16 where it answers undefined. */
  type?: (tensor: string) => TensorType | undefined;
  /** Changes the values of a tensor [rows, columns] in place, before they are stored. */
  edit?: (tensor: string, values: Float32Array, columns: number) => void;
}

/** Two layers of eight experts; quick to evaluate on a CPU. */
export const toyConfig = {
  ...presets.tiny.configJson,
  hidden_size: 64,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 16,
  num_experts: 8,
  num_experts_per_tok: 2,
  moe_intermediate_size: 32,
  intermediate_size: 96,
  vocab_size: 256,
  max_position_embeddings: 32768,
};

/** A model of random weights, as a folder in memory. It has no tokenizer and no end tokens. */
export async function madeModel({
  config,
  seed = 0,
  type,
  edit,
}: Making = {}): Promise<MemoryFolder> {
  const configJson = { ...toyConfig, ...config };
  const tensors = new SyntheticStore(parseModelConfig(configJson), { seed, type: 'F32' });
  const folder = new MemoryFolder('made');
  const store = recoded(tensors, (name) => type?.(name) ?? 'BF16', edit);
  await writeCheckpoint(folder, { configJson, generationConfigJson: {}, tensors: store });
  return folder;
}

/** Tensors of F32 in other types, with other values. */
function recoded(
  store: TensorStore,
  typeOf: (tensor: string) => TensorType,
  edit: Making['edit'],
): TensorStore {
  const tensors = new Map<string, TensorInfo>();
  for (const [name, { shape }] of store.tensors) {
    const type = typeOf(name);
    tensors.set(name, { name, type, shape, bytes: formatBytes(type, elementCount(shape)) });
  }
  return {
    tensors,
    read: async (name, { offset = 0, length, into } = {}) => {
      const bytes = await store.read(name);
      const values = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
      const { type, shape } = tensors.get(name)!;
      edit?.(name, values, shape[shape.length - 1]);
      const encoded = formats[type as TensorType].encode(values);
      const part = encoded.subarray(offset, offset + (length ?? encoded.length - offset));
      if (!into) return part;
      into.set(part);
      return into.subarray(0, part.length);
    },
    close: () => store.close(),
  };
}

/** Replaces the header of a safetensors file in memory; the data stays. */
export function withHeader(
  file: Uint8Array,
  change: (
    header: Record<string, { dtype: string; shape: number[]; data_offsets: number[] }>,
  ) => void,
): Uint8Array {
  const length = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + length)));
  change(header);
  const json = new TextEncoder().encode(JSON.stringify(header));
  const out = new Uint8Array(8 + json.length + file.length - 8 - length);
  new DataView(out.buffer).setBigUint64(0, BigInt(json.length), true);
  out.set(json, 8);
  out.set(file.subarray(8 + length), 8 + json.length);
  return out;
}
