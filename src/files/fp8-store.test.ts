import { describe, expect, it } from 'vitest';
import type { MowgliError } from '../errors.ts';
import { numberFormats } from '../quant/index.ts';
import { Fp8Store } from './fp8-store.ts';
import { scaleShape } from './fp8-tensors.ts';
import { MemorySource } from './memory.ts';
import { elementCount, type TensorInfo, type TensorStore, tensorRange } from './tensors.ts';

/** Tensors in memory, and what became of them. */
class PlainStore implements TensorStore {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly reads: string[] = [];
  closed = 0;
  readonly #bytes: ReadonlyMap<string, Uint8Array>;

  constructor(tensors: readonly (Omit<TensorInfo, 'bytes'> & { data: Uint8Array })[]) {
    this.tensors = new Map(
      tensors.map(({ data, ...info }) => [info.name, { ...info, bytes: data.length }]),
    );
    this.#bytes = new Map(tensors.map(({ name, data }) => [name, data]));
  }

  async read(name: string, options: Parameters<TensorStore['read']>[1] = {}) {
    const { offset, length } = tensorRange(this.tensors.get(name)!, options);
    this.reads.push(`${name} ${length}`);
    return new MemorySource(name, this.#bytes.get(name)!).read(offset, length, options);
  }

  async close() {
    this.closed++;
  }
}

/** A weight in which every byte and every scale can be told from its neighbours. */
function pair(rows: number, columns: number, type: 'F32' | 'BF16' = 'F32') {
  const weights = Uint8Array.from({ length: rows * columns }, (_, i) => (i * 7 + (i >> 8)) % 126);
  const shape = scaleShape([rows, columns]);
  const scales = Float32Array.from({ length: elementCount(shape) }, (_, i) => (i + 1) / 64);
  const store = new PlainStore([
    { name: 'w.weight', type: 'F8_E4M3', shape: [rows, columns], data: weights },
    {
      name: 'w.weight_scale_inv',
      type,
      shape,
      data: numberFormats[type].encode!(scales),
    },
    { name: 'norm', type: 'F32', shape: [2], data: new Uint8Array(8).fill(9) },
  ]);
  return { store, fp8: new Fp8Store(store), weights, scales };
}

/** The same, value by value: W[r, c] = e4m3(w[r, c]) * scale[r / 128, c / 128]. */
function dequantised(rows: number, columns: number, weights: Uint8Array, scales: Float32Array) {
  const values = new Float32Array(rows * columns);
  numberFormats.F8_E4M3.decode(weights, values);
  const perRow = Math.ceil(columns / 128);
  return values.map((value, i) => {
    const row = Math.floor(i / columns);
    return value * scales[(row >> 7) * perRow + ((i % columns) >> 7)];
  });
}

const shapes = [
  [1, 1],
  [128, 128],
  [129, 127],
  [3, 256],
  [300, 130],
  [257, 391],
] as const;

describe('Fp8Store', () => {
  it.each(shapes)('reads %d x %d as blocks of 128 with their scales', async (rows, columns) => {
    const { fp8, weights, scales } = pair(rows, columns);
    const perRow = Math.ceil(columns / 128);
    expect([...fp8.tensors.values()]).toEqual([
      { name: 'w.weight', type: 'F8_B128', shape: [rows, columns], bytes: rows * perRow * 132 },
      { name: 'norm', type: 'F32', shape: [2], bytes: 8 },
    ]);
    const bytes = await fp8.read('w.weight');
    expect(bytes.length).toBe(rows * perRow * 132);
    const wide = new Float32Array(rows * perRow * 128);
    numberFormats.F8_B128.decode(bytes, wide);
    const expected = dequantised(rows, columns, weights, scales);
    for (let row = 0; row < rows; row++) {
      const values = wide.subarray(row * perRow * 128, (row + 1) * perRow * 128);
      expect(values.subarray(0, columns)).toEqual(
        expected.subarray(row * columns, (row + 1) * columns),
      );
      expect(values.subarray(columns).every((value) => value === 0)).toBe(true);
    }
  });

  it('reads any part, also into a buffer that was used before', async () => {
    const [rows, columns] = [131, 200];
    const { fp8 } = pair(rows, columns);
    const all = (await fp8.read('w.weight')).slice();
    const ranges = [
      [0, 0],
      [0, 1],
      [3, 2],
      [131, 2],
      [132, 132],
      [264 * 127, 264 * 3],
      [264 * 130 + 132, 132],
      [all.length - 1, 1],
      [5, all.length - 9],
      [264 * 128 + 132, 264 * 2],
    ];
    for (const [offset, length] of ranges) {
      const expected = all.subarray(offset, offset + length);
      expect(await fp8.read('w.weight', { offset, length })).toEqual(expected);
      const into = new Uint8Array(length + 3).fill(0xee);
      const got = await fp8.read('w.weight', { offset, length, into });
      expect(got).toEqual(expected);
      expect(got.buffer).toBe(into.buffer);
      expect(into.subarray(length).every((byte) => byte === 0xee)).toBe(true);
    }
  });

  it('reads no more of the file than what it needs', async () => {
    const { fp8, store } = pair(257, 384);
    await fp8.read('w.weight', { offset: 396 * 100, length: 396 * 20 });
    expect(store.reads.sort()).toEqual(['w.weight 7680', 'w.weight_scale_inv 12']);
    store.reads.length = 0;
    await fp8.read('w.weight', { offset: 396 * 256, length: 396 });
    expect(store.reads.sort()).toEqual(['w.weight 384', 'w.weight_scale_inv 12']);
  });

  it('takes scales in BF16', async () => {
    const f32 = await pair(130, 130, 'F32').fp8.read('w.weight');
    expect(await pair(130, 130, 'BF16').fp8.read('w.weight')).toEqual(f32);
  });

  it('passes other tensors on, and refuses what is not there', async () => {
    const { fp8, store } = pair(2, 2);
    expect(await fp8.read('norm', { offset: 6 })).toEqual(Uint8Array.of(9, 9));
    const failure = (promise: Promise<unknown>) =>
      promise.then(
        () => undefined,
        (error: MowgliError) => error.code,
      );
    expect(await failure(fp8.read('w.weight_scale_inv'))).toBe('TENSOR_MISSING');
    expect(await failure(fp8.read('x'))).toBe('TENSOR_MISSING');
    expect(await failure(fp8.read('w.weight', { offset: 264, length: 1 }))).toBe('OPTION_INVALID');
    const into = new Uint8Array(131);
    expect(await failure(fp8.read('w.weight', { length: 132, into }))).toBe('OPTION_INVALID');
    const signal = AbortSignal.abort();
    expect(await failure(fp8.read('w.weight', { signal }))).toBe('ABORTED');
    await fp8.close();
    expect(store.closed).toBe(1);
  });
});
