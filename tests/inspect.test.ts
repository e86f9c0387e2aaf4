import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ByteFolder } from '../src/files/byte-source.ts';
import { type Checkpoint, openCheckpoint } from '../src/files/checkpoint.ts';
import { expectedTensors } from '../src/files/expected-tensors.ts';
import { parseModelConfig } from '../src/files/model-config.ts';
import { presets } from '../src/files/presets.ts';
import { elementCount } from '../src/files/tensors.ts';
import { describeModel, type ModelReport } from '../src/model-report.ts';
import { NodeFolder } from '../src/node/folder.ts';
import { loadModel } from '../src/node.ts';
import { formatBytes, type NumberType } from '../src/quant/index.ts';
import { runCli } from './run-cli.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const tinyCoder = join(root, 'models/tiny-coder');

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mowgli-inspect-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** A model of some configuration, without a file: its tensors are only described. */
function headersOnly(
  configJson: object,
  typeOf: (name: string) => NumberType = () => 'BF16',
): Checkpoint {
  const config = parseModelConfig(configJson);
  const tensors = new Map(
    Array.from(expectedTensors(config), ({ name, shape }) => {
      const type = typeOf(name);
      return [name, { name, type, shape, bytes: formatBytes(type, elementCount(shape)) }];
    }),
  );
  const read = () => expect.unreachable('a weight was read');
  return {
    name: 'made',
    config,
    generationDefaults: {},
    tensors: { tensors, read, close: async () => {} },
    tokenizerJson: undefined,
    tokenizerConfig: undefined,
    chatTemplateFile: undefined,
    close: async () => {},
  };
}

describe('describeModel', () => {
  // What the model cards say, and what follows from the shapes by hand.
  test('Qwen3-Coder-30B-A3B: 30.5 B parameters, 3.3 B active', async () => {
    const report = await describeModel(headersOnly(presets.coder30b.configJson));
    expect(report.parameters.total / 1e9).toBeCloseTo(30.53, 2);
    expect(report.parameters.active / 1e9).toBeCloseTo(3.35, 2);
    expect(report.bytes).toBe(61064245248); // total_size of its index
    const expert = 3 * 2048 * 768 * 2;
    expect(report.memory).toMatchObject({
      expertBytes: { smallest: expert, largest: expert },
      expertsPerLayer: 128,
      sparseLayers: 48,
      allExpertsBytes: 48 * 128 * expert,
      activeExpertsBytes: 48 * 8 * expert,
      kvBytesPerToken: { f32: 48 * 2 * 4 * 128 * 4, f16: 48 * 2 * 4 * 128 * 2 },
    });
    const { residentBytes, allExpertsBytes } = report.memory;
    // Norms are F32 on the device: so many bytes more than in the file.
    const norms = (48 * (2 * 2048 + 2 * 128) + 2048) * 2;
    expect(residentBytes + allExpertsBytes).toBe(report.bytes + norms);
    expect(report.tokenizer).toBeUndefined();
    expect(report.chatTemplate).toBeUndefined();
    expect(report.endTokens).toEqual([{ id: 151645, text: undefined }]);
  });

  test('Qwen3-Coder-480B-A35B in FP8: 35 B active, experts in blocks with their scales', async () => {
    const fp8 = (name: string) => (/_proj\.weight$/.test(name) ? 'F8_B128' : 'BF16');
    const report = await describeModel(headersOnly(presets.coder480b.configJson, fp8));
    expect(report.parameters.total / 1e9).toBeCloseTo(480.15, 2);
    expect(report.parameters.active / 1e9).toBeCloseTo(35.46, 1);
    expect(report.memory.expertBytes.largest).toBe((3 * 6144 * 2560 * 132) / 128);
    expect(report.types.map(({ type }) => type)).toEqual(['F8_B128', 'BF16']);
    expect(report.types.reduce((sum, { parameters }) => sum + parameters, 0)).toBe(
      report.parameters.total,
    );
    expect(report.groups.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(report.bytes);
  });

  test('dense layers, mixed types, padding, a tied output and YaRN', async () => {
    const configJson = {
      ...presets.tiny.configJson,
      ...{ hidden_size: 36, moe_intermediate_size: 20, intermediate_size: 50 },
      ...{ mlp_only_layers: [0], tie_word_embeddings: true, head_dim: 6 },
      max_position_embeddings: 131072,
      rope_scaling: {
        rope_type: 'yarn',
        factor: 4,
        original_max_position_embeddings: 32768,
      },
    };
    const oddExpert = 'model.layers.2.mlp.experts.5.up_proj.weight';
    const typeOf = (name: string) => (name === oddExpert ? 'F32' : 'BF16');
    const { memory, context, shape, groups } = await describeModel(headersOnly(configJson, typeOf));
    expect(context).toMatchObject({ longest: 131072, yarn: { factor: 4 } });
    expect(shape).toMatchObject({ layers: 4, sparseLayers: 3, tiedEmbeddings: true });
    // [20, 36 -> 40] twice and [36, 20 -> 24], in BF16; all of layer 2's `up` has to become F32.
    const plain = 2 * (2 * 20 * 40 + 36 * 24);
    expect(memory.expertBytes).toEqual({ smallest: plain, largest: plain + 2 * 20 * 40 });
    expect(memory.allExpertsBytes).toBe(16 * (3 * plain + 2 * 20 * 40));
    expect(memory.kvBytesPerToken.f32).toBe(4 * 2 * 2 * 8 * 4); // heads are padded from 6 to 8
    const up = groups.find(({ kind }) => kind === 'experts.up')!;
    expect(up.types).toEqual({ BF16: 47, F32: 1 });
    expect(groups.find(({ kind }) => kind === 'dense.up')!.shapes).toEqual([[50, 36]]);
    expect(groups.some(({ kind }) => kind === 'output')).toBe(false);
  });

  test('needs what the engine then takes', async () => {
    const report = await describeModel(await openCheckpoint(await NodeFolder.open(tinyCoder)));
    const context = 256;
    await using model = await loadModel(tinyCoder, { context, chunk: 16 });
    const used: Record<string, number> = { ...model.memory().byLabel };
    const { memory } = report;
    // Buffers are whole words of 16 bytes or so; nothing more may be missing.
    expect(Math.abs(used.weights / memory.residentBytes - 1)).toBeLessThan(0.002);
    expect(used.experts).toBe(memory.allExpertsBytes);
    expect(used['kv cache']).toBe(context * memory.kvBytesPerToken.f32);
  });

  test('reads no weights', async () => {
    const below = await NodeFolder.open(tinyCoder);
    const reads: [string, number][] = [];
    const watched: ByteFolder = {
      name: below.name,
      async open(file) {
        const source = await below.open(file);
        if (source === undefined) return undefined;
        return {
          name: source.name,
          size: source.size,
          read: (offset, length, options) => {
            reads.push([file, offset + length]);
            return source.read(offset, length, options);
          },
          close: () => source.close(),
        };
      },
    };
    const checkpoint = await openCheckpoint(watched);
    await describeModel(checkpoint);
    await checkpoint.close();
    const ofWeights = reads.filter(([file]) => file.endsWith('.safetensors'));
    expect(ofWeights).not.toHaveLength(0);
    for (const [, end] of ofWeights) expect(end).toBeLessThan(100_000); // 288 tensors, 23 MB
  });
});

async function inspectJson(path: string, ...flags: string[]) {
  const { code, stdout, stderr } = await runCli(['inspect', path, '--json', ...flags]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout) as ModelReport & {
    container: string;
    memoryBytes: number;
    fits: { contextTokens: number; totalBytes: number; fitsMemory: boolean }[];
    tensors?: { name: string }[];
  };
}

describe('mowgli inspect', () => {
  test('tells people of a folder', async () => {
    const { code, stdout, stderr } = await runCli(['inspect', tinyCoder]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    for (const line of [
      /^architecture +Qwen3MoeForCausalLM$/m,
      /^parameters +11\.6 M, of which 5\.7 M active per token$/m,
      /^experts +16 per layer, 4 per token, of 128$/m,
      /^tokenizer +byte-level BPE, 4096 tokens, 0 padding rows$/m,
      /^end tokens +4086 <\|im_end\|>, 4084 <\|endoftext\|>$/m,
      /^chat template +sha256 [0-9a-f]{12}, .*tools \(xml\)/m,
      /^\| BF16 +\| +288 \|/m,
      /^\| experts\.down \| +80 \| \[256, 128\] +\| BF16 /m,
      /^one expert +192 KiB$/m,
      /^KV cache per token +5 KiB \(f32\), 2\.5 KiB \(f16\)$/m,
      /^\| +4096 \| f16 +\| +10 MiB \|/m,
    ]) {
      expect(stdout).toMatch(line);
    }
    expect(stdout).not.toContain('model.layers.0');
  });

  test('tells programs, with every tensor when asked', async () => {
    const plain = await inspectJson(tinyCoder);
    expect(plain.tensors).toBeUndefined();
    expect(plain.container).toBe('safetensors');
    const report = await inspectJson(tinyCoder, '--tensors');
    expect(report.tensors).toHaveLength(288);
    expect(report.tensors).toContainEqual({
      name: 'model.layers.4.mlp.experts.15.down_proj.weight',
      ...{ type: 'BF16', shape: [256, 128], bytes: 65536 },
    });
    const text = await readFile(join(tinyCoder, 'tokenizer_config.json'), 'utf8');
    const sha256 = createHash('sha256').update(JSON.parse(text).chat_template).digest('hex');
    expect(report.chatTemplate).toMatchObject({ sha256, names: ['default'] });
    for (const { totalBytes, fitsMemory } of report.fits) {
      expect(fitsMemory).toBe(totalBytes <= report.memoryBytes);
    }
  });

  test('tells the same of a GGUF file, and of any part of a split one', async () => {
    const original = await inspectJson(tinyCoder);
    const single = join(folder, 'single.gguf');
    const parts = join(folder, 'parts');
    await mkdir(parts);
    await makeGguf(single, '--type', 'BF16');
    await makeGguf(join(parts, 'split.gguf'), '--type', 'Q8_0', '--part-bytes', '5e6');
    const whole = await inspectJson(single);
    expect(whole.container).toBe('GGUF');
    for (const key of ['shape', 'parameters', 'context', 'tokenizer'] as const) {
      expect(whole[key], key).toEqual(original[key]);
    }
    expect(whole.chatTemplate!.sha256).toBe(original.chatTemplate!.sha256);
    expect(whole.memory.allExpertsBytes).toBe(original.memory.allExpertsBytes);

    for (const path of [parts, join(parts, 'split-00002-of-00003.gguf')]) {
      const split = await inspectJson(path);
      expect(split.parameters).toEqual(original.parameters);
      expect(split.types.map(({ type }) => type)).toEqual(['Q8_0', 'F32']);
      expect(split.memory.expertBytes.largest).toBe((3 * 256 * 128 * 34) / 32);
    }
  });

  test('--help shows examples', async () => {
    const { code, stdout } = await runCli(['inspect', '--help']);
    expect(code).toBe(0);
    expect(stdout).toContain('Usage: mowgli inspect [options] <model>');
    expect(stdout).toContain('$ mowgli inspect');
  });

  test.each([
    [['inspect'], 2, /^mowgli: missing required argument 'model'\n$/],
    [['inspect', '/no/such/model'], 1, /^mowgli: .*\/no\/such\/model.*\n$/],
    [['inspect', root], 1, /^mowgli: .*no config\.json.*\n$/],
    [['inspect', join(root, 'package.json')], 1, /^mowgli: .*package\.json.*\n$/],
  ] as const)('%j fails in one line', async (args, status, message) => {
    const { code, stdout, stderr } = await runCli(args);
    expect(stderr).toMatch(message);
    expect({ code, stdout }).toEqual({ code: status, stdout: '' });
  });
});

async function makeGguf(file: string, ...flags: string[]): Promise<void> {
  const script = join(root, 'scripts/make-gguf.ts');
  await promisify(execFile)(process.execPath, [
    ...['--import', 'tsx', script, tinyCoder, file],
    ...flags,
  ]);
}
