import { MowgliError } from '../errors.ts';
import { BufferSet } from '../gpu/buffer-set.ts';
import type { ExpertLayout } from './expert-layout.ts';
import { SlotPool } from './slot-pool.ts';

/** A layout of experts, and the layers that have it. */
export interface ExpertKind {
  readonly layout: ExpertLayout;
  readonly layers: readonly number[];
}

/**
 * Slots for each layout, within the budget; fewer where the device has less than the budget, with a
 * margin for what else needs its memory.
 */
export async function allocateSlots(
  buffers: BufferSet,
  kinds: readonly ExpertKind[],
  experts: number,
  budget: number,
): Promise<SlotPool[]> {
  const { ledger } = buffers.gpu;
  const total = (counts: readonly number[]) =>
    kinds.reduce((sum, { layout }, i) => sum + counts[i] * layout.bytes, 0);
  const least = total(kinds.map(() => 1));
  for (let bytes = budget; ; ) {
    const counts = shareSlots(kinds, experts, bytes);
    const own = new BufferSet(buffers.gpu);
    const before = ledger.bytes;
    const pools: SlotPool[] = [];
    try {
      for (const [i, { layout }] of kinds.entries()) {
        pools.push(await SlotPool.create(own, layout, counts[i]));
      }
      buffers.adopt(own);
      return pools;
    } catch (error) {
      const given = ledger.bytes - before;
      own.destroy();
      if (!(error instanceof MowgliError && error.code === 'OUT_OF_MEMORY')) throw error;
      bytes = given > 0 ? 0.85 * given : total(counts) / 2;
      if (bytes < least) throw error;
    }
  }
}

/** Slots for each layout, within a budget; no more than there are experts. */
export function shareSlots(
  kinds: readonly ExpertKind[],
  experts: number,
  budget: number,
): number[] {
  const most = kinds.map(({ layers }) => layers.length * experts);
  const bytes = kinds.map(({ layout }) => layout.bytes);
  const all = most.reduce((sum, slots, i) => sum + slots * bytes[i], 0);
  const least = bytes.reduce((sum, each) => sum + each, 0);
  if (least > budget) {
    throw new MowgliError(
      'OUT_OF_MEMORY',
      `${Math.max(0, budget)} bytes of GPU memory are left for experts, and the smallest cache takes ` +
        `${least}; raise the budget by ${least - Math.max(0, budget)} bytes, or use a smaller context or chunk`,
    );
  }
  if (all <= budget) return most;
  // One slot each, and the same share of every layout's experts for what is left.
  const share = (budget - least) / (all - least);
  return most.map((slots) => Math.min(slots, 1 + Math.floor((slots - 1) * share)));
}
