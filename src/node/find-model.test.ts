import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import type { Checkpoint } from '../files/checkpoint.ts';
import { checkTensors, expectedTensors } from '../files/expected-tensors.ts';
import { openModel } from '../files/open-model.ts';
import { isSynthetic, syntheticModel } from '../files/synthetic-model.ts';
import { elementCount } from '../files/tensors.ts';
import { findModel } from './find-model.ts';

const configs = fileURLToPath(new URL('../../tests/data/configs', import.meta.url));
const config30b = `${configs}/Qwen3-Coder-30B-A3B-Instruct/config.json`;
const config480b = `${configs}/Qwen3-Coder-480B-A35B-Instruct/config.json`;

const open = async (name: string) => openModel(await findModel(name));

function totalBytes(tensors: ReadonlyMap<string, { bytes: number }>): number {
  return [...tensors.values()].reduce((sum, { bytes }) => sum + bytes, 0);
}

describe('a synthetic model', () => {
  it('has the tensors of the published 30B, and as many bytes', async () => {
    const { tensors } = await open(`synthetic:${config30b}`);
    const file = config30b.replace(/config\.json$/, 'model.safetensors.index.json.gz');
    const index = JSON.parse(gunzipSync(readFileSync(file)).toString()) as {
      metadata: { total_size: number };
      weight_map: Record<string, string>;
    };
    const names = (keys: Iterable<string>) => [...keys].sort().join('\n');
    expect(names(tensors.tensors.keys()) === names(Object.keys(index.weight_map))).toBe(true);
    expect(totalBytes(tensors.tensors)).toBe(index.metadata.total_size);
  });

  it.each([
    [config30b, 'qwen3-coder-30b', 'coder30b'],
    [config480b, 'qwen3-coder-480b', 'coder480b'],
  ])('of %s is the preset %s', async (path, name, shortName) => {
    const [fromFile, preset, short] = await Promise.all(
      [path, name, shortName].map((place) => open(`synthetic:${place}?type=q4_k&seed=3`)),
    );
    // As text: to compare tens of thousands of objects takes minutes.
    const header = ({ tensors }: Checkpoint) => JSON.stringify([...tensors.tensors]);
    expect(header(preset) === header(fromFile)).toBe(true);
    expect(short.config).toEqual(preset.config);
    expect(fromFile.config.eosTokenIds).toEqual(preset.config.eosTokenIds);
    expect(fromFile.generationDefaults).toEqual(preset.generationDefaults);
    checkTensors(preset.config, preset.tensors.tensors, preset.name);
    expect(preset.tensors.tensors.size).toBe([...expectedTensors(preset.config)].length);
    const tensor = 'model.layers.47.mlp.experts.127.down_proj.weight';
    const bytes = await preset.tensors.read(tensor);
    expect(Buffer.compare(bytes, await fromFile.tensors.read(tensor))).toBe(0);
    // Q4_K: 4.5 bits per weight; norms and routers are F32.
    const values = [...preset.tensors.tensors.values()].map(({ shape }) => elementCount(shape));
    const bits =
      (8 * totalBytes(preset.tensors.tensors)) / values.reduce((sum, count) => sum + count, 0);
    expect(bits).toBeGreaterThan(4.5);
    expect(bits).toBeLessThan(4.52);
  });

  it('is found in a folder, and takes the number of layers asked for', async () => {
    const folder = config480b.replace('/config.json', '');
    const { config, tensors, name } = await open(`synthetic:${folder}?layers=2&type=fp8`);
    expect(config.numHiddenLayers).toBe(2);
    expect(config.sparseLayers).toEqual([true, true]);
    expect(tensors.tensors.get('model.layers.1.self_attn.q_proj.weight')?.type).toBe('F8_B128');
    expect(tensors.tensors.has('model.layers.2.input_layernorm.weight')).toBe(false);
    expect(name).toBe(`synthetic:${folder}?layers=2&type=fp8`);
  });

  it('has other weights with another seed, and no tokenizer', async () => {
    const one = await open('synthetic:tiny?seed=1&type=Q8_0');
    const two = await open('synthetic:tiny?seed=2&type=Q8_0');
    const tensor = 'model.layers.0.self_attn.q_proj.weight';
    const bytes = await one.tensors.read(tensor);
    expect(Buffer.compare(bytes, await two.tensors.read(tensor))).not.toBe(0);
    expect(one.tokenizerJson).toBeUndefined();
    await one.close();
    await expect(one.tensors.read(tensor)).rejects.toMatchObject({ code: 'DISPOSED' });
  });

  it('takes a format for each kind of matrix', async () => {
    const name = 'synthetic:mid?type=bf16&experts_type=iq4_xs&down_type=Q6_K&embed_type=q8_0';
    expect(await syntheticModel(name)).toMatchObject({
      type: 'BF16',
      expertsType: 'IQ4_XS',
      downType: 'Q6_K',
      embedType: 'Q8_0',
    });
  });

  it.each([
    ['synthetic:', /"" is neither a preset nor a file; name one of tiny, .*qwen3-coder-480b, or/],
    ['synthetic:toString', /"toString" is neither/],
    ['synthetic:no/such/config.json?seed=1', /"no\/such\/config.json" is neither/],
    ['synthetic:tiny?tpye=q4_k', /there is no option "tpye"; the options are type, .*layers/],
    ['synthetic:tiny?type=q4_9', /type is "q4_9"; it must be one of F32, .*F8_B128/],
    ['synthetic:tiny?type=f8_e4m3', /type is "f8_e4m3"; it must be/],
    ['synthetic:tiny?type=', /type is ""/],
    ['synthetic:tiny?seed=-1', /seed is "-1"; it must be a whole number from 0 to 4294967295/],
    ['synthetic:tiny?seed=4294967296', /seed is "4294967296"/],
    ['synthetic:tiny?layers=0', /layers is "0"; it must be a whole number from 1 to 1024/],
    ['synthetic:tiny?layers=1e2', /layers is "1e2"/],
    ['synthetic:tiny?seed=1&seed=2', /seed is given twice/],
  ])('is refused as %s', async (name, message) => {
    expect(isSynthetic(name)).toBe(true);
    const failure = await findModel(name).catch((error) => error);
    expect(failure).toMatchObject({ code: 'OPTION_INVALID' });
    expect(failure.message).toMatch(message);
    expect(failure.message.startsWith(`${name}: `)).toBe(true);
  });

  it('of a file that is no configuration says so', async () => {
    const file = fileURLToPath(import.meta.url);
    await expect(findModel(`synthetic:${file}`)).rejects.toMatchObject({ code: 'FILE_INVALID' });
  });
});
