import { describe, expect, it } from 'vitest';
import { MowgliError } from '../errors.ts';
import { formats, numberFormats, type TensorType } from '../quant/index.ts';
import { type ModelConfig, parseModelConfig } from './model-config.ts';
import { presets } from './presets.ts';
import { SyntheticStore } from './synthetic.ts';

const tiny = parseModelConfig(presets.tiny.configJson);
const types: TensorType[] = ['BF16', 'F16', 'F32'];

/** The documented formula again, with exact integers and an independent quantile. */
class Reference {
  readonly #seed: number;
  constructor(seed: number) {
    this.#seed = seed;
  }

  static mix(x: bigint, k = 0n): bigint {
    const mask = 0xffffffffn;
    let h = x & mask;
    h ^= h >> 16n;
    h = (h * 0x7feb352dn) & mask;
    h ^= h >> 15n;
    h ^= k;
    h = (h * 0x846ca68bn) & mask;
    return h ^ (h >> 16n);
  }

  z(tensor: string, i: bigint): number {
    const golden = 0x9e3779b9n;
    let name = 0x811c9dc5n;
    for (const byte of Buffer.from(tensor))
      name = ((name ^ BigInt(byte)) * 0x01000193n) & 0xffffffffn;
    const k1 = Reference.mix(name ^ Reference.mix(BigInt(this.#seed) + golden));
    const k2 = Reference.mix(k1 + golden);
    const pair = i / 2n;
    const word = Reference.mix((pair & 0xffffffffn) + k1 + (pair >> 32n) * golden, k2);
    const half = i % 2n === 0n ? word & 0xffffn : word >> 16n;
    return quantile((Number(half >> 4n) + 0.5) / 4096);
  }
}

/** By bisection on Simpson's rule for the density: slow, and nothing like Newton on a series. */
function quantile(p: number): number {
  if (p < 0.5) return -quantile(1 - p);
  let [low, high] = [0, 5];
  while (high - low > 1e-12) {
    const z = (low + high) / 2;
    const n = 400;
    let sum = 0;
    for (let i = 0; i <= n; i++) {
      sum += (i === 0 || i === n ? 1 : i % 2 === 0 ? 2 : 4) * Math.exp(((i * z) / n) ** 2 / -2);
    }
    if (0.5 + (sum * z) / n / 3 / Math.sqrt(2 * Math.PI) < p) low = z;
    else high = z;
  }
  return (low + high) / 2;
}

async function values(store: SyntheticStore, name: string): Promise<Float32Array> {
  const tensor = store.tensors.get(name)!;
  const { blockBytes } = numberFormats[tensor.type];
  const out = new Float32Array(tensor.bytes / blockBytes);
  numberFormats[tensor.type].decode(await store.read(name), out);
  return out;
}

async function failure(promise: Promise<unknown>): Promise<MowgliError> {
  const error = await promise.then(
    () => expect.fail('it should have failed'),
    (reason) => reason,
  );
  expect(error).toBeInstanceOf(MowgliError);
  return error;
}

describe.each(types)('synthetic weights in %s', (type) => {
  const name = 'model.layers.1.mlp.experts.3.down_proj.weight';
  const store = new SyntheticStore(tiny, { seed: 12345, type });
  const { blockBytes } = formats[type];

  it('are those of the documented formula', async () => {
    const reference = new Reference(12345);
    const all = await store.read(name);
    for (const i of [0, 1, 2, 3, 1000, 1001, 65535]) {
      const value = reference.z(name, BigInt(i)) * 256 ** -0.5;
      const expected = formats[type].encode(Float32Array.of(value));
      const actual = all.subarray(i * blockBytes, (i + 1) * blockBytes);
      // The two quantiles differ by 1e-12, which may change the last bit of a binary32.
      if (type !== 'F32') expect([i, ...actual]).toEqual([i, ...expected]);
      const decoded = new Float32Array(1);
      formats[type].decode(actual, decoded);
      expect(Math.abs(decoded[0] - value)).toBeLessThanOrEqual(Math.abs(value) * 2 ** -8);
    }
  });

  it('are the same whatever part is read, and wherever it is put', async () => {
    const all = (await store.read(name)).slice();
    for (let offset = 0; offset < 20; offset++) {
      for (const length of [0, 1, 2, 3, 7, 8, 9, 64, 1001]) {
        for (const shift of [0, 1, 2, 4]) {
          const into = new Uint8Array(length + shift + 3).fill(0xaa);
          const part = await store.read(name, { offset, length, into: into.subarray(shift) });
          const where = `offset ${offset}, length ${length}, shift ${shift}`;
          expect(part, where).toEqual(all.subarray(offset, offset + length));
          expect(part.buffer, where).toBe(into.buffer);
          expect([...into.subarray(0, shift), ...into.subarray(shift + length)], where).toEqual(
            Array(shift + 3).fill(0xaa),
          );
        }
      }
    }
    const tail = await store.read(name, { offset: all.length - 5 });
    expect(tail).toEqual(all.subarray(-5));
  });

  it('are normally distributed, with the scale of an initialisation', async () => {
    const sample = await values(store, name); // 65,536 values
    const inputs = 256;
    const z = sample.map((value) => value * inputs ** 0.5);
    const moment = (n: number) => z.reduce((sum, value) => sum + value ** n, 0) / z.length;
    // Four standard errors of the moments of n normal values: 1, sqrt(2), sqrt(15), sqrt(96) / sqrt(n).
    const tolerance = (variance: number) => 4 * Math.sqrt(variance / z.length);
    expect(Math.abs(moment(1))).toBeLessThan(tolerance(1));
    expect(Math.abs(moment(2) - 1)).toBeLessThan(tolerance(2) + 1e-3); // 4096 levels: 0.9997
    expect(Math.abs(moment(3))).toBeLessThan(tolerance(15));
    expect(Math.abs(moment(4) - 3)).toBeLessThan(tolerance(96) + 0.03); // the tails end at 3.67
    expect(Math.max(...z.subarray(0, 30000))).toBeLessThan(3.7);
  });

  it('do not repeat within a tensor, nor between tensors and seeds', async () => {
    const correlation = (a: Float32Array, b: Float32Array, shift: number) => {
      let sum = 0;
      for (let i = 0; i + shift < a.length; i++) sum += a[i] * b[i + shift];
      return (sum * 256) / a.length;
    };
    const limit = 5 / Math.sqrt(65536);
    const a = await values(store, name);
    const b = await values(store, 'model.layers.1.mlp.experts.4.down_proj.weight');
    const c = await values(new SyntheticStore(tiny, { seed: 12346, type }), name);
    for (const shift of [1, 2, 3, 256, 1024])
      expect(Math.abs(correlation(a, a, shift))).toBeLessThan(limit);
    for (const shift of [0, 1, 2, 256]) {
      expect(Math.abs(correlation(a, b, shift))).toBeLessThan(limit);
      expect(Math.abs(correlation(a, c, shift))).toBeLessThan(limit);
    }
    expect(await values(new SyntheticStore(tiny, { seed: 12345, type }), name)).toEqual(a);
  });
});

describe('the scale of each kind of tensor', () => {
  const deviation = (sample: Float32Array, mean: number) =>
    Math.sqrt(sample.reduce((sum, value) => sum + (value - mean) ** 2, 0) / sample.length);

  it.each([
    ['model.embed_tokens.weight', 0, 1],
    ['lm_head.weight', 0, 4 / 16],
    ['model.layers.0.mlp.gate.weight', 0, 2 / 16],
    ['model.layers.0.self_attn.q_proj.weight', 0, 1 / 16],
    ['model.layers.0.self_attn.o_proj.weight', 0, 1 / 16],
    ['model.layers.0.input_layernorm.weight', 1, 0.1],
    ['model.norm.weight', 1, 0.1],
  ])('%s: mean %f, deviation %f', async (name, mean, expected) => {
    const sample = await values(new SyntheticStore(tiny, { type: 'F32' }), name);
    // Relative standard error of a deviation is 1 / sqrt(2 n); 256 values at least.
    const tolerance = 5 / Math.sqrt(2 * sample.length) + 1e-3;
    expect(Math.abs(deviation(sample, mean) / expected - 1)).toBeLessThan(tolerance);
  });

  it('an embedding that is the output too', async () => {
    const tied = parseModelConfig({ ...presets.tiny.configJson, tie_word_embeddings: true });
    const store = new SyntheticStore(tied, { type: 'F32' });
    expect(store.tensors.has('lm_head.weight')).toBe(false);
    const sample = await values(store, 'model.embed_tokens.weight');
    expect(deviation(sample, 0) * 16).toBeCloseTo(1, 2);
  });
});

describe('a store of any size', () => {
  it('makes any part of the 480B model', async () => {
    const store = new SyntheticStore(parseModelConfig(presets.coder480b.configJson), { seed: 7 });
    expect(store.tensors.size).toBe(3 + 62 * (8 + 1 + 3 * 160));
    const { bytes } = store.tensors.get('lm_head.weight')!;
    expect(bytes).toBe(2 * 151936 * 6144);
    const end = await store.read('lm_head.weight', { offset: bytes - 4 });
    const reference = new Reference(7);
    const expected = [2n, 1n].map((back) => {
      const z = reference.z('lm_head.weight', BigInt(bytes / 2) - back);
      return z * 4 * 6144 ** -0.5;
    });
    expect(end).toEqual(formats.BF16.encode(Float32Array.from(expected)));
  });

  it('goes on past 2^32 pairs', async () => {
    const huge: ModelConfig = { ...tiny, vocabSize: 2 ** 24, hiddenSize: 2 ** 14 };
    const store = new SyntheticStore(huge, { seed: 9 });
    const name = 'model.embed_tokens.weight';
    const first = 2 ** 33 - 4; // elements; the last two pairs before the wrap, and the first two after
    const part = await store.read(name, { offset: 2 * first, length: 16 });
    const reference = new Reference(9);
    const expected = Array.from({ length: 8 }, (_, i) => reference.z(name, BigInt(first + i)));
    expect(part).toEqual(formats.BF16.encode(Float32Array.from(expected)));
  });

  it('can be stopped while it makes a large tensor', async () => {
    const store = new SyntheticStore(parseModelConfig(presets.coder480b.configJson));
    const signal = AbortSignal.timeout(1);
    const into = new Uint8Array(100_000_000);
    const read = store.read('lm_head.weight', { length: into.length, into, signal });
    expect((await failure(read)).code).toBe('ABORTED');
  });
});

describe('refusals', () => {
  it.each([-1, 1.5, 2 ** 32, Number.NaN])('of seed %f', (seed) => {
    expect(() => new SyntheticStore(tiny, { seed })).toThrow(/seed is .*; it must be/);
  });

  it('of reads that make no sense', async () => {
    const store = new SyntheticStore(tiny);
    const name = 'model.norm.weight'; // 512 bytes
    expect((await failure(store.read('toString'))).code).toBe('TENSOR_MISSING');
    for (const options of [
      { offset: 513 },
      { offset: 1, length: 512 },
      { length: -1 },
      { length: 8, into: new Uint8Array(7) },
    ]) {
      expect((await failure(store.read(name, options))).code).toBe('OPTION_INVALID');
    }
    expect((await failure(store.read(name, { signal: AbortSignal.abort() }))).code).toBe('ABORTED');
    await store.close();
    expect((await failure(store.read(name))).code).toBe('DISPOSED');
  });
});
