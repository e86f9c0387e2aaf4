import { describe, expect, it } from 'vitest';
import { type ErrorCode, MowgliError } from '../errors.ts';
import { numberFormats } from '../quant/index.ts';
import { randomBlocks } from '../quant/random-blocks.ts';
import type { ByteFolder, ByteSource } from './byte-source.ts';
import type { Checkpoint } from './checkpoint.ts';
import { openGgufCheckpoint, openGgufParts } from './gguf.ts';
import { exportGguf, type GgufExportOptions } from './gguf-export.ts';
import { readGgufHeader } from './gguf-header.ts';
import { splitParts } from './gguf-split.ts';
import { ggmlTypes } from './gguf-types.ts';
import { type GgufEntry, type GgufTensorData, writeGguf } from './gguf-write.ts';
import { MemoryFolder, MemorySource } from './memory.ts';
import { parseModelConfig } from './model-config.ts';
import { SyntheticStore } from './synthetic.ts';

/** Sizes all different, so that no two can be mistaken for each other. */
const configJson = {
  architectures: ['Qwen3MoeForCausalLM'],
  hidden_size: 64,
  num_hidden_layers: 2,
  num_attention_heads: 6,
  num_key_value_heads: 3,
  head_dim: 32,
  num_experts: 5,
  num_experts_per_tok: 2,
  moe_intermediate_size: 32,
  intermediate_size: 7,
  vocab_size: 11,
  norm_topk_prob: true,
  rms_norm_eps: 1e-6,
  rope_theta: 10_000_000,
  max_position_embeddings: 4096,
};

/** A model with random weights, as if it were a Hugging Face folder. */
function model(changes: object = {}, type: 'F32' | 'BF16' = 'F32'): Checkpoint {
  const config = parseModelConfig({ ...configJson, ...changes });
  const tensors = new SyntheticStore(config, { type, seed: 1 });
  return {
    name: 'random',
    config,
    generationDefaults: {},
    tensors,
    tokenizerJson: undefined,
    tokenizerConfig: undefined,
    chatTemplateFile: undefined,
    close: () => tensors.close(),
  };
}

/** Writes a model as GGUF files in memory. */
async function folderOf(
  checkpoint: Checkpoint,
  options: Partial<GgufExportOptions> = {},
  maxBytes = Number.POSITIVE_INFINITY,
  change: (metadata: Map<string, GgufEntry>, tensors: GgufTensorData[]) => void = () => {},
): Promise<MemoryFolder> {
  const exported = exportGguf(checkpoint, { type: 'F32', name: 'Random', ...options });
  const metadata = new Map(exported.metadata);
  const tensors = [...exported.tensors];
  change(metadata, tensors);
  const folder = new MemoryFolder('models');
  for (const part of splitParts('m.gguf', metadata, tensors, maxBytes)) {
    await writeGguf(await folder.create(part.file), part);
  }
  return folder;
}

async function open(folder: ByteFolder, file = 'm.gguf'): Promise<Checkpoint> {
  return openGgufCheckpoint(await openGgufParts(folder, file));
}

/** mulberry32: numbers in [0, 1), the same for the same seed. */
function uniform(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

async function failure(promise: Promise<unknown>): Promise<MowgliError> {
  const error = await promise.then(
    () => expect.fail('it should have failed'),
    (reason) => reason,
  );
  expect(error).toBeInstanceOf(MowgliError);
  return error;
}

describe('a GGUF checkpoint', () => {
  it('has the tensors, the bytes and the configuration of the model that it was made of', async () => {
    const original = model();
    const checkpoint = await open(await folderOf(original));
    expect(checkpoint.name).toBe('models/m.gguf');
    expect(checkpoint.config).toEqual(original.config);
    expect(new Set(checkpoint.tensors.tensors.keys())).toEqual(
      new Set(original.tensors.tensors.keys()),
    );
    for (const [name, info] of original.tensors.tensors) {
      expect(checkpoint.tensors.tensors.get(name)).toEqual(info);
      const [read, expected] = await Promise.all([
        checkpoint.tensors.read(name),
        original.tensors.read(name),
      ]);
      expect(Buffer.compare(read, expected), name).toBe(0);
    }
  });

  it('reads any part of an expert, and nothing of its neighbours', async () => {
    const original = model();
    const { tensors } = await open(await folderOf(original));
    const name = 'model.layers.1.mlp.experts.3.down_proj.weight';
    const whole = await original.tensors.read(name);
    const into = new Uint8Array(20);
    expect(await tensors.read(name, { offset: 100, length: 20, into })).toEqual(
      whole.subarray(100, 120),
    );
    const past = await failure(tensors.read(name, { offset: whole.length - 4, length: 8 }));
    expect(past.code).toBe('OPTION_INVALID');
    const absent = await failure(tensors.read('model.layers.1.mlp.experts.5.down_proj.weight'));
    expect(absent.code).toBe('TENSOR_MISSING');
  });

  it('ties the output to the embedding when it has no matrix of its own', async () => {
    const tied = await open(await folderOf(model({ tie_word_embeddings: true })));
    expect(tied.config.tieWordEmbeddings).toBe(true);
    expect(tied.tensors.tensors.has('lm_head.weight')).toBe(false);
  });

  it('keeps YaRN', async () => {
    for (const more of [{}, { attention_factor: 1.5, beta_fast: 16, beta_slow: 2 }]) {
      const original = model({
        rope_scaling: {
          rope_type: 'yarn',
          factor: 4,
          original_max_position_embeddings: 2048,
          ...more,
        },
      });
      const { config } = await open(await folderOf(original));
      const { yarn, ...rest } = config;
      const { yarn: expected, ...others } = original.config;
      expect(rest).toEqual(others);
      expect(yarn!.attentionFactor).toBeCloseTo(expected!.attentionFactor, 6);
      expect({ ...yarn, attentionFactor: 0 }).toEqual({ ...expected, attentionFactor: 0 });
    }
  });

  it('keeps what generation_config.json recommends', async () => {
    const generationDefaults = { temperature: 0.7, topK: 20, topP: 0.8, repetitionPenalty: 1.05 };
    const checkpoint = await open(await folderOf({ ...model(), generationDefaults }));
    expect(checkpoint.generationDefaults).toEqual(generationDefaults);
  });

  it('converts to every format that can be written, piece by piece', async () => {
    const original = model({}, 'BF16');
    for (const type of ['F16', 'Q8_0', 'Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'MXFP4'] as const) {
      const { tensors } = await open(await folderOf(original, { type }));
      const { encode, blockBytes, blockElements } = numberFormats[type];
      for (const name of ['lm_head.weight', 'model.layers.0.mlp.experts.4.up_proj.weight']) {
        const { shape } = original.tensors.tensors.get(name)!;
        const values = new Float32Array(shape[0] * shape[1]);
        numberFormats.BF16.decode(await original.tensors.read(name), values);
        const bytes = (values.length / blockElements) * blockBytes;
        expect(tensors.tensors.get(name)).toEqual({ name, type, shape, bytes });
        expect(Buffer.compare(await tensors.read(name), encode!(values))).toBe(0);
      }
      expect(tensors.tensors.get('model.layers.0.mlp.gate.weight')!.type).toBe('F32');
      expect(tensors.tensors.get('model.norm.weight')!.type).toBe('F32');
    }
  });

  it('may hold every type of tensor at once, experts of a layer in different ones', async () => {
    const original = model({ hidden_size: 256, moe_intermediate_size: 256 });
    const types = [...ggmlTypes.values()];
    const blocks = new Map<string, Uint8Array>();
    const random = uniform(1);
    const folder = await folderOf(original, {}, undefined, (_, tensors) => {
      for (const [i, tensor] of tensors.entries()) {
        const columns = tensor.shape[tensor.shape.length - 1];
        if (tensor.shape.length === 1 || columns % 256 !== 0) continue;
        const type = types[i % types.length];
        const { blockBytes, blockElements } = numberFormats[type];
        const values = tensor.shape.reduce((product, size) => product * size);
        const bytes = randomBlocks(type, values / blockElements, random);
        expect(bytes.length).toBe((values / blockElements) * blockBytes);
        blocks.set(tensor.name, bytes);
        tensors[i] = { ...tensor, type, bytes: () => [bytes] };
      }
    });
    const { tensors } = await open(folder);
    const used = new Set([...tensors.tensors.values()].map(({ type }) => type));
    expect(used.size).toBeGreaterThan(12);
    for (const [ggufName, projection] of [
      ['ffn_gate_exps', 'gate_proj'],
      ['ffn_up_exps', 'up_proj'],
      ['ffn_down_exps', 'down_proj'],
    ]) {
      const stack = blocks.get(`blk.1.${ggufName}.weight`)!;
      for (let e = 0; e < 5; e++) {
        const name = `model.layers.1.mlp.experts.${e}.${projection}.weight`;
        const part = stack.subarray((e * stack.length) / 5, ((e + 1) * stack.length) / 5);
        expect(Buffer.compare(await tensors.read(name), part)).toBe(0);
      }
    }
  });

  it('names tensors that no such model has, and those that are missing', async () => {
    const extra = await folderOf(model(), {}, undefined, (_, tensors) => {
      tensors.push({ ...tensors[0], name: 'rope_freqs.weight' });
    });
    const unexpected = await failure(open(extra));
    expect(unexpected.code).toBe('TENSOR_UNEXPECTED');
    expect(unexpected.message).toContain('rope_freqs.weight');
    const fewer = await folderOf(model(), {}, undefined, (_, tensors) => {
      tensors.splice(
        tensors.findIndex(({ name }) => name === 'blk.1.attn_v.weight'),
        1,
      );
    });
    const missing = await failure(open(fewer));
    expect(missing.code).toBe('TENSOR_MISSING');
    expect(missing.message).toContain('model.layers.1.self_attn.v_proj.weight');
  });

  it('refuses experts that are not stacked as they should be', async () => {
    const flat = await folderOf(model(), {}, undefined, (_, tensors) => {
      const i = tensors.findIndex(({ name }) => name === 'blk.0.ffn_up_exps.weight');
      const [experts, rows, columns] = tensors[i].shape;
      tensors[i] = { ...tensors[i], shape: [experts * rows, columns] };
    });
    expect((await failure(open(flat))).code).toBe('TENSOR_SHAPE');
    const fewer = await folderOf(model(), {}, undefined, (metadata) => {
      metadata.set('qwen3moe.expert_count', ['u32', 4]);
    });
    expect((await failure(open(fewer))).code).toBe('TENSOR_SHAPE');
  });
});

describe('a split model', () => {
  const parts = (folder: MemoryFolder) => [...folder.files.keys()];

  it('is found by the name of any of its parts, and is the same as the whole', async () => {
    const original = model();
    const folder = await folderOf(original, {}, 130_000);
    expect(parts(folder).length).toBeGreaterThan(3);
    expect(parts(folder)[1]).toMatch(/^m-00002-of-0000\d\.gguf$/);
    for (const file of parts(folder)) {
      const checkpoint = await open(folder, file);
      expect(checkpoint.config).toEqual(original.config);
      for (const name of original.tensors.tensors.keys()) {
        const [read, expected] = await Promise.all([
          checkpoint.tensors.read(name),
          original.tensors.read(name),
        ]);
        expect(Buffer.compare(read, expected), name).toBe(0);
      }
    }
  });

  const n = (i: number, of: number) => `${String(i).padStart(5, '0')}-of-0000${of}.gguf`;

  it.each<[string, ErrorCode, RegExp, (files: Map<string, Uint8Array>, count: number) => void]>([
    ['a part is missing', 'FILE_NOT_FOUND', /has no m-00002/, (f, c) => f.delete(`m-${n(2, c)}`)],
    [
      'two parts changed places',
      'FILE_INVALID',
      /part 3 of the model/,
      (f, c) => {
        const second = f.get(`m-${n(2, c)}`)!;
        f.set(`m-${n(2, c)}`, f.get(`m-${n(3, c)}`)!);
        f.set(`m-${n(3, c)}`, second);
      },
    ],
    [
      'a part is there twice',
      'FILE_INVALID',
      /part 2 of the model/,
      (f, c) => f.set(`m-${n(3, c)}`, f.get(`m-${n(2, c)}`)!),
    ],
  ])('%s: %s', async (_, code, message, change) => {
    const folder = await folderOf(model(), {}, 130_000);
    const [first] = parts(folder);
    change(folder.files, folder.files.size);
    const error = await failure(open(folder, first));
    expect(error.message).toMatch(message);
    expect(error.code).toBe(code);
  });

  it.each<[string, (metadata: Map<string, GgufEntry>) => void, RegExp]>([
    ['says it has 3 files', (m) => m.set('split.count', ['u16', 3]), /3 files/],
    ['says it is part 2', (m) => m.set('split.no', ['u16', 1]), /part 2 of the model/],
    ['says it has 99 tensors', (m) => m.set('split.tensors.count', ['i32', 99]), /99 tensors/],
  ])('a whole one that %s is refused', async (_, change, message) => {
    const error = await failure(open(await folderOf(model(), {}, undefined, change)));
    expect(error.code).toBe('FILE_INVALID');
    expect(error.message).toMatch(message);
  });

  it('refuses names that make no sense', async () => {
    const folder = new MemoryFolder('models');
    for (const file of ['m-00000-of-00002.gguf', 'm-00003-of-00002.gguf']) {
      expect((await failure(open(folder, file))).code).toBe('FILE_INVALID');
    }
    expect((await failure(open(folder, 'm-00001-of-99999.gguf'))).code).toBe('FILE_NOT_FOUND');
    expect((await failure(open(folder, '../m.gguf'))).code).toBe('FILE_INVALID');
    expect((await failure(openGgufCheckpoint([]))).code).toBe('OPTION_INVALID');
  });

  it('refuses a tensor that two parts have', async () => {
    const folder = await folderOf(model(), {}, 130_000, (_, tensors) => {
      tensors.push({ ...tensors[0] });
    });
    const error = await failure(open(folder, parts(folder)[0]));
    expect(error.message).toMatch(/is there twice/);
  });
});

/** Keeps count of what is open. */
class WatchedFolder implements ByteFolder {
  readonly name = 'models';
  openNow = 0;
  readonly #inner: MemoryFolder;
  constructor(inner: MemoryFolder) {
    this.#inner = inner;
  }
  async open(file: string): Promise<ByteSource | undefined> {
    const source = await this.#inner.open(file);
    if (source === undefined) return undefined;
    this.openNow++;
    let isOpen = true;
    return {
      name: source.name,
      size: source.size,
      read: (...args) => source.read(...args),
      close: async () => {
        if (isOpen) this.openNow--;
        isOpen = false;
        await source.close();
      },
    };
  }
}

describe('closing', () => {
  it('leaves nothing open, also after a failure', async () => {
    const inner = await folderOf(model(), {}, 130_000);
    const [first, second] = [...inner.files.keys()];
    const folder = new WatchedFolder(inner);
    const checkpoint = await open(folder, first);
    expect(folder.openNow).toBe(inner.files.size);
    await checkpoint.close();
    await checkpoint.close();
    expect(folder.openNow).toBe(0);

    const damaged = inner.files.get(second)!.slice();
    damaged[0] = 0;
    inner.files.set(second, damaged);
    await failure(open(folder, first));
    expect(folder.openNow).toBe(0);
    inner.files.delete(second);
    await failure(open(folder, first));
    expect(folder.openNow).toBe(0);
  });
});

describe('mutated models', () => {
  it('open, or fail with a typed error', async () => {
    const folder = await folderOf(model(), {}, undefined, (metadata) => {
      const tokens = ['a', 'b', 'c', 'ab', 'abc', ...'xyz', '<|im_end|>', '<t>', '[PAD10]'];
      metadata.set('tokenizer.ggml.model', ['string', 'gpt2']);
      metadata.set('tokenizer.ggml.pre', ['string', 'qwen2']);
      metadata.set('tokenizer.ggml.tokens', ['array', 'string', tokens]);
      const kinds = [...Array(8).fill(1), 3, 4, 5];
      metadata.set('tokenizer.ggml.token_type', ['array', 'i32', kinds]);
      metadata.set('tokenizer.ggml.merges', ['array', 'string', ['a b', 'ab c']]);
      metadata.set('tokenizer.ggml.eos_token_id', ['u32', 8]);
    });
    const valid = folder.files.get('m.gguf')!;
    expect((await open(folder)).tokenizerJson).toBeDefined();
    const { tensors } = await readGgufHeader(new MemorySource('m.gguf', valid));
    const headBytes = Math.min(...Array.from(tensors.values(), ({ offset }) => offset));
    let opened = 0;
    for (let seed = 1; seed <= 1000; seed++) {
      const random = uniform(seed);
      const below = (n: number) => Math.floor(random() * n);
      const bytes = valid.slice();
      for (let changes = 1 + below(2); changes > 0; changes--) {
        bytes[below(headBytes)] = below(2) ? below(256) : below(4);
      }
      const outcome = await openGgufCheckpoint(new MemorySource('mutated.gguf', bytes)).then(
        () => 'opens',
        (error) => error,
      );
      if (outcome === 'opens') opened++;
      else expect(outcome, `seed ${seed}: ${outcome.stack}`).toBeInstanceOf(MowgliError);
    }
    expect(opened).toBeGreaterThan(10);
    expect(opened).toBeLessThan(900);
  });
});
