import { expect, test } from 'vitest';
import { openTestGpu, poison } from '../../kernels-test/harness.ts';
import { BufferSet } from '../gpu/buffer-set.ts';
import type { ExpertLayout } from './expert-layout.ts';
import { SlotPool, sameSlots } from './slot-pool.ts';

const gpu = await openTestGpu({ maxBindingBytes: 1280 });

/** Regions of 256, 512 and 768 bytes: five, two and one slots to a slab. */
const regions = [256, 512, 768];
const matrix = (region: number) => ({
  type: 'F32' as const,
  rows: 4,
  columns: 8,
  region,
  offset: 16 * region,
});
const layout: ExpertLayout = {
  gate: matrix(0),
  down: matrix(1),
  up: matrix(2),
  regions,
  bytes: 1536,
};

test('an expert lies in its slot of every region, in whichever slab, and nowhere else', async () => {
  for (const slots of [1, 2, 5, 11]) {
    const buffers = new BufferSet(gpu);
    const pool = await SlotPool.create(buffers, layout, slots);
    const table = (await buffers.allocate('table', 64)).all();
    const experts = pool.matrices(table, 3, Array(slots).keys());
    const inRegions = [experts.gate, experts.down, experts.up];
    for (const { slabs } of inRegions) {
      for (const { slice } of slabs) {
        expect(slice.bytes).toBeLessThanOrEqual(1280);
        gpu.write(slice.buffer, 0, new Uint32Array(slice.bytes / 4).fill(poison));
      }
      expect(slabs.reduce((sum, slab) => sum + slab.slots, 0)).toBe(slots);
    }
    // All but one, in an order of their own.
    const empty = Math.floor(slots / 2);
    const order = Array.from({ length: slots }, (_, i) => (7 * i + 3) % slots);
    const written = order.filter((slot) => slot !== empty);
    for (const slot of written) {
      const image = new Uint32Array(layout.bytes / 4).map((_, i) => 1000 * slot + i);
      pool.write(slot, new Uint8Array(image.buffer));
    }
    for (const [region, { slabs, slotBytes, slotOf, table: at }] of inRegions.entries()) {
      expect(slotBytes).toBe(regions[region]);
      expect([slotOf, at]).toEqual([table, 3]);
      const before = regions.slice(0, region).reduce((sum, bytes) => sum + bytes, 0) / 4;
      for (const { slice, firstSlot, slots: count } of slabs) {
        const [data] = await gpu.read([slice]);
        for (let i = 0; i < count; i++) {
          const slot = firstSlot + i;
          const words = new Uint32Array(data, i * slotBytes, slotBytes / 4);
          const expected = words.map((_, word) =>
            written.includes(slot) ? 1000 * slot + before + word : poison,
          );
          expect(words, `slot ${slot} of ${slots}, region ${region}`).toEqual(expected);
        }
      }
    }
    buffers.destroy();
  }
});

test('matrices of one region are in the same slots', async () => {
  const buffers = new BufferSet(gpu);
  const pool = await SlotPool.create(buffers, { ...layout, up: matrix(0) }, 2);
  const table = (await buffers.allocate('table', 64)).all();
  const { gate, up, down } = pool.matrices(table, 0, [0, 1]);
  expect(sameSlots(gate, up)).toBe(true);
  expect(sameSlots(gate, down)).toBe(false);
  buffers.destroy();
});

test('only slabs with a slot that matters are there, and always one', async () => {
  const buffers = new BufferSet(gpu);
  const pool = await SlotPool.create(buffers, layout, 11);
  const table = (await buffers.allocate('table', 64)).all();
  for (const slots of [[], [0], [10], [4, 5], [9, 2], Array.from(Array(11).keys())]) {
    const { gate, up, down } = pool.matrices(table, 0, slots);
    for (const [{ slabs }, perSlab] of [
      [gate, 5],
      [down, 2],
      [up, 1],
    ] as const) {
      const wanted = new Set(slots.map((slot) => Math.floor(slot / perSlab)));
      const there = slabs.map(({ firstSlot }) => firstSlot / perSlab);
      expect(there).toEqual(wanted.size > 0 ? [...wanted].sort((a, b) => a - b) : [0]);
    }
  }
  buffers.destroy();
});
