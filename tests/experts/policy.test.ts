import { describe, expect, it } from 'vitest';
import { Random } from '../../kernels-test/random.ts';
import { LfuPolicy } from '../../src/experts/policies/lfu.ts';
import { LrfuPolicy } from '../../src/experts/policies/lrfu.ts';
import {
  type CachePolicy,
  createPolicy,
  hotSet,
  type PolicyName,
  policyNames,
} from '../../src/experts/policy.ts';

const any = () => true;
const oneLayer = { layers: 1, experts: 8, slots: 3 };

/** Decodes tokens that need these experts, one after the other, of a layer each. */
function need(policy: CachePolicy, keys: readonly number[]): void {
  for (const key of keys) {
    policy.touch(key);
    policy.step();
  }
}

function fill(policy: CachePolicy, keys: readonly number[]): void {
  for (const key of keys) {
    policy.touch(key);
    policy.insert(key);
  }
}

/** The order in which a policy would give its residents up. */
function evictAll(policy: CachePolicy, incoming = 7): number[] {
  const order: number[] = [];
  for (;;) {
    const key = policy.victim(incoming, any);
    if (key === undefined) return order;
    policy.remove(key);
    order.push(key);
  }
}

describe('policies', () => {
  it('lru gives up what was used longest ago', () => {
    const policy = createPolicy('lru', oneLayer);
    fill(policy, [0, 1, 2]);
    need(policy, [0, 2, 1, 0]);
    expect(evictAll(policy)).toEqual([2, 1, 0]);
  });

  it('lfu gives up what was used least, of equals the one used longest ago', () => {
    const policy = createPolicy('lfu', oneLayer);
    fill(policy, [0, 1, 2]);
    need(policy, [0, 0, 2, 1]);
    expect(evictAll(policy)).toEqual([2, 1, 0]);
  });

  it('lfu forgets: after some halvings, a few recent uses outweigh many old ones', () => {
    const uses = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1];
    const forgetful = new LfuPolicy('lfu', oneLayer, { halving: 4 });
    const faithful = new LfuPolicy('lfu', oneLayer, { halving: 1000 });
    for (const policy of [forgetful, faithful]) {
      fill(policy, [0, 1]);
      need(policy, uses);
    }
    expect(faithful.victim(7, any)).toBe(1);
    need(forgetful, [1]);
    expect(forgetful.victim(7, any)).toBe(0);
  });

  it('lrfu is lru with a short half-life and lfu with a long one', () => {
    const lru = new LrfuPolicy('lrfu', oneLayer, { halfLife: 0.5 });
    const lfu = new LrfuPolicy('lrfu', oneLayer, { halfLife: 1e6 });
    for (const policy of [lru, lfu]) {
      fill(policy, [0, 1, 2]);
      need(policy, [0, 0, 0, 1, 2, 2, 1]);
    }
    expect(evictAll(lru)).toEqual([0, 2, 1]);
    expect(evictAll(lfu)).toEqual([2, 1, 0]);
  });

  it('cyclic gives up the layer that the pass has just left, where lru gives up the next one', () => {
    const shape = { layers: 4, experts: 4, slots: 4 };
    const keys = [0, 4, 8, 12]; // One expert of each layer, all used by every token.
    for (const [name, expected] of [
      ['cyclic', 4],
      ['lru', 8],
    ] as const) {
      const policy = createPolicy(name, shape);
      for (let token = 0; token < 3; token++) {
        for (const key of keys) {
          policy.touch(key);
          policy.insert(key);
        }
        policy.step();
      }
      policy.touch(0);
      policy.touch(4);
      policy.touch(5);
      expect(
        policy.victim(5, (key) => Math.floor(key / 4) !== 0),
        name,
      ).toBe(expected);
    }
  });

  it('gives each layer its share of the slots', () => {
    for (const name of ['lru/layer', 'lfu/layer', 'lrfu/layer'] as const) {
      const policy = createPolicy(name, { layers: 2, experts: 8, slots: 4 });
      fill(policy, [0, 1, 2]);
      policy.touch(8);
      policy.insert(8);
      policy.step();
      // Layer 1 is below its share: it takes from layer 0, although its own expert is as little used.
      policy.touch(9);
      const first = policy.victim(9, any)!;
      expect(first, name).toBe(0);
      policy.remove(first);
      policy.insert(9);
      policy.step();
      // Now both have two, and each pays for itself.
      policy.touch(10);
      expect(policy.victim(10, (key) => key !== 10)).toBe(8);
      policy.touch(3);
      expect(policy.victim(3, (key) => key !== 3)).toBe(1);
    }
  });

  it('counts a chunk by how many of its tokens need an expert', () => {
    for (const name of ['lfu', 'lrfu', 'cyclic'] as const) {
      const policy = createPolicy(name, oneLayer);
      for (const [key, tokens] of [
        [0, 9],
        [1, 40],
        [2, 3],
      ] as const) {
        policy.touch(key, tokens);
        policy.insert(key);
      }
      policy.step(64);
      expect(evictAll(policy), name).toEqual([2, 0, 1]);
    }
  });

  it('gives up what is pinned only when nothing else may go', () => {
    for (const name of policyNames) {
      const policy = createPolicy(name, oneLayer, { pinned: new Set([1, 5]) });
      fill(policy, [1, 0, 2]);
      need(policy, [0, 2, 0, 2]);
      const order = evictAll(policy);
      expect(order.at(-1), name).toBe(1);
      expect(order).toHaveLength(3);
    }
  });

  it('spares what was prefetched until the pass has left its layer', () => {
    for (const name of policyNames) {
      const policy = createPolicy(name, { layers: 3, experts: 4, slots: 3 });
      fill(policy, [0, 1]);
      need(policy, [0, 1, 0, 1]);
      policy.touch(0);
      policy.insert(4, true);
      expect(policy.victim(5, any), name).not.toBe(4);
      if (name === 'lru' || name.includes('/')) continue; // For them 1 goes first anyway.
      policy.touch(5); // Another expert of the layer is needed,
      policy.touch(8); // and then those of the next: the prefetch was wrong.
      expect(
        policy.victim(9, (key) => key !== 0),
        name,
      ).toBe(4);
    }
  });

  it('knows its names only', () => {
    expect(() => createPolicy('fifo' as PolicyName, oneLayer)).toThrow(/one of lru, lfu/);
    expect(() => createPolicy('constructor' as PolicyName, oneLayer)).toThrow(/one of lru/);
  });

  it.each(policyNames)(
    '%s: the victim always is resident and allowed, and found if there is one',
    (name) => {
      const random = new Random(`victims of ${name}`);
      for (let round = 0; round < 40; round++) {
        const shape = { layers: 1 + random.below(4), experts: 2 + random.below(6), slots: 6 };
        const keys = shape.layers * shape.experts;
        const pinned = new Set(Array.from({ length: random.below(4) }, () => random.below(keys)));
        const policy = createPolicy(name, shape, { pinned });
        const resident = new Set<number>();
        for (let i = 0; i < 300; i++) {
          const key = random.below(keys);
          const action = random.unit();
          if (action < 0.3) policy.touch(key, 1 + random.below(3));
          else if (action < 0.6) {
            policy.insert(key, random.unit() < 0.3);
            resident.add(key);
          } else if (action < 0.7) {
            policy.remove(key);
            resident.delete(key);
          } else if (action < 0.8) policy.step(1 + random.below(5));
          else {
            const allowed = new Set([...resident].filter(() => random.unit() < 0.5));
            const victim = policy.victim(key, (other) => allowed.has(other));
            if (allowed.size === 0) expect(victim).toBeUndefined();
            else expect(allowed).toContain(victim);
            const spare = [...allowed].some((other) => !pinned.has(other));
            if (spare) expect(pinned).not.toContain(victim);
          }
        }
      }
    },
  );
});

describe('hotSet', () => {
  it('takes the most used, of equals the first, and nothing unused', () => {
    expect([...hotSet([3, 0, 9, 3, 1], 3)]).toEqual([2, 0, 3]);
    expect([...hotSet([3, 0, 9, 3, 1], 10)]).toEqual([2, 0, 3, 4]);
    expect(hotSet([3, 0, 9], 0).size).toBe(0);
  });
});
