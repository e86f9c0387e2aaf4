import { expect, it } from 'vitest';
import { Random } from '../../kernels-test/random.ts';
import { logprobsOf } from './logprobs.ts';

it('gives log softmax, the likeliest first and equal ones by id', () => {
  const random = new Random('logprobs');
  for (let round = 0; round < 50; round++) {
    const n = 1 + random.below(300);
    // Few different values, so that many are equal.
    const logits = Float32Array.from({ length: n }, () => random.below(12) * 3 - 40);
    const exact = Array.from(
      logits,
      (x) => x - Math.log(logits.reduce((s, y) => s + Math.exp(y), 0)),
    );
    const order = [...logits.keys()].sort((a, b) => logits[b]! - logits[a]! || a - b);
    const token = random.below(n);
    const found = logprobsOf(logits, token, Math.min(20, n));
    expect(found.token).toBe(token);
    expect(found.logprob).toBeCloseTo(exact[token]!, 9);
    expect(found.top.map((entry) => entry.token)).toEqual(order.slice(0, Math.min(20, n)));
    for (const entry of found.top) expect(entry.logprob).toBeCloseTo(exact[entry.token]!, 9);
  }
  expect(logprobsOf(Float32Array.of(Number.NEGATIVE_INFINITY, 900), 1, 0)).toEqual({
    token: 1,
    logprob: 0,
    top: [],
  });
});
