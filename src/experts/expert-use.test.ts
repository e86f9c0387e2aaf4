import { expect, test } from 'vitest';
import { ExpertUse, usageBetween } from './expert-use.ts';

function use(): ExpertUse {
  return new ExpertUse(3, 4, 5, 12);
}

test('nothing needed is nothing missed', () => {
  const usage = use().now();
  expect(usage).toMatchObject({ slots: 5, experts: 12, hits: 0, misses: 0, hitRate: 1 });
  expect(usageBetween(usage, usage)).toEqual(usage);
});

test('a run has what was counted during it', () => {
  const counted = use();
  const count = () => {
    counted.needed(0, [1, 3], 1);
    counted.needed(2, [0, 1, 2, 3], 2);
    counted.readBytes(100);
    counted.hostBytes(20);
    counted.uploaded(3);
    counted.evicted();
    counted.aheadUseful();
    counted.aheadWasted();
    counted.waited(0, 'gpu', 1);
    counted.waited(2, 'gpu', 0.5);
    counted.waited(2, 'read', 4);
    counted.waited(1, 'upload', 8);
  };
  count();
  const before = counted.now();
  count();
  count();
  const after = counted.now();
  expect(after.hitRate).toBe(0.5);
  expect(usageBetween(before, after)).toEqual({
    slots: 5,
    experts: 12,
    hits: 6,
    misses: 6,
    hitRate: 0.5,
    bytesFromFiles: 200,
    bytesFromHost: 40,
    bytesUploaded: 6,
    evictions: 2,
    readAhead: { useful: 2, wasted: 2 },
    waitMs: { gpu: 3, read: 8, upload: 16 },
  });
  expect(before.hits, 'a usage does not change afterwards').toBe(3);
  expect([...counted.counts(0)]).toEqual([0, 3, 0, 3]);
  expect([...counted.counts(1)]).toEqual([0, 0, 0, 0]);
  expect([...counted.counts(2)]).toEqual([3, 3, 3, 3]);
  expect(counted.layerWaits()).toEqual([
    { gpu: 3, read: 0, upload: 0 },
    { gpu: 0, read: 0, upload: 24 },
    { gpu: 1.5, read: 12, upload: 0 },
  ]);
});
