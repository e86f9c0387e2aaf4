import { describe, expect, it } from 'vitest';
import { Random } from '../../kernels-test/random.ts';
import { MowgliError } from '../../src/errors.ts';
import { optimalHits } from '../../src/experts/optimal-cache.ts';
import { createPolicy, policyNames } from '../../src/experts/policy.ts';
import { policyHits, simulate } from '../../src/experts/simulate.ts';
import { demandsOf } from '../../src/experts/trace-demand.ts';
import type { Trace, TracedStep, TraceModel } from '../../src/experts/trace-file.ts';
import { asTrace, randomModel, randomSteps } from './random-trace.ts';

const sum = (values: Iterable<number>) => [...values].reduce((a, b) => a + b, 0);

/** The experts that each step needs in each layer, as `layer/expert`. */
function needs({ model, steps }: Trace): { tokens: number; layers: Map<string, number>[] }[] {
  return steps.map(({ tokens, chosen }) => {
    const ids = tokens * model.expertsPerToken;
    const layers = model.sparseLayers.map((_, layer) => {
      const uses = new Map<string, number>();
      for (const expert of chosen.slice(layer * ids, (layer + 1) * ids)) {
        const key = `${layer}/${expert}`;
        uses.set(key, (uses.get(key) ?? 0) + 1);
      }
      return uses;
    });
    return { tokens, layers };
  });
}

interface NaiveUse {
  uses: number;
  /** [token at which a step ended, its uses, its tokens]. */
  history: [number, number, number][];
  last: number;
}

/** Plain caches: a list, sorted by worth for each eviction. */
function naiveHits(trace: Trace, slots: number, name: 'lru' | 'lfu' | 'lrfu'): number[] {
  const hits: number[] = [];
  const cache = new Set<string>();
  const used = new Map<string, NaiveUse>();
  let now = 0;
  let touches = 0;
  let halvings = 0;
  const worth = (key: string, step: Map<string, number>) => {
    const use = used.get(key)!;
    if (name === 'lru') return use.last;
    if (name === 'lfu') return use.uses;
    const decay = 2 ** (-1 / 32);
    let total = step.has(key) && use.last > 0 ? 1 : 0;
    for (const [end, uses, tokens] of use.history) {
      for (let token = 0; token < tokens; token++) {
        total += (uses / tokens) * decay ** (now - end + token);
      }
    }
    return total;
  };
  for (const { tokens, layers } of needs(trace)) {
    const pending = new Map<string, number>();
    for (const layer of layers) {
      hits.push([...layer.keys()].filter((key) => cache.has(key)).length);
      const missing = [...layer.keys()].filter((key) => !cache.has(key));
      for (const [key, uses] of layer) {
        const use = used.get(key) ?? { uses: 0, history: [], last: 0 };
        used.set(key, use);
        use.uses += uses;
        use.last = ++touches;
        pending.set(key, uses);
      }
      for (const key of missing) {
        if (cache.size === slots) {
          const others = [...cache].filter((other) => !layer.has(other));
          const candidates = others.length > 0 ? others : [...cache];
          candidates.sort((a, b) => {
            const difference = worth(a, pending) - worth(b, pending);
            if (Math.abs(difference) > 1e-9) return difference;
            return used.get(a)!.last - used.get(b)!.last;
          });
          cache.delete(candidates[0]!);
        }
        cache.add(key);
      }
    }
    now += tokens;
    for (const [key, uses] of pending) used.get(key)!.history.push([now, uses, tokens]);
    for (; halvings < Math.floor(now / 512); halvings++) {
      for (const use of used.values()) use.uses /= 2;
    }
  }
  return hits;
}

/** The most hits that any choice of evictions gives, by trying all. */
function bestHits(trace: Trace, slots: number): number {
  /** Contents of the cache, to the most hits with which they can be reached. */
  let states = new Map<string, number>([['', 0]]);
  for (const layer of needs(trace).flatMap(({ layers }) => layers)) {
    const needed = [...layer.keys()];
    const after = new Map<string, number>();
    for (const [state, hits] of states) {
      const contents = state === '' ? [] : state.split(' ');
      const now = hits + contents.filter((key) => layer.has(key)).length;
      // What a layer needs stays until it is done, if it fits; else any of it may stay.
      const fits = needed.length <= slots;
      const optional = fits
        ? contents.filter((key) => !layer.has(key))
        : [...new Set([...contents, ...needed])];
      const room = Math.min(optional.length, slots - (fits ? needed.length : 0));
      for (const kept of subsets(optional, room)) {
        const next = [...(fits ? needed : []), ...kept].sort().join(' ');
        after.set(next, Math.max(after.get(next) ?? 0, now));
      }
    }
    states = after;
  }
  return Math.max(...states.values());
}

function* subsets<T>(items: readonly T[], size: number): Generator<T[]> {
  if (size === 0) {
    yield [];
    return;
  }
  for (let i = 0; i + size <= items.length; i++) {
    for (const rest of subsets(items.slice(i + 1), size - 1)) yield [items[i]!, ...rest];
  }
}

function randomTrace(random: Random, count: number, most?: { layers: number; experts: number }) {
  const model = randomModel(random, most);
  return asTrace(model, randomSteps(model, random, count));
}

describe('a simulated cache', () => {
  it.each(['lru', 'lfu', 'lrfu'] as const)('%s hits as a plain implementation does', (name) => {
    const random = new Random(`naive ${name}`);
    for (let round = 0; round < 30; round++) {
      const trace = randomTrace(random, 40);
      const demands = demandsOf(trace);
      const { layers, experts } = demands;
      for (const slots of [1, 2 + random.below(6), 5 + random.below(30)]) {
        const policy = createPolicy(name, { layers, experts, slots });
        const hits = [...policyHits(demands, slots, policy)];
        expect(hits, `round ${round}, ${slots} slots`).toEqual(naiveHits(trace, slots, name));
      }
    }
  });

  it('hits everything after the first use when all experts fit', () => {
    const random = new Random('all fit');
    const demands = demandsOf(randomTrace(random, 60));
    const { layers, experts, keys } = demands;
    const slots = layers * experts;
    const expected = keys.length - new Set(keys).size;
    expect(sum(optimalHits(demands, slots))).toBe(expected);
    for (const name of policyNames) {
      const policy = createPolicy(name, { layers, experts, slots });
      expect(sum(policyHits(demands, slots, policy)), name).toBe(expected);
    }
  });

  it("Belady's is the best of all ways to evict", () => {
    const random = new Random('exhaustive');
    for (let round = 0; round < 40; round++) {
      const trace = randomTrace(random, 5, { layers: 2, experts: 5 });
      for (const slots of [1, 2, 3, 4]) {
        const hits = sum(optimalHits(demandsOf(trace), slots));
        expect(hits, `round ${round}, ${slots} slots`).toBe(bestHits(trace, slots));
      }
    }
  });

  it("no policy beats Belady's", () => {
    const random = new Random('bound');
    for (let round = 0; round < 200; round++) {
      const demands = demandsOf(randomTrace(random, 30));
      const { layers, experts } = demands;
      const slots = 1 + random.below(layers * experts);
      const optimum = sum(optimalHits(demands, slots));
      for (const name of policyNames) {
        const policy = createPolicy(name, { layers, experts, slots });
        const hits = sum(policyHits(demands, slots, policy));
        expect(hits, `round ${round}: ${name}, ${slots} slots`).toBeLessThanOrEqual(optimum);
      }
    }
  });
});

describe('simulate', () => {
  const model: TraceModel = {
    name: 'm',
    layers: 3,
    sparseLayers: [1, 2],
    experts: 4,
    expertsPerToken: 2,
  };
  // Layer 1 needs {0, 1, 2} of the prompt, whose tokens share expert 0; then {0, 1}, then {0, 3}.
  const steps: TracedStep[] = [
    {
      kind: 'prompt',
      tokens: 2,
      chosen: [
        [0, 1, 2, 0],
        [3, 2, 3, 2],
      ],
      predicted: [[[3, 1, 3, 1]]],
    },
    {
      kind: 'decode',
      tokens: 1,
      chosen: [
        [1, 0],
        [2, 3],
      ],
      predicted: [[[2, 3]]],
    },
    {
      kind: 'decode',
      tokens: 1,
      chosen: [
        [3, 0],
        [0, 2],
      ],
      predicted: [[[0, 1]]],
    },
  ];

  it('counts each expert once per layer and step, prompts and decoding apart, first uses apart', async () => {
    const simulation = await simulate(asTrace(model, steps), { slots: [8], policies: ['lru'] });
    expect(simulation).toMatchObject({
      experts: 8,
      usedExperts: 7,
      decodedTokens: 2,
      promptTokens: 2,
    });
    for (const cache of simulation.caches) {
      expect(cache.prompt).toEqual({ needed: 5, hits: 0, cold: 5 });
      expect(cache.decode).toEqual({ needed: 8, hits: 6, cold: 2 });
    }
    expect(simulation.caches.map(({ policy }) => policy)).toEqual(['optimal', 'lru']);
  });

  it('scores predictions by routers, by the token before and by use so far', async () => {
    const { predictions } = await simulate(asTrace(model, steps), { slots: [8], policies: [] });
    expect(predictions).toEqual([
      {
        predictor: { kind: 'router', depth: 1 },
        decode: { predicted: 4, needed: 4, right: 3 },
        prompt: { predicted: 2, needed: 2, right: 1 },
      },
      {
        predictor: { kind: 'repeat' },
        // Of layer 1: {2, 0} for {1, 0}, {1, 0} for {3, 0}; of layer 2: {3, 2} for {2, 3}, for {0, 2}.
        decode: { predicted: 8, needed: 8, right: 1 + 1 + 2 + 1 },
        prompt: { predicted: 0, needed: 0, right: 0 },
      },
      {
        predictor: { kind: 'frequent' },
        // Of layer 1: {0, 1} for {1, 0}, {0, 1} for {3, 0}; of layer 2: {2, 3} both times.
        decode: { predicted: 8, needed: 8, right: 2 + 1 + 2 + 1 },
        prompt: { predicted: 0, needed: 0, right: 0 },
      },
    ]);
  });

  it('refuses what is no cache, and stops when told to', async () => {
    const trace = asTrace(model, steps);
    await expect(simulate(trace, { slots: [0] })).rejects.toThrow(/a cache of 0 experts/);
    await expect(simulate(trace, { slots: [1.5] })).rejects.toBeInstanceOf(MowgliError);
    const controller = new AbortController();
    const seen: number[] = [];
    const stopped = simulate(trace, {
      slots: [1, 2, 3],
      signal: controller.signal,
      onProgress: ({ done }) => {
        seen.push(done);
        if (done === 4) controller.abort();
      },
    });
    await expect(stopped).rejects.toMatchObject({ code: 'ABORTED' });
    expect(seen).toEqual([1, 2, 3, 4]);
  });
});
