import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Checkpoint, openCheckpoint } from '../../src/files/checkpoint.ts';
import type { TensorStore } from '../../src/files/tensors.ts';
import { NodeFolder } from '../../src/node/folder.ts';
import { logSumExp } from './compare.ts';
import { fixtureNames, openFixture } from './fixtures.ts';
import { type LayerTrace, ReferenceModel } from './model.ts';

/** Largest relative error of rounding to float32. */
const float32Rounding = 2 ** -24;

describe.each(fixtureNames)('%s', (name) => {
  let fixture: Awaited<ReturnType<typeof openFixture>>;
  let model: ReferenceModel;

  beforeAll(async () => {
    fixture = await openFixture(name);
    model = new ReferenceModel(fixture.config, fixture.tensors);
  });
  afterAll(() => fixture?.close());

  test('computes what another float64 implementation computes', async () => {
    const { tokens, logits, experts } = fixture.expected;
    const trace: LayerTrace[] = [];
    model.rewind();
    const actual = await model.forward(tokens, { trace });
    const gap = maxAbs(actual.map((value, i) => value - logits[i]));
    // The file is rounded to float32; the rest of the bound is for two orders of float64 addition.
    expect(gap).toBeLessThanOrEqual(float32Rounding * maxAbs(logits) + 1e-10);
    expect(trace.map(({ routing }) => [...routing!.experts])).toEqual(
      experts.map((layer) => layer.flat()),
    );
  });

  test('continues greedily as that implementation does', async () => {
    const { tokens, greedy } = fixture.expected;
    model.rewind();
    expect(await model.greedy(tokens, greedy.length)).toEqual(greedy);
  });

  test('is the same whether tokens come at once or in pieces', async () => {
    const { tokens } = fixture.expected;
    const { vocabSize } = fixture.config;
    model.rewind();
    const whole = await model.forward(tokens);
    model.rewind();
    await model.forward(tokens.slice(0, 9));
    model.rewind(4);
    expect(model.position).toBe(4);
    expect(await model.forward(tokens.slice(4, 5))).toEqual(
      whole.slice(4 * vocabSize, 5 * vocabSize),
    );
    expect(await model.forward(tokens.slice(5))).toEqual(whole.slice(5 * vocabSize));
  });
});

describe('tiny-coder, a trained model', () => {
  interface Prompt {
    name: string;
    ids: number[];
    top20_ids: number[];
    top20_logits: number[];
    logsumexp: number;
    experts: number[][];
    expert_weights: number[][];
    mean_nll: number;
    greedy_ids: number[];
  }
  const folder = fileURLToPath(new URL('../../models/tiny-coder', import.meta.url));
  let checkpoint: Checkpoint;
  let model: ReferenceModel;
  let prompts: Prompt[];

  beforeAll(async () => {
    checkpoint = await openCheckpoint(await NodeFolder.open(folder));
    model = new ReferenceModel(checkpoint.config, checkpoint.tensors);
    prompts = JSON.parse(await readFile(`${folder}/reference/expected.json`, 'utf8')).prompts;
  });
  afterAll(() => checkpoint?.close());

  // expected.json was computed with float32 arithmetic. A sum of n products that are each off by a
  // rounding is off by about sqrt(n) roundings. Numbers are written with six decimals.
  const tolerance = (largest: number) => Math.sqrt(256) * float32Rounding * largest + 5e-7;

  test('logits, experts and likelihood agree with PyTorch', { timeout: 60_000 }, async () => {
    const { vocabSize, numExpertsPerTok: k } = checkpoint.config;
    for (const prompt of prompts.filter(({ ids }) => ids.length < 400)) {
      const trace: LayerTrace[] = [];
      model.rewind();
      const logits = await model.forward(prompt.ids, { trace });

      const last = logits.subarray(-vocabSize);
      const bound = tolerance(prompt.top20_logits[0]);
      const gaps = prompt.top20_ids.map((id, i) => last[id] - prompt.top20_logits[i]);
      expect(maxAbs(gaps), prompt.name).toBeLessThan(bound);
      expect(Math.abs(logSumExp(last) - prompt.logsumexp), prompt.name).toBeLessThan(bound);

      let nll = 0;
      for (let i = 0; i + 1 < prompt.ids.length; i++) {
        const row = logits.subarray(i * vocabSize, (i + 1) * vocabSize);
        nll += logSumExp(row) - row[prompt.ids[i + 1]];
      }
      const nllGap = nll / (prompt.ids.length - 1) - prompt.mean_nll;
      expect(Math.abs(nllGap), prompt.name).toBeLessThan(bound);

      const routings = trace.map(({ routing }) => routing!);
      expect(routings.map(({ experts }) => [...experts.slice(-k)])).toEqual(prompt.experts);
      const weights = routings.flatMap(({ weights }) => [...weights.slice(-k)]);
      const weightGaps = prompt.expert_weights.flat().map((weight, i) => weight - weights[i]);
      expect(maxAbs(weightGaps), prompt.name).toBeLessThan(tolerance(1));
    }
  });

  test('continues greedily as PyTorch does', { timeout: 60_000 }, async () => {
    for (const prompt of prompts.filter(({ ids }) => ids.length < 100)) {
      model.rewind();
      const greedy = await model.greedy(prompt.ids, prompt.greedy_ids.length);
      expect(greedy, prompt.name).toEqual(prompt.greedy_ids);
    }
  });
});

describe('what the fixtures do not have', () => {
  /** The fixture, with expert 0 in place of every expert and of every dense layer's MLP. */
  async function withOneMlp() {
    const fixture = await openFixture('one-kv-head');
    const rename = (name: string) =>
      name.replace(/\.mlp\.(experts\.\d+\.)?(\w+_proj)/, '.mlp.experts.0.$2');
    const store: TensorStore = {
      tensors: {
        get: (name: string) => fixture.tensors.tensors.get(rename(name)),
      } as TensorStore['tensors'],
      read: (name, options) => fixture.tensors.read(rename(name), options),
      close: () => fixture.tensors.close(),
    };
    return { config: fixture.config, store, tokens: fixture.expected.tokens };
  }

  test('a dense layer is a sparse layer whose experts are all the same', async () => {
    const { config, store, tokens } = await withOneMlp();
    const sparse = await new ReferenceModel(config, store).forward(tokens);
    const trace: LayerTrace[] = [];
    const mixed = { ...config, sparseLayers: [false, true] };
    const dense = await new ReferenceModel(mixed, store).forward(tokens, { trace });
    expect(maxAbs(sparse.map((value, i) => value - dense[i]))).toBeLessThan(1e-10);
    expect(trace.map(({ routing }) => routing !== undefined)).toEqual([false, true]);
    await store.close();
  });

  test('norm_topk_prob false scales the experts down', async () => {
    const { config, store, tokens } = await withOneMlp();
    const run = async (normTopkProb: boolean) => {
      const trace: LayerTrace[] = [];
      await new ReferenceModel({ ...config, normTopkProb }, store).forward(tokens, { trace });
      return trace[0];
    };
    const [full, scaled] = [await run(true), await run(false)];
    const { hiddenSize, numExpertsPerTok: k } = config;
    for (let t = 0; t < tokens.length; t++) {
      const share = scaled
        .routing!.weights.slice(t * k, (t + 1) * k)
        .reduce((sum, weight) => sum + weight, 0);
      expect(share).toBeLessThan(1);
      const i = t * hiddenSize;
      const mlpOf = ({ hidden, attention }: LayerTrace) => hidden[i] - attention[i];
      expect(mlpOf(scaled)).toBeCloseTo(mlpOf(full) * share, 10);
    }
    await store.close();
  });
});

function maxAbs(values: ArrayLike<number>): number {
  let max = 0;
  for (let i = 0; i < values.length; i++) max = Math.max(max, Math.abs(values[i]));
  return max;
}
