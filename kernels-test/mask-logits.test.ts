import { expect, it } from 'vitest';
import { maskLogits, maskWords } from '../src/kernels/mask-logits.ts';
import { openTestGpu, readFloats, runOnGpu, testBuffers } from './harness.ts';
import { Random } from './random.ts';
import { expectSame } from './tolerance.ts';

const gpu = await openTestGpu();

it.each([1, 31, 32, 33, 4095, 151_936])('forbids what has no bit, of %i tokens', async (n) => {
  const random = new Random(`mask ${n}`);
  const logits = random.normal(n + 7, 5);
  logits[0] = Number.NaN;
  const allowed = Uint32Array.from({ length: maskWords(n) }, () => random.below(2 ** 32));
  const buffers = testBuffers(gpu);
  const slice = await buffers.input(logits);
  const mask = await buffers.input(allowed);
  await runOnGpu(gpu, (rec) => maskLogits(rec, { logits: slice, allowed: mask, n }));
  // What lies behind the vocabulary stays as it was.
  const expected = logits.map((logit, i) =>
    i >= n || (allowed[i >>> 5] >>> (i & 31)) & 1 ? logit : Number.NEGATIVE_INFINITY,
  );
  const actual = await readFloats(gpu, slice, n + 7);
  expectSame('logits', actual.subarray(1), expected.subarray(1));
  if (allowed[0] & 1) expect(actual[0]).toBeNaN();
  else expect(actual[0]).toBe(Number.NEGATIVE_INFINITY);
});
