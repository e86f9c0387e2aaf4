import type { BufferSlice } from '../gpu/buffer.ts';
import type { BufferSet } from '../gpu/buffer-set.ts';
import { Gpu } from '../gpu/device.ts';
import type { ExpertMatrix, Slab } from '../kernels/matrix.ts';
import type { ExpertLayout, MatrixLayout } from './expert-layout.ts';

/** The matrices of a layer's experts, as kernels take them: with a table that says who is in which slot. */
export interface LayerExperts {
  /** [inner, hidden] of each expert; in the same slots as `up` where their types are the same. */
  readonly gate: ExpertMatrix;
  readonly up: ExpertMatrix;
  /** [hidden, inner] of each expert. */
  readonly down: ExpertMatrix;
}

/** Whether one kernel can read both matrices of an expert: they lie in one slot. */
export function sameSlots(a: ExpertMatrix, b: ExpertMatrix): boolean {
  return a.slabs === b.slabs;
}

/**
 * Slots on the GPU for experts of one layout. An expert has the same slot number in every region;
 * a region's slots lie in slabs that fit a binding.
 */
export class SlotPool {
  readonly layout: ExpertLayout;
  readonly slots: number;
  readonly #gpu: Gpu;
  /** Of each region. */
  readonly #slabs: readonly (readonly Slab[])[];

  private constructor(
    gpu: Gpu,
    layout: ExpertLayout,
    slots: number,
    slabs: readonly (readonly Slab[])[],
  ) {
    this.#gpu = gpu;
    this.layout = layout;
    this.slots = slots;
    this.#slabs = slabs;
  }

  /**
   * Allocates slots. What was allocated before a failure stays with `buffers`.
   * @throws MowgliError `OUT_OF_MEMORY`
   */
  static async create(buffers: BufferSet, layout: ExpertLayout, slots: number): Promise<SlotPool> {
    const { gpu } = buffers;
    const slabs: Slab[][] = [];
    for (const bytes of layout.regions) {
      const most = Math.floor(gpu.capabilities.maxBindingBytes / bytes);
      const perSlab = Math.max(1, Math.min(slots, most));
      const ofRegion: Slab[] = [];
      for (let firstSlot = 0; firstSlot < slots; firstSlot += perSlab) {
        const count = Math.min(perSlab, slots - firstSlot);
        const buffer = await buffers.allocate('experts', count * bytes);
        const slice = buffer.slice(0, Gpu.roundBytes(count * bytes));
        // Where host and GPU share memory, Dawn writes in place as long as nothing but such writes has
        // ever written a buffer. To clear it before its first use on the GPU would be such a thing.
        if (gpu.capabilities.software) gpu.write(buffer, 0, new Uint32Array(4));
        ofRegion.push({ slice, firstSlot, slots: count });
      }
      slabs.push(ofRegion);
    }
    return new SlotPool(gpu, layout, slots, slabs);
  }

  /**
   * The matrices of the experts whose slots `slotOf[table + expert]` has. Only slabs with one of
   * `slots` are among their slabs, since each costs a dispatch: the first one if none has.
   */
  matrices(slotOf: BufferSlice, table: number, slots: Iterable<number>): LayerExperts {
    const wanted = [...slots];
    const slabs = this.#slabs.map((all) => {
      const used = new Set(wanted.map((slot) => Math.floor(slot / all[0].slots)));
      if (used.size === all.length) return all;
      return used.size === 0 ? all.slice(0, 1) : all.filter((_, i) => used.has(i));
    });
    const matrix = ({ type, rows, columns, region, offset }: MatrixLayout): ExpertMatrix => ({
      type,
      rows,
      columns,
      slabs: slabs[region],
      slotBytes: this.layout.regions[region],
      offset,
      slotOf,
      table,
    });
    const { gate, up, down } = this.layout;
    return { gate: matrix(gate), up: matrix(up), down: matrix(down) };
  }

  /** Queues an expert's bytes, its regions one after the other, into a slot. */
  write(slot: number, image: Uint8Array): void {
    let at = 0;
    for (const [region, bytes] of this.layout.regions.entries()) {
      const slabs = this.#slabs[region];
      const slab = slabs[Math.floor(slot / slabs[0].slots)];
      const offset = (slot - slab.firstSlot) * bytes;
      this.#gpu.write(slab.slice.buffer, offset, image.subarray(at, at + bytes));
      at += bytes;
    }
  }
}
