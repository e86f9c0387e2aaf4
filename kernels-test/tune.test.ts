import { afterAll, describe, expect, it, vi } from 'vitest';
import { MowgliError } from '../src/errors.ts';
import { expectedTensors } from '../src/files/expected-tensors.ts';
import { parseModelConfig } from '../src/files/model-config.ts';
import { presets } from '../src/files/presets.ts';
import type { Gpu } from '../src/gpu/device.ts';
import { Tuning } from '../src/gpu/tuning.ts';
import { classKey, type KernelClass } from '../src/kernels/kernel-class.ts';
import { linear } from '../src/kernels/linear.ts';
import type { ActivationType } from '../src/kernels/matrix.ts';
import { measureClasses, unmeasured } from '../src/kernels/tune.ts';
import { variantsOf } from '../src/kernels/tune-cases.ts';
import { scratchBytes } from '../src/kernels/tune-scratch.ts';
import { kernelClasses } from '../src/model/kernel-classes.ts';
import { nodeShaders } from '../src/node/shaders.ts';
import type { NumberType } from '../src/quant/index.ts';
import { openTestGpu, runOnGpu, testBuffers } from './harness.ts';
import { Random } from './random.ts';

const gpu = await openTestGpu();
const unlimited = { classBudgetMs: 60_000, budgetMs: 600_000 };

/** One class of each kernel; the sizes are no powers of two. */
const classes: readonly KernelClass[] = [
  { kernel: 'matvec', format: 'Q8_0', rows: 300, columns: 288, tokens: 1 },
  { kernel: 'matmul', format: 'Q8_0', rows: 300, columns: 288, tokens: 20 },
  { kernel: 'matvec', format: 'Q4_0 int8', rows: 300, columns: 288, tokens: 1 },
  { kernel: 'matmul', format: 'Q4_0 int8', rows: 300, columns: 288, tokens: 20 },
  { kernel: 'expert gate-up', format: 'Q8_0 int8', rows: 70, columns: 96, tokens: 1 },
  { kernel: 'expert matmul', format: 'Q8_0 int8', rows: 70, columns: 96, tokens: 3 },
  { kernel: 'expert gate-up', format: 'BF16', rows: 100, columns: 120, tokens: 1 },
  { kernel: 'expert matvec', format: 'BF16', rows: 100, columns: 120, tokens: 1 },
  { kernel: 'expert matmul', format: 'BF16', rows: 100, columns: 120, tokens: 6 },
  { kernel: 'attention', format: 'f32 4:1', rows: 8, columns: 64, tokens: 1 },
  { kernel: 'attention', format: 'f16 2:1', rows: 4, columns: 80, tokens: 16 },
];

/** A device whose shader of the matrix-vector product does not compile for one variant. */
async function withBroken(variant: 'SUBGROUPS' | 'SHARED'): Promise<Gpu> {
  const text = `${nodeShaders().get('matvec')}\n#if ${variant}\nthis is no WGSL\n#endif\n`;
  return openTestGpu({}, new Map([['matvec', text]]));
}

describe('measureClasses', () => {
  it.each(classes)('$kernel $format: every variant gets a time, one is chosen', async (each) => {
    const tuning = new Tuning();
    expect(await measureClasses(gpu, tuning, [each], unlimited)).toBe(true);
    const { variant, ms } = tuning.get(classKey(each))!;
    const { variants } = variantsOf(gpu, each);
    expect(Object.keys(ms).sort()).toEqual([...variants].sort());
    for (const time of Object.values(ms)) expect(time).toBeGreaterThan(0);
    expect(variants).toContain(variant);
    expect(tuning.covers(classKey(each), variants)).toBe(true);
    expect(unmeasured(gpu, tuning, [each])).toEqual([]);
  });

  it('gives all its memory back', async () => {
    const on = await openTestGpu();
    const before = on.ledger.byLabel();
    const some = classes.filter(({ format }) => format === 'BF16');
    await measureClasses(on, new Tuning(), some, unlimited);
    expect(on.ledger.byLabel()).toEqual(before);
  });

  it('takes no more memory than it says, for the largest shapes', async () => {
    const largest: KernelClass[] = [
      { kernel: 'matvec', format: 'BF16', rows: 151_936, columns: 6144, tokens: 1 },
      { kernel: 'expert gate-up', format: 'BF16', rows: 2560, columns: 6144, tokens: 1 },
      { kernel: 'expert matmul', format: 'BF16', rows: 2560, columns: 6144, tokens: 64 },
      { kernel: 'matmul', format: 'BF16', rows: 14_336, columns: 6144, tokens: 64 },
      { kernel: 'attention', format: 'f32 12:1', rows: 96, columns: 128, tokens: 32 },
    ];
    // On a GPU the work is larger, and so are the buffers; only what is allocated counts here.
    for (const software of [true, false]) {
      const limited = await openTestGpu({ software });
      const sizes: number[] = [];
      const allocate = vi.spyOn(limited, 'allocate');
      vi.spyOn(limited, 'record').mockImplementation(() => {
        sizes.push(limited.ledger.bytes);
        throw new Error('not run');
      });
      await measureClasses(limited, new Tuning(), largest, unlimited);
      expect(sizes.length).toBeGreaterThanOrEqual(largest.length);
      expect(Math.max(...sizes)).toBeLessThanOrEqual(scratchBytes);
      expect(allocate.mock.calls.every(([label]) => label === 'tuning')).toBe(true);
    }
  });

  it.each(['SUBGROUPS', 'SHARED'] as const)(
    'passes over a variant that does not compile (%s)',
    async (broken) => {
      const on = await withBroken(broken);
      const tuning = new Tuning();
      await measureClasses(on, tuning, classes.slice(0, 1), unlimited);
      const { variant, ms } = tuning.get(classKey(classes[0]))!;
      const name = broken === 'SHARED' ? 'shared' : 'subgroup';
      expect(ms[name] ?? null).toBeNull();
      expect(variant).not.toBe(name);
      await on.idle(); // The device is sound: nothing is left of the error.
    },
  );

  it('ends when it is aborted, and gives all memory back', async () => {
    const on = await openTestGpu();
    const before = on.ledger.bytes;
    const controller = new AbortController();
    const seen: number[] = [];
    const work = measureClasses(on, new Tuning(), classes, {
      ...unlimited,
      signal: controller.signal,
      onProgress: (done) => {
        seen.push(done);
        if (done === 1) controller.abort();
      },
    });
    await expect(work).rejects.toMatchObject({ code: 'ABORTED' });
    expect(seen).toEqual([0, 1]);
    expect(on.ledger.bytes).toBe(before);
  });

  it('does without where there is no memory, and fails with a device that is lost', async () => {
    const on = await openTestGpu();
    const noMemory = new MowgliError('OUT_OF_MEMORY', 'none left, says the test');
    vi.spyOn(on, 'allocate').mockRejectedValueOnce(noMemory);
    expect(await measureClasses(on, new Tuning(), classes, unlimited)).toBe(false);
    on.device.destroy();
    await on.device.lost;
    await expect(measureClasses(on, new Tuning(), classes, unlimited)).rejects.toBeInstanceOf(
      MowgliError,
    );
  });

  it('begins with no class once time is up', async () => {
    const tuning = new Tuning();
    const progress: number[] = [];
    const onProgress = (done: number) => void progress.push(done);
    await measureClasses(gpu, tuning, classes, { ...unlimited, budgetMs: -1, onProgress });
    expect(tuning.size).toBe(0);
    expect(progress).toEqual([classes.length]);
  });
});

describe('a choice', () => {
  const rows = 64;
  const columns = 64;
  /** The pipelines that a product of so many rows takes. */
  async function pipelinesOf(on: Gpu, tokens: number): Promise<string> {
    const buffers = testBuffers(on);
    const values = new Random('tune').normal(rows * columns);
    const { matrix } = await buffers.matrix('BF16', values, columns);
    const x = await buffers.inputRows(new Float32Array(tokens * columns), columns);
    const y = await buffers.outputRows(tokens, rows);
    const get = vi.spyOn(on.pipelines, 'get');
    await runOnGpu(on, (rec) => linear(rec, { weight: matrix, x, y, rows: tokens }));
    const used = get.mock.results.map(({ value }) => value.label).join();
    get.mockRestore();
    return used;
  }
  const choose = (kernel: 'matvec' | 'matmul', tokens: number, variant: string) => {
    const tuning = new Tuning();
    const key = classKey({ kernel, format: 'BF16', rows, columns, tokens });
    tuning.set(key, { variant, ms: {} });
    return tuning;
  };
  afterAll(() => {
    gpu.tuning = undefined;
  });

  it('is what a kernel is recorded with', async () => {
    gpu.tuning = choose('matvec', 1, 'shared');
    expect(await pipelinesOf(gpu, 1)).toContain('SHARED=true');
    gpu.tuning = choose('matvec', 1, 'alone');
    expect(await pipelinesOf(gpu, 1)).not.toMatch(/SHARED|SUBGROUPS/);
    gpu.tuning = choose('matmul', 40, 'tile');
    expect(await pipelinesOf(gpu, 40)).not.toMatch(/SHARED|BROADCAST/);
  });

  it('of another class, or of a variant that this device has not, leaves it to the rule', async () => {
    gpu.tuning = undefined;
    const ruled = await pipelinesOf(gpu, 40);
    for (const tuning of [choose('matvec', 1, 'tile'), choose('matmul', 40, 'of another device')]) {
      gpu.tuning = tuning;
      expect(await pipelinesOf(gpu, 40)).toBe(ruled);
    }
    const without = await openTestGpu({ subgroups: undefined });
    const plain = await pipelinesOf(without, 1);
    without.tuning = choose('matvec', 1, 'subgroup');
    expect(await pipelinesOf(without, 1)).toBe(plain);
    without.tuning = choose('matmul', 40, 'broadcast');
    expect(await pipelinesOf(without, 40)).not.toContain('BROADCAST');
  });
});

describe('kernelClasses', () => {
  const classesOf = (
    preset: keyof typeof presets,
    typeOf: (name: string) => NumberType,
    activations: ActivationType = 'f32',
  ) => {
    const { configJson, generationConfigJson } = presets[preset];
    const config = parseModelConfig(configJson, generationConfigJson, preset);
    const tensors = [...expectedTensors(config)].map((tensor) => {
      return [tensor.name, { ...tensor, type: typeOf(tensor.name), bytes: 0 }] as const;
    });
    return kernelClasses(config, new Map(tensors), { chunk: 512, kvType: 'f32', activations });
  };

  it('has none for a small model', () => {
    expect(classesOf('tiny', () => 'BF16')).toEqual([]);
  });

  it('has every format of a mixed file, each class once, the experts first', () => {
    const found = classesOf('coder30b', (name) => {
      if (name.includes('down_proj')) return 'Q6_K';
      return name.includes('v_proj') || name.includes('lm_head') ? 'Q8_0' : 'Q4_K';
    });
    const keys = found.map(classKey);
    expect(new Set(keys).size).toBe(keys.length);
    expect(keys.slice(0, 2).every((key) => key.startsWith('expert matmul Q4_K'))).toBe(true);
    expect(keys).toEqual(
      expect.arrayContaining([
        'expert gate-up Q4_K 1024x2048 M=1',
        'expert matvec Q6_K 2048x1024 M=1',
        'matvec Q4_K 4096x2048 M=1', // q and k together; v is of another type, and small
        'matvec Q4_K 2048x4096 M=1',
        'matvec Q8_0 131072x2048 M=1',
        'matmul Q4_K 2048x4096 M=64',
        'attention f32 8:1 32x128 M=1',
      ]),
    );
    expect(keys.some((key) => key.startsWith('matmul Q8_0'))).toBe(false);
  });

  it('tells int8 apart, where weights are integers', () => {
    const found = classesOf(
      'coder30b',
      (name) => (name.includes('lm_head') ? 'BF16' : 'Q4_K'),
      'int8',
    );
    for (const { kernel, format } of found) {
      if (kernel === 'attention') continue;
      expect(['Q4_K int8', 'BF16']).toContain(format);
    }
    expect(found.filter(({ format }) => format === 'BF16').length).toBe(1);
  });

  it('has the two products of experts whose gate and up differ in type', () => {
    const found = classesOf('coder30b', (name) => (name.includes('up_proj') ? 'Q5_K' : 'Q4_K'));
    const kernels = found.map(({ kernel, format }) => `${kernel} ${format}`);
    expect(kernels).toContain('expert matvec Q5_K');
    expect(kernels.some((kernel) => kernel.startsWith('expert gate-up'))).toBe(false);
  });
});

it('buffers of a failed class are freed', async () => {
  const on = await openTestGpu();
  const before = on.ledger.bytes;
  const broken: KernelClass = { ...classes[0], format: 'no format' };
  await expect(measureClasses(on, new Tuning(), [broken], unlimited)).rejects.toThrow();
  expect(on.ledger.bytes).toBe(before);
});
