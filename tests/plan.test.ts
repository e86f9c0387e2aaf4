import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { simulate } from '../src/experts/simulate.ts';
import type { Trace } from '../src/experts/trace-file.ts';
import { parseModelConfig } from '../src/files/model-config.ts';
import { presets } from '../src/files/presets.ts';
import { loadModel, planModel } from '../src/node.ts';
import type { Plan } from '../src/plan.ts';
import type { ComputeCosts, LinkCosts, MoveCosts } from '../src/planner/costs.ts';
import { expectMisses, type Misses } from '../src/planner/expected-misses.ts';
import { assumeRouting, routingOfTrace } from '../src/planner/routing-demands.ts';
import { type TokenTimeOptions, tokenTime } from '../src/planner/token-time.ts';
import { runCli } from './run-cli.ts';

const tinyCoder = fileURLToPath(new URL('../models/tiny-coder', import.meta.url));
const synthetic = 'synthetic:qwen3-coder-480b?type=q4_k&layers=6';
const machine = 'gpu-memory=8GiB,host-memory=16GiB,disk=6GB/s,link=24GB/s,gpu-bandwidth=1000GB/s';
const small = parseModelConfig(presets.small.configJson);

/** A run whose tokens go anywhere. */
function randomTrace(tokens: number, seed: number): Trace {
  let state = seed;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const { numExperts: experts, numExpertsPerTok: topK, numHiddenLayers: layers } = small;
  const choose = () => {
    const chosen = new Set<number>();
    while (chosen.size < topK) chosen.add(Math.floor(experts * random() ** 2));
    return [...chosen];
  };
  const model = {
    name: 'random',
    layers,
    sparseLayers: Array.from({ length: layers }, (_, layer) => layer),
    experts,
    expertsPerToken: topK,
  };
  const steps = Array.from({ length: tokens }, () => ({
    kind: 'decode' as const,
    tokens: 1,
    chosen: Uint8Array.from(Array.from({ length: layers }, choose).flat()),
    predicted: [],
  }));
  return { model, steps, truncated: false };
}

const noRam = { cacheBytes: 0, pageCacheBytes: 0 };

describe('misses', () => {
  test.each([16, 48, 96])(
    '%d slots: the hit rate that simulating the trace gives',
    async (slots) => {
      const trace = randomTrace(60, 7);
      const simulation = await simulate(trace, { slots: [slots], policies: ['lru'] });
      const { decode } = simulation.caches.find(({ policy }) => policy === 'lru')!;
      const misses = expectMisses(routingOfTrace(trace, small), slots, 'lru', noRam, 1);
      expect(misses.hitRate).toBeCloseTo(decode.hits / decode.needed, 12);
      expect(misses.tokens).toHaveLength(60);
    },
  );

  test("what was read before is in RAM as far as it fits, the engine's own cache first", () => {
    const routing = routingOfTrace(randomTrace(60, 8), small);
    const total = ({ perToken }: { perToken: Misses }) =>
      perToken['host cache'] + perToken['page cache'] + perToken.disk;
    const all = small.numHiddenLayers * small.numExperts;
    const inRam = (cacheBytes: number, pageCacheBytes: number) =>
      expectMisses(routing, 24, 'lru', { cacheBytes, pageCacheBytes }, 10);
    const none = inRam(0, 0);
    const some = inRam(0, (10 * all) / 2);
    const enough = inRam(0, 10 * all);
    expect(none.perToken.disk).toBeCloseTo(total(none), 9);
    expect(enough.perToken.disk).toBe(0);
    expect(some.perToken.disk).toBeGreaterThan(0);
    expect(some.perToken.disk).toBeLessThan(none.perToken.disk);
    const cached = inRam(10 * all, 0);
    // Only what was never read comes from the disk then.
    expect(cached.perToken['host cache']).toBeGreaterThan(0);
    expect(cached.perToken.disk * 60).toBeLessThanOrEqual(all);
    for (const each of [some, enough, cached]) expect(total(each)).toBeCloseTo(total(none), 9);
  });

  test('without a trace: the same each time, better with more slots', () => {
    const rates = [0.25, 0.5, 0.75, 0.9].map((share) => {
      const slots = Math.round(share * small.numHiddenLayers * small.numExperts);
      return expectMisses(assumeRouting(small), slots, 'lru', noRam, 1).hitRate;
    });
    expect(rates).toEqual(rates.toSorted((a, b) => a - b));
    expect(rates[0]).toBeGreaterThan(0.05);
    expect(assumeRouting(small)).toEqual(assumeRouting(small));
  });

  test('a trace of another model is refused', () => {
    const other = parseModelConfig(presets.tiny.configJson);
    expect(() => routingOfTrace(randomTrace(2, 1), other)).toThrow(
      expect.objectContaining({ code: 'OPTION_INVALID' }),
    );
  });
});

describe('time of a token', () => {
  const layers = 5;
  const compute: ComputeCosts = {
    tokenMs: 3,
    layers: Array.from({ length: layers }, () => ({
      attentionMs: 2,
      contextMs: 0.01,
      expertsMs: 4,
      noExpertsMs: 0.5,
      restoreMs: 0.25,
    })),
    syncMs: 1,
  };
  const move = (firstMs: number, nextMs: number): MoveCosts => ({ firstMs, nextMs });
  const link: LinkCosts = {
    read: { 'host cache': move(0, 0), 'page cache': move(3, 1), disk: move(20, 10) },
    upload: move(2, 2),
    copiesOverlap: true,
  };
  const options: TokenTimeOptions = {
    complete: false,
    slots: 8,
    expertBytes: 1 << 20,
    depth: 100,
    recall: 0.5,
    sparseLayers: Array.from({ length: layers }, () => true),
  };
  const misses = (tokens: number, of: Partial<Misses>) => {
    const each: Misses = { 'host cache': 0, 'page cache': 0, disk: 0, ...of };
    const token = Array.from({ length: layers }, () => each);
    return {
      tokens: Array.from({ length: tokens }, () => token),
      expertsPerLayer: 8,
      hitRate: 0,
      perToken: each,
    };
  };

  test('with every expert on the GPU: all layers, one readback', () => {
    const time = tokenTime(compute, link, misses(4, {}), { ...options, complete: true });
    expect(time.readbacks).toBe(1);
    // By hand: 3 + 5 (2 + 100 x 0.01 + 4), and a synchronisation of 1.
    expect(time.parts.compute).toBeCloseTo(38, 9);
    expect(time.ms).toBeCloseTo(39, 9);
    expect(time.tokensPerSecond).toBeCloseTo(1000 / 39, 9);
  });

  test('two experts missing in every layer, on a GPU and on a CPU that plays one', () => {
    const lacking = misses(40, { 'page cache': 2 });
    const onGpu = tokenTime(compute, link, lacking, { ...options, recall: 0 });
    expect(onGpu.readbacks).toBe(layers + 1);
    // 6 of 8 experts take 0.5 + 3.5 x 6 / 8 = 3.125 while 4 are waited for, then 4 of uploads and 1.375.
    expect(onGpu.parts.compute).toBeCloseTo(3 + 5 * (3 + 3.125 + 1.375), 9);
    expect(onGpu.parts.read + onGpu.parts.upload).toBeCloseTo(5 * (4 + 4 - 3.125), 9);
    const onCpu = tokenTime(compute, { ...link, copiesOverlap: false }, lacking, options);
    expect(onCpu.parts.read).toBeCloseTo(5 * 4, 9);
    expect(onCpu.parts.upload).toBeCloseTo(5 * 4, 9);
    expect(onCpu.parts.compute).toBeCloseTo(onGpu.parts.compute, 9);
  });

  test('rounds: experts are read while those before them are uploaded', () => {
    const large = { ...options, expertBytes: 40 << 20, recall: 0 }; // one expert to a round
    const four = misses(40, { disk: 4 });
    const rounds = tokenTime(compute, link, four, large).parts;
    const once = tokenTime(compute, link, four, { ...options, recall: 0 }).parts;
    expect(rounds.read + rounds.upload).toBeLessThan(once.read + once.upload);
  });

  test('reading ahead is counted with when it pays only', () => {
    const disk = misses(40, { disk: 4 });
    const certain = tokenTime(compute, link, disk, { ...options, recall: 1 });
    const useless = tokenTime(compute, link, disk, { ...options, recall: 0 });
    expect(certain.readsAhead).toBe(true);
    expect(useless.readsAhead).toBe(false);
    expect(certain.ms).toBeLessThan(useless.ms);
  });
});

describe('plan', () => {
  const shape = { context: 256, chunk: 32, tuning: 'off' } as const;

  test('memory to the byte, whole and in part', async () => {
    const whole = await planModel(tinyCoder, shape);
    expect(whole.planned.memory.slots).toBe(whole.fixed.experts);
    const parts = [0.5, 0.1].map((share) =>
      Math.round(whole.leastBytes + share * (whole.completeBytes - whole.leastBytes)),
    );
    for (const gpuMemory of [whole.completeBytes, ...parts]) {
      await using model = await loadModel(tinyCoder, { ...shape, gpuMemory });
      const { planned } = await planModel(tinyCoder, { ...shape, gpuMemory });
      expect(planned.memory.totalBytes).toBe(model.memory().gpuBytes);
      expect(planned.memory.totalBytes).toBeLessThanOrEqual(gpuMemory);
      expect(planned.memory.slotBytes).toBe(model.memory().byLabel.experts);
    }
  }, 120_000);

  test('memory that is not enough is refused, with how much would be', async () => {
    const refused = planModel(tinyCoder, { ...shape, gpuMemory: 1e6 });
    await expect(refused).rejects.toMatchObject({
      code: 'OUT_OF_MEMORY',
      message: expect.stringContaining('--gpu-memory'),
    });
  });

  test('measures this machine', async () => {
    const { machine, budgets, planned } = await planModel(tinyCoder, shape);
    expect(machine.gpu).toBeTypeOf('string');
    expect(machine.upload.source).toBe('measured');
    expect(machine.reads!.first.bytes).toBeGreaterThan(0);
    expect(machine.compute.layers.every(({ attentionMs }) => attentionMs > 0)).toBe(true);
    expect(budgets).toContain(planned);
    expect(planned.time.tokensPerSecond).toBeGreaterThan(0);
    expect(planned.time.readbacks).toBe(1);
  });

  test('stops when it is told to', async () => {
    const controller = new AbortController();
    const plan = planModel(tinyCoder, {
      ...shape,
      signal: controller.signal,
      onProgress: ({ phase }) => {
        if (phase === 'layers') controller.abort();
      },
    });
    await expect(plan).rejects.toMatchObject({ code: 'ABORTED' });
  });
});

describe('mowgli plan', () => {
  test('another machine, and a model without a file', async () => {
    const { code, stdout } = await runCli([
      ...['plan', '--model', synthetic, '--assume', machine, '--json'],
    ]);
    expect(code).toBe(0);
    const plan = JSON.parse(stdout) as Plan;
    expect(plan.machine.gpu).toBeUndefined();
    expect(plan.machine.stated).toEqual({
      gpuMemory: 8 * 2 ** 30,
      hostMemory: 16 * 2 ** 30,
      disk: 6e9,
      link: 24e9,
      gpuBandwidth: 1e12,
    });
    expect(plan.planned.gpuBytes).toBe(8 * 2 ** 30);
    // More memory is never worse.
    const hits = plan.budgets.map(({ hitRate }) => hitRate);
    expect(hits).toEqual(hits.toSorted((a, b) => a - b));
    expect(hits.at(-1)).toBe(1);
    const speeds = plan.budgets.map(({ time }) => time.tokensPerSecond);
    expect(speeds).toEqual(speeds.toSorted((a, b) => a - b));
    // What a token brings cannot come faster than the link gives it.
    for (const { bytesPerToken, time } of plan.budgets) {
      expect(time.ms).toBeGreaterThanOrEqual((1000 * bytesPerToken) / 24e9);
    }
    expect(plan.advice.map(({ gain }) => gain)).toEqual(
      plan.advice.map(({ gain }) => gain).toSorted((a, b) => b - a),
    );
  });

  test('says in words what it is based on', async () => {
    const { code, stdout, stderr } = await runCli([
      ...['plan', '--model', synthetic, '--assume', machine],
    ]);
    expect(code).toBe(0);
    expect(stderr).toBe('');
    expect(stdout).toMatch(/disk +6\.00 GB\/s \(stated\)/);
    expect(stdout).toMatch(/routing +assumed/);
    expect(stdout).toMatch(/\* as planned: [\d.]+ tok\/s/);
    expect(stdout).toContain('What to buy or lower');
  });

  test.each([
    ['ram=3GiB', /'ram=3GiB' is not one of/],
    ['disk=fast', /--assume: disk must be a size/],
    ['link=0', /it must be above 0/],
  ])('--assume %s is refused', async (text, message) => {
    const { code, stderr } = await runCli(['plan', '--model', synthetic, '--assume', text]);
    expect(code).toBe(2);
    expect(stderr).toMatch(message);
  });
});
