import { MowgliError } from '../errors.ts';
import { mapConcurrent } from '../files/concurrent.ts';
import { Gpu } from '../gpu/device.ts';
import { type ExpertMatrix, rowBytes, type Slab } from '../kernels/matrix.ts';
import type { NumberType } from '../quant/index.ts';
import { commonType, loadRows, type WeightLoader } from './tensor-upload.ts';

/** Slots begin at a multiple of this, which WebGPU asks of bound ranges. */
const slotAlignment = 256;

/** Matrices within a slot begin at a multiple of this, in which kernels count. */
const matrixAlignment = 16;

/** The experts of one MoE layer, all on the GPU: expert e is in slot e. */
export interface LayerExperts {
  /** [inner, hidden] of each expert; in the same slots as `up` where their types are the same. */
  readonly gate: ExpertMatrix;
  readonly up: ExpertMatrix;
  /** [hidden, inner] of each expert. */
  readonly down: ExpertMatrix;
}

/**
 * Uploads every expert of one layer. Gate and up of one type share a slot, since one kernel reads
 * both; down has slots of its own, so that the experts of the largest models fit a binding of 128 MiB each.
 *
 * @param prefix the layer's MLP, such as `model.layers.3.mlp`
 * @throws MowgliError `OUT_OF_MEMORY`, `TENSOR_MISSING`, `ABORTED`, and what reading throws
 */
export async function loadResidentExperts(
  loader: WeightLoader,
  prefix: string,
  shape: { experts: number; hidden: number; inner: number },
): Promise<LayerExperts> {
  const { experts, hidden, inner } = shape;
  const ids = Array.from({ length: experts }, (_, e) => e);
  const tensor = (e: number, projection: string) =>
    `${prefix}.experts.${e}.${projection}_proj.weight`;
  const typeOf = (projection: string) =>
    commonType(
      loader,
      ids.map((e) => tensor(e, projection)),
    );
  const slotOf = (await loader.buffers.upload('expert table', Uint32Array.from(ids))).all();
  const allocate = async (type: NumberType, rows: number, columns: number, bytes: number) => {
    const slots = await allocateSlots(loader, type, bytes, experts);
    return { ...slots, slotOf, table: 0, type, rows, columns, offset: 0 };
  };
  const bytesOf = (type: NumberType, rows: number, columns: number) =>
    Math.ceil((rows * rowBytes(type, columns)) / matrixAlignment) * matrixAlignment;

  const gateType = typeOf('gate');
  const upType = typeOf('up');
  const downType = typeOf('down');
  const gateBytes = bytesOf(gateType, inner, hidden);
  const shared = gateType === upType;
  const gate = await allocate(gateType, inner, hidden, shared ? 2 * gateBytes : gateBytes);
  const up = shared
    ? { ...gate, offset: gateBytes }
    : await allocate(upType, inner, hidden, bytesOf(upType, inner, hidden));
  const down = await allocate(downType, hidden, inner, bytesOf(downType, hidden, inner));
  await mapConcurrent(ids, 4, async (e) => {
    await uploadExpert(loader, gate, e, tensor(e, 'gate'));
    await uploadExpert(loader, up, e, tensor(e, 'up'));
    await uploadExpert(loader, down, e, tensor(e, 'down'));
  });
  return { gate, up, down };
}

/** Whether one kernel can read both matrices of an expert: they lie in one slot. */
export function sameSlots(a: ExpertMatrix, b: ExpertMatrix): boolean {
  return a.slabs === b.slabs;
}

async function allocateSlots(
  loader: WeightLoader,
  type: NumberType,
  bytes: number,
  slots: number,
): Promise<{ slabs: Slab[]; slotBytes: number }> {
  const slotBytes = Math.ceil(bytes / slotAlignment) * slotAlignment;
  const { maxBindingBytes } = loader.buffers.gpu.capabilities;
  if (slotBytes > maxBindingBytes) {
    throw new MowgliError(
      'OUT_OF_MEMORY',
      `one expert takes ${slotBytes} bytes in ${type}, and this device binds ${maxBindingBytes} ` +
        'at most; use a model in a smaller number format',
    );
  }
  const perSlab = Math.min(slots, Math.floor(maxBindingBytes / slotBytes));
  const slabs: Slab[] = [];
  for (let firstSlot = 0; firstSlot < slots; firstSlot += perSlab) {
    const count = Math.min(perSlab, slots - firstSlot);
    const buffer = await loader.buffers.allocate('experts', count * slotBytes);
    slabs.push({
      slice: buffer.slice(0, Gpu.roundBytes(count * slotBytes)),
      firstSlot,
      slots: count,
    });
  }
  return { slabs, slotBytes };
}

/** Copies one matrix of one expert into its slot. */
async function uploadExpert(
  loader: WeightLoader,
  matrix: ExpertMatrix,
  slot: number,
  tensor: string,
): Promise<void> {
  const slab = matrix.slabs[Math.floor(slot / matrix.slabs[0].slots)];
  const offset = (slot - slab.firstSlot) * matrix.slotBytes + matrix.offset;
  const stride = rowBytes(matrix.type, matrix.columns);
  await loadRows(loader, tensor, matrix.type, (row, count) => ({
    buffer: slab.slice.buffer,
    offset: offset + row * stride,
    rows: count,
  }));
}
