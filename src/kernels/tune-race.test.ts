import { expect, test } from 'vitest';
import { race } from './tune-race.ts';

/** A machine on which a run of a variant takes so many milliseconds, the first one `compile` more. */
function machine(ms: Record<string, number | undefined>, compile = 0, noise = (_: number) => 0) {
  let clock = 0;
  let samples = 0;
  const taken: Record<string, number[]> = {};
  const sample = async (variant: string, runs: number) => {
    taken[variant] ??= [];
    clock += taken[variant].length === 0 ? compile : 0;
    taken[variant].push(runs);
    const time = ms[variant];
    if (time === undefined) return undefined;
    const lasts = runs * time + noise(samples++);
    clock += lasts;
    return lasts;
  };
  const options = { sampleMs: 10, budgetMs: 1000, now: () => clock };
  const names = Object.keys(ms);
  return { taken, elapsed: () => clock, run: (rule: string) => race(names, rule, sample, options) };
}

test('the fastest wins, with the times of all', async () => {
  const { run } = machine({ a: 4, b: 2, c: 3 });
  expect(await run('a')).toEqual({ variant: 'b', ms: { a: 4, b: 2, c: 3 } });
});

test('the rule stays unless another one is faster by more than noise', async () => {
  expect((await machine({ a: 2, b: 1.9 }).run('a'))?.variant).toBe('a');
  expect((await machine({ a: 2, b: 1.9 }).run('b'))?.variant).toBe('b');
  expect((await machine({ a: 2, b: 1.7 }).run('a'))?.variant).toBe('b');
});

test('a variant that is clearly slower runs no more than once after it was compiled', async () => {
  const { run, taken } = machine({ a: 3, b: 40, c: 3.1 });
  expect((await run('a'))?.ms).toEqual({ a: 3, b: 40, c: 3.1 });
  expect(taken.b).toEqual([1, 1]);
  expect(taken.c.length).toBeGreaterThan(5);
});

test('a variant that fails is passed over, also the rule, and when all do there is no choice', async () => {
  const { run, taken } = machine({ a: undefined, b: 3, c: 2 });
  expect(await run('a')).toEqual({ variant: 'c', ms: { a: null, b: 3, c: 2 } });
  expect(taken.a).toEqual([1]);
  expect(await machine({ a: undefined, b: undefined }).run('a')).toBeUndefined();
});

test('no variant is begun with once time is up', async () => {
  const { run, taken } = machine({ a: 5, b: 4, c: 1 }, 600);
  expect((await run('a'))?.ms).toEqual({ a: 5, b: 4, c: null });
  expect(taken.c).toBeUndefined();
});

test('a compiler that takes all the time leaves the rule', async () => {
  const { run, elapsed } = machine({ a: 5, b: 1 }, 5000);
  expect(await run('a')).toEqual({ variant: 'a', ms: { a: 5, b: null } });
  expect(elapsed()).toBeLessThan(5100);
});

test('moments in which the machine is busy decide nothing', async () => {
  for (let busy = 0; busy < 12; busy++) {
    const { run } = machine({ a: 5, b: 8 }, 0, (i) => (i === busy || i === busy + 3 ? 200 : 0));
    expect((await run('a'))?.variant).toBe('a');
  }
});

test('a machine that is busy most of the time leaves the rule where it may be as good', async () => {
  // Of the rule's samples (compiled, run, then every other one), all but one are slow.
  const slow = (i: number) => (i >= 4 && i % 2 === 0 && i !== 8 ? 30 : 0);
  expect((await machine({ a: 5, b: 5 }, 0, slow).run('a'))?.variant).toBe('a');
  expect((await machine({ a: 9, b: 5 }, 0, slow).run('a'))?.variant).toBe('b');
});

test('samples of quick kernels are many runs', async () => {
  const { run, taken } = machine({ a: 0.1, b: 0.12 });
  await run('a');
  expect(Math.max(...taken.a)).toBe(100);
});
