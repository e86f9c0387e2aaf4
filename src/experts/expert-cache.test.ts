import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { openTestGpu } from '../../kernels-test/harness.ts';
import { uniform } from '../../kernels-test/reference/random.ts';
import { MowgliError } from '../errors.ts';
import { parseModelConfig } from '../files/model-config.ts';
import { presets } from '../files/presets.ts';
import { SyntheticStore } from '../files/synthetic.ts';
import type { TensorReadOptions, TensorStore } from '../files/tensors.ts';
import { BufferSet } from '../gpu/buffer-set.ts';
import { noSlot } from '../kernels/matrix.ts';
import { ExpertCache, type ExpertCacheOptions } from './expert-cache.ts';
import { expertTensor, projections } from './expert-layout.ts';
import { policyNames } from './policy.ts';

const gpu = await openTestGpu();

const experts = 8;
const dense = 1;
const config = parseModelConfig({
  ...presets.tiny.configJson,
  hidden_size: 64,
  num_hidden_layers: 5,
  num_experts: experts,
  num_experts_per_tok: 2,
  moe_intermediate_size: 32,
  mlp_only_layers: [dense],
  vocab_size: 64,
});
const sparse = [0, 2, 3, 4];

/** Synthetic weights; the last layer's are in a type of their own, and so in slots of their own. */
class WatchedStore implements TensorStore {
  readonly tensors;
  /** Names of what was read. */
  readonly reads: string[] = [];
  /** Called before each read; may throw or take its time. */
  onRead: (name: string) => void | Promise<void> = () => {};
  readonly #floats = new SyntheticStore(config, { type: 'F32' });
  readonly #halves = new SyntheticStore(config, { type: 'F16' });

  constructor() {
    const inHalves = [...this.#halves.tensors].filter(([name]) => this.#isHalf(name));
    this.tensors = new Map([...this.#floats.tensors, ...inHalves]);
  }

  async read(name: string, options?: TensorReadOptions): Promise<Uint8Array> {
    this.reads.push(name);
    await this.onRead(name);
    return (this.#isHalf(name) ? this.#halves : this.#floats).read(name, options);
  }

  async close(): Promise<void> {}

  #isHalf(name: string): boolean {
    return name.startsWith('model.layers.4.mlp.experts.');
  }
}

let store: WatchedStore;
beforeEach(() => {
  store = new WatchedStore();
});

/** Of F32; the last layer's take half. */
const expertBytes = 3 * 64 * 32 * 4;
const tableBytes = 4 * experts * (config.numHiddenLayers + 1);
const leastBytes = 1.5 * expertBytes + tableBytes;
const allBytes = 3 * experts * expertBytes + (experts * expertBytes) / 2;

async function openCache(share: number, options: Partial<ExpertCacheOptions> = {}) {
  const buffers = new BufferSet(gpu);
  const loader = { tensors: store, buffers, signal: undefined, onBytes: () => {} };
  const cache = await ExpertCache.create(loader, config, {
    gpuBytes: Math.max(leastBytes, Math.floor(share * allBytes) + tableBytes),
    hostBytes: 0,
    policy: 'lru',
    pin: 0,
    usedBefore: undefined,
    ...options,
  });
  onTestFinished(async () => {
    await cache.dispose();
    buffers.destroy();
  });
  return cache;
}

/** Everything that a layer's experts need is brought, as the forward pass does it. */
async function bring(cache: ExpertCache, layer: number, needed: readonly number[]) {
  const missing = cache.missing(layer, needed);
  cache.touch(
    layer,
    needed,
    needed.map(() => 1),
    missing.length,
  );
  const rounds: number[][] = [];
  for await (const round of cache.rounds(layer, missing, undefined)) {
    rounds.push([...round]);
    await expectHeld(cache, layer, 'inRound', [...round]);
  }
  expect(rounds.flat()).toEqual(missing);
  cache.forgetAhead(layer);
}

/** Expects a table on the GPU to list just these experts of a layer, each with its weights in its slot. */
async function expectHeld(
  cache: ExpertCache,
  layer: number,
  table: 'resident' | 'inRound',
  expected: readonly number[],
) {
  const matrices = table === 'resident' ? cache.resident(layer) : cache.inRound(layer);
  const { slotOf, table: first } = matrices.gate;
  const [data] = await gpu.read([slotOf]);
  const slots = new Uint32Array(data, 4 * first, experts);
  const held = Array.from(slots.keys()).filter((expert) => slots[expert] !== noSlot);
  expect(held, `${table} of layer ${layer}`).toEqual([...expected].sort((a, b) => a - b));
  expect(new Set(held.map((expert) => slots[expert])).size).toBe(held.length);
  for (const expert of held) {
    for (const projection of projections) {
      const { slabs, slotBytes, offset } = matrices[projection];
      const slab = slabs.findLast(({ firstSlot }) => firstSlot <= slots[expert])!;
      const expectedBytes = await new WatchedStore().read(expertTensor(layer, expert, projection));
      const at = (slots[expert] - slab.firstSlot) * slotBytes + offset;
      const [actual] = await gpu.read([slab.slice.buffer.slice(at, expectedBytes.length)]);
      expect(Buffer.compare(new Uint8Array(actual), expectedBytes), projection).toBe(0);
    }
  }
}

const residents = (cache: ExpertCache, layer: number) => {
  const all = Array.from({ length: experts }, (_, expert) => expert);
  const missing = new Set(cache.missing(layer, all));
  return all.filter((expert) => !missing.has(expert));
};

/** Some of a layer's experts, in rising order. */
function some(random: () => number): number[] {
  return Array.from({ length: experts }, (_, e) => e).filter(() => random() < 0.4);
}

describe.each([0.01, 0.2, 0.6])('with room for %f of the experts', (share) => {
  test.each(policyNames)('%s: what is said to be on the GPU is there', async (policy) => {
    const cache = await openCache(share, { policy, hostBytes: share > 0.1 ? 5 * expertBytes : 0 });
    const random = uniform(share * 100);
    for (let token = 0; token < 4; token++) {
      for (const layer of sparse) await bring(cache, layer, some(random));
      cache.step(1);
    }
    for (const layer of sparse) await expectHeld(cache, layer, 'resident', residents(cache, layer));
    const { slots, experts: all, misses, evictions } = cache.use.now();
    const resident = sparse.reduce((sum, layer) => sum + residents(cache, layer).length, 0);
    expect(resident).toBeLessThanOrEqual(slots);
    expect(slots).toBeLessThan(all);
    expect(evictions).toBe(misses - resident);
  });
});

test('with room for all, all are there at once and nothing is read again', async () => {
  const cache = await openCache(1);
  expect(cache.complete).toBe(true);
  const reads = store.reads.length;
  expect(new Set(store.reads).size).toBe(3 * experts * sparse.length);
  for (const layer of sparse) {
    await bring(cache, layer, [0, 3, 7]);
    await expectHeld(cache, layer, 'resident', residents(cache, layer));
    expect(residents(cache, layer)).toHaveLength(experts);
  }
  expect(store.reads).toHaveLength(reads);
});

test('experts in the memory of the host are not read from the files again', async () => {
  const cache = await openCache(0.05, { hostBytes: 4 * experts * expertBytes });
  const pass = async () => {
    for (const layer of sparse) await bring(cache, layer, [0, 1, 2, 3, 4, 5, 6, 7]);
  };
  await pass();
  const first = cache.use.now();
  await pass();
  const second = cache.use.now();
  expect(second.misses).toBeGreaterThan(first.misses);
  expect(second.bytesFromFiles).toBe(first.bytesFromFiles);
  expect(second.bytesFromHost).toBe(second.bytesUploaded - first.bytesUploaded);
  for (const layer of sparse) await expectHeld(cache, layer, 'resident', residents(cache, layer));
});

test('pinned experts are there from the beginning and stay', async () => {
  const usedBefore = new Uint32Array(config.numHiddenLayers * experts);
  const pinned = [
    [0, 3],
    [0, 5],
    [3, 1],
  ];
  for (const [layer, expert] of pinned) usedBefore[layer * experts + expert] = 9;
  const cache = await openCache(0.3, { pin: 0.5, usedBefore });
  const random = uniform(3);
  for (let token = 0; token < 6; token++) {
    for (const [layer, expert] of pinned) expect(cache.missing(layer, [expert])).toEqual([]);
    for (const layer of sparse) await bring(cache, layer, some(random));
    cache.step(1);
  }
  expect(cache.use.now().evictions).toBeGreaterThan(0);
  await expectHeld(cache, 0, 'resident', residents(cache, 0));
});

test('a read that fails leaves everything as it was, and can be tried again', async () => {
  const cache = await openCache(0.3);
  await bring(cache, 0, [1, 2]);
  await bring(cache, 4, [0]);
  for (let failing = 0; failing < 9; failing++) {
    let left = failing;
    store.onRead = () => {
      if (left-- === 0) throw new MowgliError('READ_FAILED', 'the test says so');
    };
    await expect(bring(cache, 2, [3, 4, 5])).rejects.toMatchObject({ code: 'READ_FAILED' });
    store.onRead = () => {};
    for (const layer of sparse) {
      await expectHeld(cache, layer, 'resident', residents(cache, layer));
    }
  }
  await bring(cache, 2, [3, 4, 5]);
  expect(residents(cache, 2)).toEqual([3, 4, 5]);
  await expectHeld(cache, 2, 'resident', [3, 4, 5]);
});

describe('reading ahead', () => {
  test('what was read ahead is not read again', async () => {
    const cache = await openCache(0.3);
    cache.readAhead(2, [1, 6, 7]);
    await bring(cache, 2, [1, 4, 7]);
    expect(cache.use.now().readAhead).toEqual({ useful: 2, wasted: 1 });
    expect(store.reads).toHaveLength(4 * 3);
    expect(new Set(store.reads).size).toBe(4 * 3);
    await expectHeld(cache, 2, 'resident', [1, 4, 7]);
  });

  test('a failure waits for somebody to need the expert, who tries again', async () => {
    const cache = await openCache(0.3);
    store.onRead = (name) => {
      if (name.includes('experts.6.down')) throw new MowgliError('READ_FAILED', 'once');
    };
    cache.readAhead(2, [5, 6]);
    await expect(bring(cache, 2, [5, 6])).rejects.toMatchObject({ code: 'READ_FAILED' });
    cache.readAhead(2, [6]);
    await new Promise(setImmediate);
    store.onRead = () => {};
    await bring(cache, 2, [5, 6]);
    await expectHeld(cache, 2, 'resident', [5, 6]);
  });

  test('buffers of reads that nobody waits for are not given to others', async () => {
    const cache = await openCache(0.3);
    const late: (() => void)[] = [];
    store.onRead = (name) =>
      name.startsWith('model.layers.3') ? new Promise((resolve) => late.push(resolve)) : undefined;
    cache.readAhead(3, [0, 1]);
    cache.forgetAhead(3);
    const bringing = bring(cache, 2, [0, 1, 2]);
    await new Promise(setImmediate);
    for (const arrive of late) arrive();
    await bringing;
    await expectHeld(cache, 2, 'resident', [0, 1, 2]);
    expect(cache.use.now().readAhead).toEqual({ useful: 0, wasted: 2 });
  });

  test('disposal waits for the reads that are on their way', async () => {
    const cache = await openCache(0.3);
    const late: (() => void)[] = [];
    store.onRead = () => new Promise((resolve) => late.push(resolve));
    cache.readAhead(0, [0]);
    let disposed = false;
    const disposal = cache.dispose().then(() => {
      disposed = true;
    });
    await new Promise(setImmediate);
    expect(disposed).toBe(false);
    for (const arrive of late) arrive();
    await disposal;
  });
});

test('less room than for one expert of each layout is refused, with what is missing', async () => {
  const tight = await openCache(0);
  expect(tight.use.now().slots).toBe(2);
  await bring(tight, 2, [0, 1, 2]);
  await expectHeld(tight, 2, 'resident', [2]);
  await expect(openCache(0, { gpuBytes: leastBytes - 5 })).rejects.toMatchObject({
    code: 'OUT_OF_MEMORY',
    message: expect.stringMatching(/by 5 bytes/),
  });
});
