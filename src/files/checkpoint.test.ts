import { readFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { type ErrorCode, MowgliError } from '../errors.ts';
import { type ByteFolder, type ByteSource, checkRead, type ReadOptions } from './byte-source.ts';
import { openCheckpoint } from './checkpoint.ts';
import { expectedTensors } from './expected-tensors.ts';
import { MemoryFolder, MemorySource } from './memory.ts';
import { parseModelConfig } from './model-config.ts';
import { SyntheticStore } from './synthetic.ts';
import { elementCount } from './tensors.ts';
import { writeCheckpoint } from './write-safetensors.ts';

const configJson = {
  architectures: ['Qwen3MoeForCausalLM'],
  model_type: 'qwen3_moe',
  vocab_size: 16,
  hidden_size: 8,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  head_dim: 4,
  num_experts: 4,
  num_experts_per_tok: 2,
  moe_intermediate_size: 6,
  eos_token_id: 1,
};
const config = parseModelConfig(configJson);

async function files(): Promise<Map<string, Uint8Array>> {
  const folder = new MemoryFolder('model');
  await writeCheckpoint(
    folder,
    {
      configJson,
      generationConfigJson: { temperature: 0.5, eos_token_id: [2, 3] },
      tensors: new SyntheticStore(config),
    },
    { maxShardBytes: 1500 },
  );
  return folder.files;
}

/** Keeps count of what is open. */
class WatchedFolder implements ByteFolder {
  readonly name = 'model';
  stillOpen = 0;
  readonly #inner: MemoryFolder;
  constructor(entries: Map<string, Uint8Array>) {
    this.#inner = new MemoryFolder('model', entries);
  }
  async open(name: string): Promise<ByteSource | undefined> {
    const source = await this.#inner.open(name);
    if (source === undefined) return undefined;
    this.stillOpen++;
    let isOpen = true;
    return {
      name: source.name,
      size: source.size,
      read: (...args) => source.read(...args),
      close: async () => {
        if (isOpen) this.stillOpen--;
        isOpen = false;
        await source.close();
      },
    };
  }
}

describe('openCheckpoint', () => {
  it('opens what writeCheckpoint wrote', async () => {
    const entries = await files();
    expect(
      [...entries.keys()].filter((name) => /^model-.*safetensors$/.test(name)).length,
    ).toBeGreaterThan(2);
    const folder = new WatchedFolder(entries);
    const checkpoint = await openCheckpoint(folder);
    expect(checkpoint.name).toBe('model');
    expect(checkpoint.config).toEqual({ ...config, eosTokenIds: [2, 3] });
    expect(checkpoint.generationDefaults).toEqual({ temperature: 0.5 });
    const synthetic = new SyntheticStore(config);
    expect(checkpoint.tensors.tensors.size).toBe(synthetic.tensors.size);
    for (const [name, tensor] of synthetic.tensors) {
      expect(checkpoint.tensors.tensors.get(name)).toEqual(tensor);
      expect(await checkpoint.tensors.read(name)).toEqual(await synthetic.read(name));
    }
    expect(folder.stillOpen).toBeGreaterThan(2);
    await checkpoint.close();
    await checkpoint.close();
    expect(folder.stillOpen).toBe(0);
  });

  it('hands on the files of the tokenizer, if there are any', async () => {
    const entries = await files();
    const without = await openCheckpoint(new WatchedFolder(entries));
    expect(without.tokenizerJson).toBeUndefined();
    expect(without.tokenizerConfig).toBeUndefined();
    expect(without.chatTemplateFile).toBeUndefined();
    const encoder = new TextEncoder();
    entries.set('tokenizer.json', encoder.encode('{"version":"1.0"}'));
    entries.set('tokenizer_config.json', encoder.encode('\ufeff{"bos_token":null}\r\n'));
    entries.set('chat_template.jinja', encoder.encode('{{ "é" }}\n'));
    const checkpoint = await openCheckpoint(new WatchedFolder(entries));
    expect(checkpoint.tokenizerJson).toEqual({ version: '1.0' });
    expect(checkpoint.tokenizerConfig).toEqual({ bos_token: null });
    expect(checkpoint.chatTemplateFile).toBe('{{ "é" }}\n');
  });

  const text = (content: string) => new TextEncoder().encode(content);
  const withConfig = (changes: object) => text(JSON.stringify({ ...configJson, ...changes }));
  const cases: [string, [string, Uint8Array | undefined], ErrorCode, string][] = [
    ['no config.json', ['config.json', undefined], 'FILE_NOT_FOUND', 'model has no config.json'],
    [
      'a config.json that is not JSON',
      ['config.json', text('{"a":')],
      'FILE_INVALID',
      'model/config.json is not JSON',
    ],
    [
      'an empty config.json',
      ['config.json', text('')],
      'FILE_INVALID',
      'model/config.json is not JSON',
    ],
    [
      'a config.json that is not text',
      ['config.json', Uint8Array.of(0xff, 0xfe)],
      'FILE_INVALID',
      'is not UTF-8',
    ],
    [
      'a config.json that is a list',
      ['config.json', text('[]')],
      'CONFIG_INVALID',
      'model/config.json must be a JSON object',
    ],
    [
      'another architecture',
      ['config.json', withConfig({ model_type: 'llama' })],
      'CONFIG_UNSUPPORTED',
      'model/config.json: model_type "llama"',
    ],
    [
      'a damaged generation_config.json',
      ['generation_config.json', text('x')],
      'FILE_INVALID',
      'model/generation_config.json',
    ],
    [
      'a bad generation_config.json',
      ['generation_config.json', text('{"top_p":2}')],
      'CONFIG_INVALID',
      'model/generation_config.json: top_p',
    ],
    [
      'a damaged tokenizer.json',
      ['tokenizer.json', text('{')],
      'FILE_INVALID',
      'model/tokenizer.json is not JSON',
    ],
    [
      'no index',
      ['model.safetensors.index.json', undefined],
      'FILE_NOT_FOUND',
      'neither model.safetensors nor',
    ],
    [
      'weights of fewer layers',
      ['config.json', withConfig({ num_hidden_layers: 3 })],
      'TENSOR_MISSING',
      'model.layers.2.input_layernorm.weight',
    ],
    [
      'weights of more layers',
      ['config.json', withConfig({ num_hidden_layers: 1 })],
      'TENSOR_UNEXPECTED',
      'model.layers.1.',
    ],
    [
      'weights of another size',
      ['config.json', withConfig({ moe_intermediate_size: 5 })],
      'TENSOR_SHAPE',
      '([6, 8] instead of [5, 8])',
    ],
    [
      'a damaged shard',
      ['model-00001-of-00003.safetensors', new Uint8Array(9)],
      'FILE_INVALID',
      'model-00001-of-00003.safetensors',
    ],
  ];
  it.each(cases)(
    'refuses %s, and closes what it opened',
    async (_, [name, bytes], code, fragment) => {
      const entries = await files();
      if (name.includes('-of-')) expect(entries.has(name)).toBe(true);
      if (bytes === undefined) entries.delete(name);
      else entries.set(name, bytes);
      const folder = new WatchedFolder(entries);
      const error = await openCheckpoint(folder).then(
        () => expect.fail('it should have failed'),
        (reason) => reason,
      );
      expect(error).toBeInstanceOf(MowgliError);
      expect(error.message).toContain(fragment);
      expect(error.code).toBe(code);
      expect(folder.stillOpen).toBe(0);
    },
  );

  it('stops at any point where the signal fires, and closes what it opened', async () => {
    const entries = await files();
    let reads = 0;
    let abortAt = Number.POSITIVE_INFINITY;
    const run = async () => {
      const controller = new AbortController();
      reads = 0;
      const folder = new WatchedFolder(entries);
      const open = folder.open.bind(folder);
      folder.open = async (name) => {
        const source = await open(name);
        if (source === undefined) return undefined;
        return {
          name: source.name,
          size: source.size,
          close: () => source.close(),
          read: (...args) => {
            if (++reads === abortAt) controller.abort();
            return source.read(...args);
          },
        };
      };
      const result = await openCheckpoint(folder, { signal: controller.signal }).then(
        () => 'opened',
        (error) => error.code,
      );
      return { result, folder };
    };
    expect((await run()).result).toBe('opened');
    const total = reads;
    expect(total).toBeGreaterThan(5);
    for (abortAt = 1; abortAt <= total; abortAt++) {
      const { result, folder } = await run();
      expect([abortAt, result, folder.stillOpen]).toEqual([abortAt, 'ABORTED', 0]);
    }
  });
});

describe('Qwen3-Coder-30B, with its real index and headers, but no data', () => {
  const data = (path: string) =>
    readFile(new URL(`../../tests/data/configs/${path}`, import.meta.url));

  it('opens, and reads only what it must', async () => {
    const at = 'Qwen3-Coder-30B-A3B-Instruct';
    const index = gunzipSync(await data(`${at}/model.safetensors.index.json.gz`));
    const folder = new SparseFolder(index, [
      ['config.json', await data(`${at}/config.json`)],
      ['generation_config.json', await data(`${at}/generation_config.json`)],
    ]);
    const checkpoint = await openCheckpoint(folder);
    expect(checkpoint.tensors.tensors.size).toBe(18867);
    let bytes = 0;
    for (const tensor of checkpoint.tensors.tensors.values()) bytes += tensor.bytes;
    expect(bytes).toBe(61064245248);
    expect(folder.size).toBeGreaterThan(bytes);
    expect(folder.bytesRead).toBe(folder.size - bytes); // the headers
    expect(checkpoint.config.eosTokenIds).toEqual([151645, 151643]);
    // A position beyond 2^32, in the right file.
    const read = await checkpoint.tensors.read('lm_head.weight', { offset: 600000000, length: 4 });
    expect(read).toHaveLength(4);
  });
});

/** The model's files as its index describes them, each with a header but with zeros for data. */
class SparseFolder extends MemoryFolder {
  bytesRead = 0;
  size = 0;
  readonly #shards = new Map<string, Uint8Array>();
  readonly #sizes = new Map<string, number>();

  constructor(index: Uint8Array, entries: [string, Uint8Array][]) {
    super('sparse', [...entries, ['model.safetensors.index.json', index]]);
    const map: Record<string, string> = JSON.parse(new TextDecoder().decode(index)).weight_map;
    const shapes = new Map<string, readonly number[]>();
    const json = JSON.parse(new TextDecoder().decode(entries[0][1]));
    for (const { name, shape } of expectedTensors(parseModelConfig(json))) shapes.set(name, shape);
    const headers = new Map<string, Record<string, unknown>>();
    const ends = new Map<string, number>();
    for (const [name, file] of Object.entries(map)) {
      const shape = shapes.get(name)!;
      const begin = ends.get(file) ?? 0;
      const end = begin + 2 * elementCount(shape);
      ends.set(file, end);
      const header = headers.get(file) ?? {};
      headers.set(file, header);
      header[name] = { dtype: 'BF16', shape, data_offsets: [begin, end] };
    }
    for (const [file, header] of headers) {
      const text = new TextEncoder().encode(JSON.stringify(header));
      const bytes = new Uint8Array(8 + text.length);
      new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
      bytes.set(text, 8);
      this.#shards.set(file, bytes);
      this.#sizes.set(file, bytes.length + ends.get(file)!);
      this.size += bytes.length + ends.get(file)!;
    }
  }

  override async open(file: string): Promise<ByteSource | undefined> {
    const header = this.#shards.get(file);
    if (header === undefined) return super.open(file);
    const folder = this;
    return new (class extends MemorySource {
      override readonly size = folder.#sizes.get(file)!;
      override async read(offset: number, length: number, options?: ReadOptions) {
        checkRead(this, offset, length, options);
        const bytes = new Uint8Array(length);
        bytes.set(header.subarray(offset, offset + length));
        folder.bytesRead += length;
        return bytes;
      }
    })(file, header);
  }
}
