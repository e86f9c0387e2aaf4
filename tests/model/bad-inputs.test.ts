import { mkdtemp, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Gpu } from '../../src/gpu/device.ts';
import {
  type ByteFolder,
  type ErrorCode,
  type GenerateOptions,
  type LoadOptions,
  type LoadProgress,
  loadModel,
  loadModelOn,
  type MemoryFolder,
  type Model,
  openGpuInNode,
  type Prompt,
} from '../../src/node.ts';
import { complete, completion, greedy } from './complete.ts';
import { madeModel, Overlay, tinyCoder, toyConfig, WatchedFolder, withHeader } from './folders.ts';

const weights = 'model.safetensors';
const indexFile = 'model.safetensors.index.json';

let sound: MemoryFolder;
let sharded: Record<string, Uint8Array | string | undefined>;
let tokenizerOfOther: string;
beforeAll(async () => {
  sound = await madeModel();
  tokenizerOfOther = await readFile(`${tinyCoder}/tokenizer.json`, 'utf8');
  sharded = {
    [weights]: undefined,
    'a.safetensors': sound.files.get(weights)!,
    [indexFile]: JSON.stringify({ weight_map: { 'model.norm.weight': 'a.safetensors' } }),
  };
});

const failure = (code: ErrorCode, message: RegExp) => ({
  name: 'MowgliError',
  code,
  message: expect.stringMatching(message),
});

/** Loads what must not load, and checks that nothing of it is left. */
async function refusal(
  below: ByteFolder,
  options: LoadOptions = { context: 32, chunk: 8 },
  prepare: (folder: WatchedFolder) => void = () => {},
): Promise<unknown> {
  const folder = new WatchedFolder(below);
  prepare(folder);
  let gpu: Gpu | undefined;
  const open = async () => {
    gpu = await openGpuInNode();
    return gpu;
  };
  const error = await loadModelOn(open, folder, options).then(
    () => expect.fail('it loaded'),
    (thrown: unknown) => thrown,
  );
  expect(folder.openFiles, 'files left open').toBe(0);
  expect(gpu?.ledger.byLabel() ?? {}, 'GPU memory left').toEqual({});
  return error;
}

const changed = (change: Record<string, unknown>) => ({
  'config.json': JSON.stringify({ ...toyConfig, ...change }),
});
const cut = (bytes: number) => ({ [weights]: sound.files.get(weights)!.slice(0, -bytes) });
const rewritten = (...change: Parameters<typeof withHeader>[1][]) => ({
  [weights]: withHeader(sound.files.get(weights)!, change[0]),
});
const headerLength = (length: bigint) => {
  const file = sound.files.get(weights)!.slice();
  new DataView(file.buffer).setBigUint64(0, length, true);
  return { [weights]: file };
};

type Files = Record<string, Uint8Array | string | undefined>;
const badFiles: Record<string, [() => Files, ErrorCode, RegExp]> = {
  'no config.json': [
    () => ({ 'config.json': undefined }),
    'FILE_NOT_FOUND',
    /made has no config\.json; point to the folder/,
  ],
  'config.json that is not JSON': [
    () => ({ 'config.json': '{"hidden_size": ' }),
    'FILE_INVALID',
    /made\/config\.json is not JSON.*download it again/,
  ],
  'config.json that is not text': [
    () => ({ 'config.json': Uint8Array.of(0x7b, 0xff, 0xfe, 0x7d) }),
    'FILE_INVALID',
    /made\/config\.json is not UTF-8.*download it again/,
  ],
  'a missing size': [
    () => changed({ hidden_size: undefined }),
    'CONFIG_INVALID',
    /config\.json: hidden_size must be a whole number.*it is missing/,
  ],
  'a size that is no number': [
    () => changed({ num_experts: 'eight' }),
    'CONFIG_INVALID',
    /config\.json: num_experts must be.*"eight".*correct it/,
  ],
  'more experts per token than experts': [
    () => changed({ num_experts_per_tok: 9 }),
    'CONFIG_INVALID',
    /num_experts_per_tok must be.*at most 8/,
  ],
  'another activation': [
    () => changed({ hidden_act: 'gelu' }),
    'CONFIG_UNSUPPORTED',
    /config\.json: hidden_act must be "silu".*"gelu"/,
  ],
  'a sliding window in use': [
    () => changed({ use_sliding_window: true, sliding_window: 4096 }),
    'CONFIG_UNSUPPORTED',
    /use_sliding_window must be false/,
  ],
  'an unknown kind of RoPE': [
    () => changed({ rope_scaling: { rope_type: 'llama3', factor: 8 } }),
    'CONFIG_UNSUPPORTED',
    /rope_scaling.*rope_type must be "default" or "yarn".*"llama3"|llama3.*"default" or "yarn"/,
  ],
  'another architecture': [
    () => changed({ architectures: ['LlamaForCausalLM'], model_type: 'llama' }),
    'CONFIG_UNSUPPORTED',
    /LlamaForCausalLM.*not supported.*Qwen3MoeForCausalLM/,
  ],
  'quantised weights': [
    () => changed({ quantization_config: { quant_method: 'gptq' } }),
    'CONFIG_UNSUPPORTED',
    /"gptq"/,
  ],
  'a bad generation_config.json': [
    () => ({ 'generation_config.json': '{"temperature": -1}' }),
    'CONFIG_INVALID',
    /generation_config\.json: temperature must be.*at least 0.*-1/,
  ],
  'no weights': [
    () => ({ [weights]: undefined }),
    'FILE_NOT_FOUND',
    /made has neither model\.safetensors nor/,
  ],
  'a truncated file': [
    () => cut(100),
    'FILE_TRUNCATED',
    /made\/model\.safetensors has \d+ bytes.*download it again/,
  ],
  'an empty file': [
    () => ({ [weights]: new Uint8Array() }),
    'FILE_TRUNCATED',
    /made\/model\.safetensors has 0 bytes.*download it again/,
  ],
  'a header that ends past the file': [
    () => headerLength(50_000_000n),
    'FILE_TRUNCATED',
    /made\/model\.safetensors has \d+ bytes, but its header demands at least 50000008/,
  ],
  'a header of impossible length': [
    () => headerLength(2n ** 63n),
    'FILE_INVALID',
    /made\/model\.safetensors: its header claims 9223372036854775808 bytes/,
  ],
  'a Git LFS pointer': [
    () => ({ [weights]: 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n' }),
    'FILE_INVALID',
    /made\/model\.safetensors.*git lfs pull/,
  ],
  'a missing tensor': [
    () =>
      rewritten((header) => {
        header.something_else = header['model.norm.weight'];
        delete header['model.norm.weight'];
      }),
    'TENSOR_MISSING',
    /lacks 1 tensors.*model\.norm\.weight; it has something_else instead.*Download/,
  ],
  'a surplus tensor': [
    () =>
      rewritten((header) => {
        header['model.layers.0.self_attn.q_proj.bias'] = {
          dtype: 'BF16',
          shape: [0],
          data_offsets: [0, 0],
        };
      }),
    'TENSOR_UNEXPECTED',
    /q_proj\.bias.*another architecture/,
  ],
  'a tensor of another shape': [
    () =>
      rewritten((header) => header['model.layers.1.mlp.experts.3.up_proj.weight'].shape.reverse()),
    'TENSOR_SHAPE',
    /experts\.3\.up_proj\.weight \(\[64, 32\] instead of \[32, 64\]\).*config\.json/,
  ],
  'an unknown number type': [
    () => rewritten((header) => Object.assign(header['model.norm.weight'], { dtype: 'Q9' })),
    'TENSOR_TYPE',
    /"model\.norm\.weight" has number type "Q9".*not a type.*BF16/,
  ],
  'a number type that is not read yet': [
    () => rewritten((header) => Object.assign(header['model.norm.weight'], { dtype: 'I64' })),
    'TENSOR_TYPE',
    /"model\.norm\.weight" has number type "I64".*not read yet.*BF16/,
  ],
  'an index that is not JSON': [
    () => ({ ...sharded, [indexFile]: '{"weight_map": [' }),
    'FILE_INVALID',
    /made\/model\.safetensors\.index\.json is not JSON.*download it again/,
  ],
  'an index that names a file outside': [
    () => ({ ...sharded, [indexFile]: '{"weight_map": {"x": "../secret.safetensors"}}' }),
    'FILE_INVALID',
    /index\.json.*"x".*"\.\.\/secret\.safetensors".*not a file name/,
  ],
  'an index that names a file that is not there': [
    () => ({ ...sharded, 'a.safetensors': undefined }),
    'FILE_NOT_FOUND',
    /made lacks a\.safetensors.*download that file too/,
  ],
  'a truncated shard beside a sound one': [
    () => ({
      ...sharded,
      'b.safetensors': sound.files.get(weights)!.slice(0, 5000),
      [indexFile]: '{"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}',
    }),
    'FILE_TRUNCATED',
    /made\/b\.safetensors has 5000 bytes.*download it again/,
  ],
  'a tokenizer that is not JSON': [
    () => ({ 'tokenizer.json': '{"model": {' }),
    'FILE_INVALID',
    /made\/tokenizer\.json is not JSON.*download it again/,
  ],
  'a tokenizer of another kind': [
    () => ({ 'tokenizer.json': '{"model": {"type": "Unigram", "vocab": []}}' }),
    'TOKENIZER_INVALID',
    /made\/tokenizer\.json: its model is "Unigram".*Qwen3/,
  ],
  'the tokenizer of another model': [
    () => ({ 'tokenizer.json': tokenizerOfOther }),
    'TOKENIZER_INVALID',
    /made\/tokenizer\.json has 4\d{3} tokens and the model 256; take both from the same/,
  ],
  'a chat template with a mistake': [
    () => ({ 'chat_template.jinja': '{% for message in %}' }),
    'TEMPLATE_FAILED',
    /chat_template\.jinja.*cannot be parsed/,
  ],
};

describe('files', () => {
  test.each(Object.keys(badFiles))('%s', async (name) => {
    const [files, code, message] = badFiles[name];
    expect(await refusal(new Overlay(sound, files()))).toMatchObject(failure(code, message));
  });

  test('a folder that does not exist, and a file in place of one', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'mowgli-model-'));
    try {
      const path = join(folder, 'nowhere');
      await expect(loadModel(path)).rejects.toMatchObject(
        failure('FILE_NOT_FOUND', /There is no folder .*nowhere; pass the folder that holds/),
      );
      await writeFile(path, 'x');
      await expect(loadModel(path)).rejects.toMatchObject(
        failure('FILE_NOT_FOUND', /nowhere is a file, not a folder; pass the folder that holds/),
      );
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test.runIf(process.platform === 'linux')('on disk are closed, too', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'mowgli-model-'));
    const openHere = async () => {
      const links = await Promise.all(
        (await readdir('/proc/self/fd')).map((fd) =>
          readlink(`/proc/self/fd/${fd}`).catch(() => ''),
        ),
      );
      return links.filter((path) => path.startsWith(folder));
    };
    try {
      for (const [file, bytes] of sound.files) await writeFile(join(folder, file), bytes);
      await using _ = await loadModel(folder, { context: 32, chunk: 8 });
      expect(await openHere()).toEqual([]);
      const badShape = rewritten((header) => header['model.embed_tokens.weight'].shape.reverse());
      for (const bytes of [badShape[weights], cut(100)[weights]]) {
        await writeFile(join(folder, weights), bytes);
        await expect(loadModel(folder)).rejects.toMatchObject({ name: 'MowgliError' });
        expect(await openHere()).toEqual([]);
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test.each([1, 2, 5, 6, 7, 30, 55])('read %i fails', async (at) => {
    const broken = new Error('the disk is gone');
    const error = await refusal(sound, { context: 32, chunk: 8 }, (folder) => {
      folder.onRead = (read) => {
        if (read === at) throw broken;
      };
    });
    expect(error).toBe(broken);
  });

  test('a file that fails to close', async () => {
    const broken = new Error('the disk is gone');
    let closed = 0;
    const error = await refusal(sound, { context: 32, chunk: 8 }, (folder) => {
      folder.onClose = () => {
        if (++closed === 3) throw broken; // after the two configurations: the weights
      };
    });
    expect(error).toBe(broken);
  });
});

describe('options of loading', () => {
  test.each<[Record<string, unknown>, RegExp]>([
    [{ context: 0 }, /context is 0; pass an integer of at least 1/],
    [{ context: 1.5 }, /context is 1\.5; pass an integer/],
    [{ context: Number.NaN }, /context is NaN; pass an integer/],
    [{ context: '64' }, /context is 64; pass an integer/],
    [{ context: 40000 }, /context is 40000.*made for 32768 tokens; use at most that many/],
    [{ chunk: 0 }, /chunk is 0; pass an integer of at least 1/],
    [{ chunk: 1.5 }, /chunk is 1\.5; pass an integer/],
    [{ chunk: -8 }, /chunk is -8; pass an integer/],
    [{ kvType: 'q8' }, /kvType is q8; it must be f32 or f16/],
  ])('%j', async (options, message) => {
    expect(await refusal(sound, { context: 32, chunk: 8, ...options })).toMatchObject(
      failure('OPTION_INVALID', message),
    );
  });

  test('an adapter that there is not', async () => {
    const adapter = 'voodoo' as 'auto';
    await expect(loadModel(sound, { adapter })).rejects.toMatchObject(
      failure('OPTION_INVALID', /adapter is 'voodoo'.*one of auto, native, lavapipe, swiftshader/),
    );
  });
});

describe('aborting a load', () => {
  const aborted = failure('ABORTED', /aborted/);

  test('before it begins', async () => {
    const signal = AbortSignal.abort();
    expect(await refusal(sound, { signal })).toMatchObject(aborted);
  });

  test.each([1, 2, 3, 4, 5, 6, 20, 50])('at read %i', async (at) => {
    const controller = new AbortController();
    const { signal } = controller;
    const error = await refusal(sound, { context: 32, chunk: 8, signal }, (folder) => {
      folder.onRead = (read) => {
        if (read === at) controller.abort();
      };
    });
    expect(error).toMatchObject(aborted);
  });

  test.each<[LoadProgress['phase'], number]>([
    ['weights', 1],
    ['weights', 30],
    ['kernels', 1],
    ['kernels', 2],
    ['kernels', 3],
  ])('at progress of %s, call %i', async (phase, at) => {
    const controller = new AbortController();
    let calls = 0;
    const error = await refusal(sound, {
      context: 32,
      chunk: 8,
      signal: controller.signal,
      onProgress: (progress) => {
        if (progress.phase === phase && ++calls === at) controller.abort();
      },
    });
    expect(error).toMatchObject(aborted);
  });

  test('an error of the listener is the caller’s own', async () => {
    const mine = new Error('mine');
    for (const phase of ['weights', 'kernels']) {
      const onProgress = (progress: LoadProgress) => {
        if (progress.phase === phase) throw mine;
      };
      expect(await refusal(sound, { context: 32, onProgress })).toBe(mine);
    }
  });

  test('progress of weights ends at their total, whatever else the file holds', async () => {
    const made = await madeModel({ config: { tie_word_embeddings: false } });
    const tied = new Overlay(made, changed({ tie_word_embeddings: true })); // lm_head is surplus
    const last = { done: 0, total: -1 };
    await using model = await loadModel(tied, {
      context: 32,
      chunk: 8,
      onProgress: ({ phase, done, total }) => {
        if (phase === 'weights') Object.assign(last, { done, total });
      },
    });
    expect(last.done).toBe(last.total);
    expect(model.config.tieWordEmbeddings).toBe(true);
  });
});

describe('a generation', () => {
  let model: Model;
  beforeAll(async () => {
    model = await loadModel(sound, { context: 32, chunk: 8 });
  });
  afterAll(() => model?.dispose());

  const tokens = [1, 2, 3];
  const prompt: Prompt = { tokens };
  const bad = (value: unknown) => value as never;

  test.each<[string, Prompt, GenerateOptions, ErrorCode, RegExp]>([
    ['no tokens', { tokens: [] }, {}, 'OPTION_INVALID', /no tokens.*give at least one/],
    [
      'a token past the vocabulary',
      { tokens: [1, 256] },
      {},
      'OPTION_INVALID',
      /256 is not a token id.*0 to 255/,
    ],
    ['a negative token', { tokens: [-1] }, {}, 'OPTION_INVALID', /-1 is not a token id/],
    ['half a token', { tokens: [1, 2.5] }, {}, 'OPTION_INVALID', /2\.5 is not a token id/],
    [
      'a hole',
      { tokens: bad([1, undefined, 3]) },
      {},
      'OPTION_INVALID',
      /undefined is not a token id/,
    ],
    ['tokens as text', { tokens: bad('1 2 3') }, {}, 'OPTION_INVALID', /prompt is neither text/],
    ['no prompt', bad(null), {}, 'OPTION_INVALID', /prompt is neither text.*pass one of these/],
    ['a number for a prompt', bad(5), {}, 'OPTION_INVALID', /prompt is neither text/],
    [
      '33 tokens',
      { tokens: Array(33).fill(1) },
      {},
      'CONTEXT_EXCEEDED',
      /33 tokens.*context holds 32.*shorten/,
    ],
    [
      'text without a tokenizer',
      'Hello',
      {},
      'TOKENIZER_INVALID',
      /made has no tokenizer\.json; add the file.*or give token ids/,
    ],
    [
      'messages without a template',
      [{ role: 'user', content: 'Hi' }],
      {},
      'TEMPLATE_FAILED',
      /made has no chat template.*give the prompt as text/,
    ],
    [
      'temperature -1',
      prompt,
      { temperature: -1 },
      'OPTION_INVALID',
      /temperature: -1 is not allowed; pass/,
    ],
    [
      'temperature NaN',
      prompt,
      { temperature: Number.NaN },
      'OPTION_INVALID',
      /temperature: NaN is not allowed/,
    ],
    [
      'temperature Infinity',
      prompt,
      { temperature: Number.POSITIVE_INFINITY },
      'OPTION_INVALID',
      /temperature: Infinity/,
    ],
    [
      'temperature hot',
      prompt,
      { temperature: bad('hot') },
      'OPTION_INVALID',
      /temperature: "hot" is not allowed/,
    ],
    ['topP 2', prompt, { topP: 2 }, 'OPTION_INVALID', /topP: 2 is not allowed; pass 0 to 1/],
    [
      'topK 1.5',
      prompt,
      { topK: 1.5 },
      'OPTION_INVALID',
      /topK: 1\.5 is not allowed; pass an integer/,
    ],
    ['topK -1', prompt, { topK: -1 }, 'OPTION_INVALID', /topK: -1 is not allowed/],
    [
      'minP -0.1',
      prompt,
      { minP: -0.1 },
      'OPTION_INVALID',
      /minP: -0\.1 is not allowed; pass 0 to 1/,
    ],
    [
      'repetitionPenalty 0',
      prompt,
      { repetitionPenalty: 0 },
      'OPTION_INVALID',
      /repetitionPenalty: 0 is not/,
    ],
    [
      'presencePenalty 3',
      prompt,
      { presencePenalty: 3 },
      'OPTION_INVALID',
      /presencePenalty: 3 is not/,
    ],
    [
      'frequencyPenalty NaN',
      prompt,
      { frequencyPenalty: Number.NaN },
      'OPTION_INVALID',
      /frequencyPenalty: NaN/,
    ],
    [
      'seed 0.5',
      prompt,
      { seed: 0.5 },
      'OPTION_INVALID',
      /seed: 0\.5 is not allowed; pass an integer/,
    ],
    [
      'logitBias of no token',
      prompt,
      { logitBias: { 256: 1 } },
      'OPTION_INVALID',
      /logitBias: 256 is not a token; pass ids from 0 to 255/,
    ],
    [
      'logitBias Infinity',
      prompt,
      { logitBias: { 1: Number.POSITIVE_INFINITY } },
      'OPTION_INVALID',
      /logitBias\[1\]: Infinity/,
    ],
    [
      'logitBias that forbids all',
      prompt,
      {
        logitBias: new Map(Array.from({ length: 256 }, (_, id) => [id, Number.NEGATIVE_INFINITY])),
      },
      'OPTION_INVALID',
      /logitBias leaves no token.*forbid fewer/,
    ],
    [
      'maxTokens 0',
      prompt,
      { maxTokens: 0 },
      'OPTION_INVALID',
      /maxTokens is 0; pass an integer of at least 1/,
    ],
    ['maxTokens 1.5', prompt, { maxTokens: 1.5 }, 'OPTION_INVALID', /maxTokens is 1\.5/],
    [
      'an empty stop text',
      prompt,
      { stop: ['end', ''] },
      'OPTION_INVALID',
      /stop: "" is not allowed/,
    ],
    [
      'a stop token that there is not',
      prompt,
      { stopTokenIds: [256] },
      'OPTION_INVALID',
      /stopTokenIds: 256 is not a token.*0 to 255/,
    ],
    [
      'half a stop token',
      prompt,
      { stopTokenIds: [1.5] },
      'OPTION_INVALID',
      /stopTokenIds: 1\.5 is not a token/,
    ],
  ])('%s', async (_, given, options, code, message) => {
    // The buffer for readbacks grows once with what is read, and stays.
    const memory = () => ({ ...model.memory().byLabel, readback: 0 });
    const before = memory();
    const { error, parts } = await completion(model, given, options);
    expect(error).toMatchObject(failure(code, message));
    expect(parts).toEqual([]);
    expect(memory()).toEqual(before);
  });

  test('still works after all that', async () => {
    const { end } = await complete(model, prompt, { ...greedy, maxTokens: 4 });
    expect(end?.tokens).toHaveLength(4);
    await expect(model.logits([])).rejects.toMatchObject(failure('OPTION_INVALID', /no tokens/));
    await expect(model.logits([999])).rejects.toMatchObject(
      failure('OPTION_INVALID', /999 is not a token id/),
    );
    expect(await model.logits(tokens)).toHaveLength(256);
    expect(() => model.tokenize('x')).toThrow(/no tokenizer\.json/);
    expect(() => model.detokenize([1])).toThrow(/no tokenizer\.json/);
  });
});
