import { describe, expect, it } from 'vitest';
import { closeAll, mapConcurrent } from './concurrent.ts';

const turn = () => new Promise((resolve) => setTimeout(resolve));

describe('mapConcurrent', () => {
  it('keeps the order, and as many at work as allowed', async () => {
    let active = 0;
    let most = 0;
    const items = Array.from({ length: 20 }, (_, i) => i);
    const results = await mapConcurrent(items, 4, async (item) => {
      most = Math.max(most, ++active);
      for (let i = 0; i < item % 3; i++) await turn();
      active--;
      return 2 * item;
    });
    expect(results).toEqual(items.map((item) => 2 * item));
    expect(most).toBe(4);
    expect(await mapConcurrent([], 4, turn)).toEqual([]);
  });

  it('begins nothing after a failure, and fails when all that was begun has ended', async () => {
    const begun: number[] = [];
    let active = 0;
    const work = mapConcurrent([0, 1, 2, 3, 4, 5], 3, async (item) => {
      begun.push(item);
      active++;
      if (item > 0) for (let i = 0; i < 5; i++) await turn();
      active--;
      if (item === 0) throw new Error('first');
    });
    await expect(work).rejects.toThrow('first');
    expect(active).toBe(0);
    expect(begun).toEqual([0, 1, 2]);
  });
});

describe('closeAll', () => {
  it('closes all before it fails', async () => {
    let closed = 0;
    const good = {
      close: async () => {
        await turn();
        closed++;
      },
    };
    const bad = { close: () => Promise.reject(new Error('stuck')) };
    await expect(closeAll([bad, good, good])).rejects.toThrow('stuck');
    expect(closed).toBe(2);
  });
});
