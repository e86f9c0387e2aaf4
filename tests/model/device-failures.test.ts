import { describe, expect, test } from 'vitest';
import type { Gpu } from '../../src/gpu/device.ts';
import {
  type ErrorCode,
  type GenerateOptions,
  loadModelOn,
  type MemoryFolder,
  Model,
  openGpuInNode,
} from '../../src/node.ts';
import { complete, completion, greedy } from './complete.ts';
import { openFaultyGpu } from './faulty-gpu.ts';
import { type Making, madeModel, WatchedFolder } from './folders.ts';

const options = { context: 128, chunk: 8 };
const prompt = { tokens: [1, 2, 3] };
const long = { tokens: Array.from({ length: 120 }, (_, i) => i) };

const failure = (code: ErrorCode, message: RegExp) => ({
  name: 'MowgliError',
  code,
  message: expect.stringMatching(message),
});

describe('out of memory', () => {
  const outOfMemory = failure('OUT_OF_MEMORY', /memory|bytes left.*smaller context|use a smaller/s);

  test('at any buffer while loading: everything is given back, or fewer experts fit', async () => {
    const made = await madeModel();
    const sound = await openFaultyGpu();
    const model = await loadModelOn(async () => sound.gpu, made, options);
    const buffers = sound.buffers();
    const { tokens: expected } = await complete(model, prompt, { ...greedy, maxTokens: 4 });
    await model.dispose();
    expect(buffers).toBeGreaterThan(40);

    let streaming = 0;
    for (let n = 1; n <= buffers; n++) {
      const { gpu } = await openFaultyGpu({ outOfMemoryAt: n });
      const folder = new WatchedFolder(made);
      const loaded = await loadModelOn(async () => gpu, folder, options).catch((error) => error);
      if (loaded instanceof Model) {
        const { slots, experts } = loaded.expertUsage();
        expect(slots).toBeLessThan(experts);
        const { tokens } = await complete(loaded, prompt, { ...greedy, maxTokens: 4 });
        expect(tokens).toEqual(expected);
        await loaded.dispose();
        streaming++;
      } else {
        expect(loaded, `buffer ${n} of ${buffers}`).toMatchObject(outOfMemory);
      }
      expect(gpu.ledger.byLabel(), `after buffer ${n}`).toEqual({});
      expect(gpu.ledger.bytes).toBe(0);
      expect(folder.openFiles).toBe(0);
    }
    // Gate and up of the experts, and down: there were to be two slabs of slots.
    expect(streaming).toBe(2);
  });

  test('a size beyond the device is refused before it is asked for', async () => {
    const folder = new WatchedFolder(await madeModel());
    let gpu: Gpu | undefined;
    const load = (maxBindingBytes: number, context: number) =>
      loadModelOn(
        async () => {
          gpu = await openGpuInNode({ capabilities: { maxBindingBytes } });
          return gpu;
        },
        folder,
        { context },
      );
    await expect(load(16384, 1024)).rejects.toMatchObject(
      failure('OUT_OF_MEMORY', /context of 1024 tokens.*use a context of 256 tokens or less, or/s),
    );
    expect(gpu!.ledger.bytes).toBe(0);
    await expect(load(4096, 64)).rejects.toMatchObject(
      failure(
        'OUT_OF_MEMORY',
        /matrices of one expert take 8192 bytes in BF16.*smaller number format/s,
      ),
    );
    expect(gpu!.ledger.bytes).toBe(0);
    expect(folder.openFiles).toBe(0);
  });
});

describe('a device that is lost', () => {
  const lost = failure('DEVICE_LOST', /test pulled it.*load the model again/s);

  async function faulty(): Promise<{ model: Model; gpu: Gpu; lose: () => void }> {
    const { gpu, lose } = await openFaultyGpu();
    // A context that no device fills within the milliseconds of these tests.
    const model = await loadModelOn(async () => gpu, await madeModel(), {
      ...options,
      context: 4096,
    });
    return { model, gpu, lose: () => lose('test pulled it') };
  }

  test.each([0, 1, 8, 20])('while loading, at read %i', async (at) => {
    const { gpu, lose } = await openFaultyGpu();
    const folder = new WatchedFolder(await madeModel());
    folder.onRead = (read) => {
      if (read === at) lose('test pulled it');
    };
    if (at === 0) lose('test pulled it');
    await expect(loadModelOn(async () => gpu, folder, options)).rejects.toMatchObject(lost);
    expect(gpu.ledger.bytes).toBe(0);
    expect(folder.openFiles).toBe(0);
  });

  test.each<[string, GenerateOptions]>([
    ['greedy', greedy],
    ['candidates', { temperature: 1, topK: 20 }],
    ['all logits', { temperature: 1, topK: 0 }],
  ])('during decoding (%s)', async (_, sampling) => {
    const { model, gpu, lose } = await faulty();
    let texts = 0;
    const { error, tokens } = await completion(model, prompt, sampling, () => {
      if (++texts === 4) lose();
    });
    expect(error).toMatchObject(lost);
    expect(tokens).toHaveLength(4);
    // It stays lost, and says so to everybody.
    expect((await completion(model, prompt)).error).toMatchObject(lost);
    await expect(model.logits([1])).rejects.toMatchObject(lost);
    await model.dispose();
    expect(gpu.ledger.bytes).toBe(0);
  });

  test('during a long prompt', async () => {
    const { model, gpu, lose } = await faulty();
    const { error, parts } = await completion(model, long, { onProgress: lose });
    expect(error).toMatchObject(lost);
    expect(parts).toEqual([]);
    await model.dispose();
    expect(gpu.ledger.bytes).toBe(0);
  });

  test.each([0, 3, 10, 25])('destroyed beneath everything, after %i ms', async (ms) => {
    const { model, gpu } = await faulty();
    setTimeout(() => gpu.device.destroy(), ms);
    const { error } = await completion(model, long, greedy);
    expect(error).toMatchObject(failure('DISPOSED', /GPU device was disposed of/));
    await model.dispose();
    expect(gpu.ledger.bytes).toBe(0);
  });

  test('destroyed between two tokens', async () => {
    const { model, gpu } = await faulty();
    const { error } = await completion(model, prompt, greedy, () => gpu.device.destroy());
    expect(error).toMatchObject(failure('DISPOSED', /GPU device was disposed of/));
    await model.dispose();
    expect(gpu.ledger.bytes).toBe(0);
  });
});

describe('weights that are not numbers', () => {
  const broken = failure('GPU_ERROR', /logit.*Check the model files/s);
  const set =
    (
      name: string,
      value: number,
      first = 0,
      count = Number.POSITIVE_INFINITY,
    ): NonNullable<Making['edit']> =>
    (tensor, values) => {
      if (tensor === name) values.fill(value, first, first + count);
    };
  const layer = 'model.layers.1';

  test.each<[string, NonNullable<Making['edit']>]>([
    ['NaN in the embedding', set('model.embed_tokens.weight', Number.NaN)],
    [
      'one NaN in the embedding of a token',
      set('model.embed_tokens.weight', Number.NaN, 64 * 2, 1),
    ],
    ['NaN in a norm', set(`${layer}.input_layernorm.weight`, Number.NaN, 5, 1)],
    ['NaN in k_norm', set(`${layer}.self_attn.k_norm.weight`, Number.NaN, 0, 1)],
    ['NaN in q_proj', set(`${layer}.self_attn.q_proj.weight`, Number.NaN, 0, 1)],
    ['NaN in v_proj', set(`${layer}.self_attn.v_proj.weight`, Number.NaN, 0, 1)],
    ['NaN in a whole router', set(`${layer}.mlp.gate.weight`, Number.NaN)],
    ['one NaN in a router', set(`${layer}.mlp.gate.weight`, Number.NaN, 64 * 5, 1)],
    [
      'infinity in every expert',
      (tensor, values) => {
        if (tensor.includes('down_proj')) values.fill(Number.POSITIVE_INFINITY, 0, 1);
      },
    ],
    ['NaN in the output', set('lm_head.weight', Number.NaN)],
    ['one NaN in the output', set('lm_head.weight', Number.NaN, 64 * 200, 1)],
    [
      'infinity in the output', // of one sign or the other, as the activation has it
      (tensor, values, columns) => {
        if (tensor !== 'lm_head.weight') return;
        values[0] = Number.POSITIVE_INFINITY;
        values[columns] = Number.NEGATIVE_INFINITY;
      },
    ],
  ])('%s', async (_, edit) => {
    let gpu: Gpu | undefined;
    const open = async () => {
      gpu = await openGpuInNode();
      return gpu;
    };
    const folder: MemoryFolder = await madeModel({ edit });
    const model = await loadModelOn(open, folder, options);
    for (const sampling of [greedy, { temperature: 1, topK: 20 }, { temperature: 1, topK: 0 }]) {
      const { error, tokens } = await completion(
        model,
        { tokens: [0, 1, 2] },
        { ...sampling, maxTokens: 4 },
      );
      expect(error, JSON.stringify(sampling)).toMatchObject(broken);
      expect(tokens).toEqual([]);
    }
    await model.dispose();
    expect(gpu!.ledger.bytes).toBe(0);
  });

  test('a sound model is not accused', async () => {
    await using model = await loadModelOn(openGpuInNode, await madeModel(), options);
    const { tokens } = await complete(model, { tokens: [0, 1, 2] }, { ...greedy, maxTokens: 4 });
    expect(tokens).toHaveLength(4);
  });
});
