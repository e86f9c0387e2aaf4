import { expect, test } from 'vitest';
import { uniform } from '../../kernels-test/reference/random.ts';
import { HostCache } from './host-cache.ts';
import { Staging } from './staging.ts';

const imageBytes = 16;

test('the images used last are kept, as many as fit, and every other one is given back', () => {
  for (const fit of [0, 1, 5]) {
    const staging = new Staging(imageBytes);
    const cache = new HostCache(fit * imageBytes + 7, staging);
    const random = uniform(fit + 1);
    /** What should be there, the one used longest ago first. */
    const expected: { key: number; image: Uint8Array }[] = [];
    for (let step = 0; step < 500; step++) {
      const key = Math.floor(10 * random());
      const known = expected.findIndex((entry) => entry.key === key);
      expect(cache.has(key)).toBe(known >= 0);
      if (random() < 0.5) {
        const image = cache.take(key);
        if (known < 0) expect(image).toBeUndefined();
        else {
          expect(image).toBe(expected[known].image);
          expected.splice(known, 1);
          staging.give(image!);
        }
        continue;
      }
      const image = staging.take();
      const kept = cache.put(key, image);
      expect(kept).toBe(fit > 0 && known < 0);
      if (!kept) staging.give(image);
      else {
        expected.push({ key, image });
        if (expected.length > fit) expected.shift();
      }
    }
    // No more were ever made than are kept and in use at once.
    expect(staging.made).toBeLessThanOrEqual(fit + 1);
  }
});

test('without experts there is nothing to keep', () => {
  const cache = new HostCache(1000, new Staging(0));
  expect(cache.put(0, new Uint8Array())).toBe(false);
});
