import { describe, expect, test } from 'vitest';
import { uniform } from '../../kernels-test/reference/random.ts';
import { Lookahead } from './lookahead.ts';

/** A lookahead that has seen layers miss with a chance, and take so many milliseconds. */
function experienced(missRate: number, syncMs: number, layerMs: number): Lookahead {
  const lookahead = new Lookahead(syncMs);
  for (let n = 0; n < 4000; n++) {
    // Evenly spread, so that the running mean is close to the rate.
    lookahead.saw(Math.floor((n + 1) * missRate) > Math.floor(n * missRate));
    lookahead.took(syncMs + 5 * layerMs, 5);
  }
  return lookahead;
}

/** Milliseconds of a pass that waits after every `horizon` layers, and goes back to each miss. */
function passMs(horizon: number, misses: readonly boolean[], syncMs: number, layerMs: number) {
  let ms = 0;
  for (let next = 0; next < misses.length; ) {
    const end = Math.min(next + horizon, misses.length);
    ms += syncMs + (end - next) * layerMs;
    const missed = misses.indexOf(true, next);
    next = missed >= 0 && missed < end ? missed + 1 : end;
  }
  return ms;
}

describe('a horizon near the best one', () => {
  const layers = 48;
  test.each([0.003, 0.01, 0.03, 0.1, 0.3, 0.7])('with misses in %f of the layers', (missRate) => {
    const random = uniform(5);
    const passes = Array.from({ length: 300 }, () =>
      Array.from({ length: layers }, () => random() < missRate),
    );
    for (const [syncMs, layerMs] of [
      [0.1, 2],
      [1, 1],
      [3, 0.2],
    ]) {
      const mean = (horizon: number) =>
        passes.reduce((sum, misses) => sum + passMs(horizon, misses, syncMs, layerMs), 0);
      const chosen = experienced(missRate, syncMs, layerMs).choose(layers);
      const best = Math.min(...Array.from({ length: layers }, (_, i) => mean(i + 1)));
      expect(mean(Math.min(chosen, layers)), `${syncMs} ms, ${layerMs} ms: ${chosen}`).toBeLessThan(
        1.2 * best,
      );
    }
  });
});

test('nothing is computed in vain before anything is known, or when every layer misses', () => {
  for (const lookahead of [new Lookahead(1), experienced(1, 1, 1)]) {
    for (const left of [1, 2, 7, 48]) expect(lookahead.choose(left)).toBe(1);
  }
});

test('without misses there is one wait, at the end', () => {
  for (const [syncMs, layerMs] of [
    [0.05, 20],
    [1, 1],
    [10, 0.01],
  ]) {
    const lookahead = experienced(0, syncMs, layerMs);
    for (const left of [0, 1, 2, 48, 62]) {
      expect(lookahead.choose(left)).toBe(Number.POSITIVE_INFINITY);
    }
  }
});

test('in front of the last experts it waits if that is cheaper than to compute them in vain', () => {
  expect(experienced(0.5, 1, 3).choose(1)).toBe(1);
  expect(experienced(0.5, 3, 1).choose(1)).toBe(Number.POSITIVE_INFINITY);
});

test('a wait that takes less than one did in the beginning is no negative time', () => {
  const lookahead = new Lookahead(10);
  for (let n = 0; n < 100; n++) {
    lookahead.took(1, 4);
    lookahead.saw(n % 2 === 0);
  }
  expect(lookahead.choose(8)).toBe(Number.POSITIVE_INFINITY);
});
