import { describe, expect, it } from 'vitest';
import { type BlockType, numberFormats } from '../quant/index.ts';
import { type ModelConfig, parseModelConfig } from './model-config.ts';
import { presets } from './presets.ts';
import { SyntheticStore, syntheticTypes } from './synthetic.ts';
import { blockPool } from './synthetic-blocks.ts';
import { tensorKeys } from './synthetic-random.ts';

const tiny = parseModelConfig(presets.tiny.configJson);
const blockTypes = syntheticTypes.filter(
  (type): type is BlockType => numberFormats[type].blockElements > 1,
);
const down = (expert: number) => `model.layers.1.mlp.experts.${expert}.down_proj.weight`;

/** Numbers in [0, 1), the same for the same seed: mulberry32. */
function uniform(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

async function values(store: SyntheticStore, name: string): Promise<Float32Array> {
  const { type, bytes } = store.tensors.get(name)!;
  const { blockBytes, blockElements } = numberFormats[type];
  const out = new Float32Array((bytes / blockBytes) * blockElements).fill(Number.NaN);
  numberFormats[type].decode(await store.read(name), out);
  return out;
}

describe.each(blockTypes)('synthetic weights in %s', (type) => {
  const { blockBytes, blockElements } = numberFormats[type];
  // Runs of a few KiB: the embedding has some hundred.
  const store = new SyntheticStore(tiny, { type, seed: 5 });
  const name = 'model.embed_tokens.weight';

  it('are the same whatever part is read, and wherever it is put', async () => {
    const all = await store.read(name);
    expect(all.length).toBe(((2048 * 256) / blockElements) * blockBytes);
    const random = uniform(0x5eed);
    for (let trial = 0; trial < 100; trial++) {
      const offset = Math.floor(random() * (all.length + 1));
      const scale = 10 ** (6 * random());
      const length = Math.min(all.length - offset, Math.floor(random() * scale));
      const into = new Uint8Array(length + 7).fill(0xaa);
      const part = await store.read(name, { offset, length, into: into.subarray(3) });
      const where = `offset ${offset}, length ${length}`;
      const expected = all.subarray(offset, offset + length);
      expect(Buffer.compare(part, expected), where).toBe(0);
      expect(part.buffer, where).toBe(into.buffer);
      expect([...into.subarray(0, 3), ...into.subarray(3 + length)], where).toEqual(
        Array(7).fill(0xaa),
      );
    }
  });

  it('have the mean and the deviation of weights that are initialised', async () => {
    for (const [tensor, deviation] of [
      [name, 1],
      [down(0), 1 / 16],
    ] as const) {
      const sample = await values(store, tensor);
      const mean = sample.reduce((sum, value) => sum + value, 0) / sample.length;
      const squares = sample.reduce((sum, value) => sum + value * value, 0) / sample.length;
      // Blocks are independent, values within one need not be.
      const error = 5 * Math.sqrt(blockElements / sample.length);
      expect(Math.abs(mean / deviation), tensor).toBeLessThan(error);
      // Besides the random blocks: what rounding to two bits of fraction at worst adds or takes.
      expect(Math.abs(Math.sqrt(squares) / deviation - 1), tensor).toBeLessThan(error / 5 + 0.03);
      const bounded = sample.every((value) => Math.abs(value) < 8 * deviation);
      expect(bounded, tensor).toBe(true);
    }
  });

  it('differ between experts, layers and seeds', async () => {
    const other = new SyntheticStore(tiny, { type, seed: 6 });
    const starts = await Promise.all([
      ...Array.from({ length: tiny.numExperts }, (_, e) => store.read(down(e))),
      store.read(down(0).replace('layers.1', 'layers.2')),
      store.read(down(0).replace('down', 'up')),
      other.read(down(0)),
    ]);
    const distinct = new Set(starts.map((bytes) => Buffer.from(bytes).toString('base64')));
    expect(distinct.size).toBe(starts.length);
  });
});

describe('runs', () => {
  it('come from the pool at the places of the documented formula', async () => {
    const store = new SyntheticStore(tiny, { type: 'Q4_K', seed: 77 });
    const pool = blockPool('Q4_K', 1 / 16, tensorKeys(77, 'Q4_K 0 0.0625'));
    const name = down(3);
    const all = await store.read(name);
    const mask = 0xffffffffn;
    const mix = (x: bigint, k = 0n) => {
      let h = x & mask;
      h = ((h ^ (h >> 16n)) * 0x7feb352dn) & mask;
      h = ((h ^ (h >> 15n) ^ k) * 0x846ca68bn) & mask;
      return h ^ (h >> 16n);
    };
    let hash = 0x811c9dc5n;
    for (const byte of Buffer.from(name)) hash = ((hash ^ BigInt(byte)) * 0x01000193n) & mask;
    const k1 = mix(hash ^ mix(77n + 0x9e3779b9n));
    const k2 = mix(k1 + 0x9e3779b9n);
    const run = Math.floor(8192 / 144) * 144;
    const places = BigInt((pool.bytes.length - run) / 144 + 1);
    for (let r = 0; r * run < all.length; r++) {
      const first = Number((mix(BigInt(r) + k1, k2) * places) >> 32n);
      const part = all.subarray(r * run, (r + 1) * run);
      const expected = pool.bytes.subarray(first * 144, first * 144 + part.length);
      expect(Buffer.compare(part, expected), `run ${r}`).toBe(0);
    }
  });

  it('are shorter than rows of the vocabulary, of which no two are the same', async () => {
    const wide: ModelConfig = { ...tiny, hiddenSize: 768, vocabSize: 30000 };
    const store = new SyntheticStore(wide, { type: 'Q4_K' });
    for (const name of ['model.embed_tokens.weight', 'lm_head.weight']) {
      const all = Buffer.from(await store.read(name));
      const rows = new Set<string>();
      for (let row = 0; row < 30000; row++) {
        rows.add(all.toString('latin1', row * 432, (row + 1) * 432));
      }
      expect(rows.size, name).toBe(30000);
    }
  });

  it('give every group of a K-quant with minima the mean 0', async () => {
    for (const [type, group] of [
      ['Q2_K', 16],
      ['Q4_K', 32],
      ['Q5_K', 32],
    ] as const) {
      const sample = await values(new SyntheticStore(tiny, { type }), down(0));
      let means = 0;
      for (let at = 0; at < sample.length; at += group) {
        const sum = sample.subarray(at, at + group).reduce((total, value) => total + value, 0);
        means += (sum / group) ** 2;
      }
      // Of independent values with deviation 1/16; twice that would mean a part that all share.
      const expected = 1 / 256 / group;
      expect(means / (sample.length / group) / expected, type).toBeLessThan(1.5);
    }
  });
});

describe('types', () => {
  const typeOf = (store: SyntheticStore, name: string) => store.tensors.get(name)!.type;

  it('norms and routers stay floats, and kinds of matrices may differ', () => {
    const store = new SyntheticStore(tiny, {
      type: 'Q8_0',
      expertsType: 'Q4_K',
      downType: 'Q6_K',
      embedType: 'BF16',
    });
    expect(
      [
        'model.embed_tokens.weight',
        'lm_head.weight',
        'model.norm.weight',
        'model.layers.0.mlp.gate.weight',
        'model.layers.0.self_attn.o_proj.weight',
        'model.layers.0.mlp.experts.0.up_proj.weight',
        down(0),
      ].map((name) => typeOf(store, name)),
    ).toEqual(['BF16', 'BF16', 'F32', 'F32', 'Q8_0', 'Q4_K', 'Q6_K']);
  });

  it('a matrix whose rows are not whole blocks is F32', () => {
    const odd: ModelConfig = { ...tiny, moeIntermediateSize: 96 };
    const store = new SyntheticStore(odd, { type: 'Q4_K' });
    expect(typeOf(store, down(0))).toBe('F32');
    expect(typeOf(store, down(0).replace('down', 'up'))).toBe('Q4_K');
  });

  it('other types are refused', () => {
    expect(() => new SyntheticStore(tiny, { type: 'F8_E4M3' })).toThrow(/type is "F8_E4M3"; /);
    expect(() => new SyntheticStore(tiny, { downType: 'Q9' as 'Q8_0' })).toThrow(/downType is/);
  });
});

it('a large matrix can be stopped, and stops quickly', async () => {
  const config: ModelConfig = { ...tiny, hiddenSize: 2 ** 14, vocabSize: 2 ** 16 };
  const store = new SyntheticStore(config, { type: 'Q4_0' });
  const into = new Uint8Array(400_000_000);
  const signal = AbortSignal.timeout(1);
  await expect(
    store.read('lm_head.weight', { length: into.length, into, signal }),
  ).rejects.toMatchObject({ code: 'ABORTED' });
});
