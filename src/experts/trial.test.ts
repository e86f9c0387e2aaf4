import { expect, test } from 'vitest';
import { uniform } from '../../kernels-test/reference/random.ts';
import { Trial } from './trial.ts';

/** Runs tokens that take `ms`, noise and rare outliers apart; answers the share of them with it. */
function shareOn(trial: Trial, tokens: number, ms: { with: number; without: number }): number {
  const random = uniform(tokens);
  let on = 0;
  for (let token = 0; token < tokens; token++) {
    if (trial.on) on++;
    const outlier = random() < 0.1 ? 50 * ms.with : 0;
    trial.took((trial.on ? ms.with : ms.without) * (1 + 0.05 * random()) + outlier);
  }
  return on / tokens;
}

test('what pays is on most of the time, what does not is off, and a change is noticed', () => {
  const trial = new Trial();
  expect(trial.on).toBe(false);
  const pays = { with: 10, without: 13 };
  const doesNot = { with: 10, without: 8 };
  expect(shareOn(trial, 2000, pays)).toBeGreaterThan(0.8);
  expect(shareOn(trial, 2000, doesNot)).toBeLessThan(0.2);
  expect(shareOn(trial, 2000, pays)).toBeGreaterThan(0.8);
});

test('both ways are tried within a short answer', () => {
  const trial = new Trial();
  const seen = new Set<boolean>();
  for (let token = 0; token < 13; token++) {
    seen.add(trial.on);
    trial.took(1);
  }
  expect(seen.size).toBe(2);
});
