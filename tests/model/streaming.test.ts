import { beforeAll, describe, expect, test } from 'vitest';
import {
  type FixtureName,
  fixtureFolder,
  openFixture,
} from '../../kernels-test/reference/fixtures.ts';
import type { ModelSource } from '../../src/files/open-model.ts';
import type { Gpu } from '../../src/gpu/device.ts';
import {
  findModel,
  type LoadOptions,
  loadModelOn,
  policyNames,
  type ReadAhead,
} from '../../src/node.ts';
import { complete, greedy } from './complete.ts';
import { endless, referencePrompts, tinyCoder } from './folders.ts';
import { randomModel, randomTokens, sharedGpu, temporaryFolder, writeModel } from './quantized.ts';
import { ask, askComplete, type Complete, firstDifference, memoryFor } from './streaming.ts';

// Where an expert's weights are, and when they come, changes nothing: not one bit of one logit.

const gpu = await sharedGpu();
/** A device whose bindings hold few experts, or one head of the cache. */
const narrowGpu = await sharedGpu({ maxBindingBytes: 33024 });
/** As on a real GPU: uploads wait on the queue instead of being written in place. */
const queuedGpu = await sharedGpu({ software: false });
const plainGpu = await sharedGpu({ software: false, subgroups: undefined, f16: false });
// The device's own buffer, which models share here: none must look smaller for having come first.
for (const one of [gpu, narrowGpu, queuedGpu, plainGpu]) await one.reserveReadback(4 << 20);
const folder = temporaryFolder();

const chunks = [1, 7, 64, 512];
const shares = [1, 0.5, 0.25, 0.125, 0.04];
const readAheads: readonly ReadAhead[] = ['off', 'on', 'auto'];

/** Greedy tokens: enough for `auto` to try reading ahead, and to give it up. */
const maxTokens = 14;

/** The n-th combination. The numbers of choices have no common divisor: 35 cover every pair. */
function combination(n: number) {
  return {
    share: shares[n % shares.length],
    policy: policyNames[n % policyNames.length],
    readAhead: readAheads[n % readAheads.length],
    chunk: chunks[n % chunks.length],
    hostMemory: Math.floor(n / chunks.length) % 2 === 0 ? 0 : 100_000,
  };
}

interface Case {
  readonly name: string;
  readonly gpu: Gpu;
  readonly combinations: number;
  open(): Promise<{ source: ModelSource; prompt: readonly number[]; expected?: readonly number[] }>;
}

async function openFixtureSource(name: FixtureName) {
  const { expected, close } = await openFixture(name);
  await close();
  const source = await endless(fixtureFolder(name));
  return { source, prompt: expected.tokens, expected: expected.greedy };
}

const cases: readonly Case[] = [
  {
    name: '160 experts',
    gpu,
    combinations: 35,
    open: () => openFixtureSource('experts-160'),
  },
  {
    name: 'in several bindings',
    gpu: narrowGpu,
    combinations: 6,
    open: () => openFixtureSource('experts-160'),
  },
  {
    name: 'uploads on the queue',
    gpu: queuedGpu,
    combinations: 10,
    open: () => openFixtureSource('experts-160'),
  },
  {
    name: 'uploads on the queue, no subgroups, no f16',
    gpu: plainGpu,
    combinations: 4,
    open: () => openFixtureSource('experts-160'),
  },
  {
    name: 'three layouts of experts, in GGUF',
    gpu,
    combinations: 10,
    open: async () => {
      const checkpoint = randomModel({ num_hidden_layers: 4, num_experts: 20 }, 3);
      const path = await writeModel(folder, checkpoint, {
        type: 'Q8_0',
        typeOf: (name) => {
          if (/^blk\.1\.ffn_.*_exps/.test(name)) return 'Q4_0';
          return /^blk\.2\.ffn_up_exps/.test(name) ? 'F16' : undefined;
        },
      });
      return { source: await findModel(path), prompt: randomTokens(256, 19) };
    },
  },
  {
    name: 'a trained model',
    gpu,
    combinations: 8,
    open: async () => {
      const { ids, greedy_ids } = (await referencePrompts()).find(
        ({ name }) => name === 'py_class',
      )!;
      return { source: await endless(tinyCoder), prompt: ids, expected: greedy_ids };
    },
  },
];

describe.each(cases)('$name', ({ gpu, combinations, open }) => {
  let opened: Awaited<ReturnType<typeof open>>;
  const resident = new Map<number, Complete>();
  const options = (chunk: number): LoadOptions => ({ context: 64, chunk, tuning: 'off' });

  beforeAll(async () => {
    opened = await open();
    const { source, prompt, expected } = opened;
    for (const chunk of chunks) {
      const answer = await askComplete(gpu, source, options(chunk), prompt, maxTokens);
      resident.set(chunk, answer);
      const known = expected ?? resident.get(chunks[0])!.tokens;
      const count = Math.min(known.length, maxTokens);
      expect(answer.tokens.slice(0, count)).toEqual(known.slice(0, count));
    }
  });

  test.each(Array.from({ length: combinations }, (_, n) => combination(n)))(
    '$share of the experts, $policy, read ahead $readAhead, chunk $chunk, host $hostMemory',
    async ({ share, chunk, ...rest }) => {
      const expected = resident.get(chunk)!;
      const load = { ...options(chunk), ...rest, gpuMemory: memoryFor(expected, share) };
      await using model = await loadModelOn(async () => gpu, opened.source, load);
      const actual = await ask(model, opened.prompt, maxTokens);
      expect(firstDifference(actual.logits, expected.logits)).toBe(-1);
      expect(actual.tokens).toEqual(expected.tokens);
      const { slots, experts, misses } = model.expertUsage();
      expect(slots).toBeLessThanOrEqual(Math.max(3, share * experts));
      if (share < 1) expect(misses).toBeGreaterThan(0);
      else expect(misses).toBe(0);
    },
  );
});

describe('a trained model with little room', () => {
  const load: LoadOptions = { context: 1536, chunk: 256, tuning: 'off' };
  const count = 4;
  let byteCounts: Complete;

  beforeAll(async () => {
    byteCounts = await askComplete(gpu, await endless(tinyCoder), load, [1], 1);
  });

  test('the continuations that PyTorch gives', async () => {
    const gpuMemory = memoryFor(byteCounts, 0.2);
    const options = { ...load, gpuMemory };
    await using model = await loadModelOn(async () => gpu, await endless(tinyCoder), options);
    for (const { name, ids, greedy_ids } of await referencePrompts()) {
      const { tokens, end } = await complete(
        model,
        { tokens: ids },
        { ...greedy, maxTokens: count },
      );
      expect(tokens, name).toEqual(greedy_ids.slice(0, count));
      expect(end?.usage.experts.misses, name).toBeGreaterThan(0);
    }
  });

  test('generations at once take turns: each gives what it gives alone', async () => {
    // Fewer slots than one token needs in a layer.
    const options = { ...load, gpuMemory: memoryFor(byteCounts, 0.04), readAhead: 'on' } as const;
    await using model = await loadModelOn(async () => gpu, await endless(tinyCoder), options);
    const prompts = (await referencePrompts()).filter(({ ids }) => ids.length < 64);
    expect(prompts.length).toBeGreaterThan(3);
    const answers = await Promise.all(
      prompts.map(({ ids }) => complete(model, { tokens: ids }, { ...greedy, maxTokens: count })),
    );
    expect(answers.map(({ tokens }) => tokens)).toEqual(
      prompts.map(({ greedy_ids }) => greedy_ids.slice(0, count)),
    );
  });
});
