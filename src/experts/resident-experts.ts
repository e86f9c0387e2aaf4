import { MowgliError } from '../errors.ts';
import { mapConcurrent } from '../files/concurrent.ts';
import { Gpu } from '../gpu/device.ts';
import { type ExpertMatrix, groupBytes, padded, rowBytes, type Slab } from '../kernels/matrix.ts';
import type { TensorType } from '../quant/index.ts';
import { commonType, loadRows, type WeightLoader } from './tensor-upload.ts';

/** Slots begin at a multiple of this, which WebGPU asks of bound ranges. */
const slotAlignment = 256;

/** The experts of one MoE layer, all on the GPU: expert e is in slot e. */
export interface LayerExperts {
  /** [inner, hidden] of each expert; in the same slots as `up`. */
  readonly gate: ExpertMatrix;
  readonly up: ExpertMatrix;
  /** [hidden, inner] of each expert. */
  readonly down: ExpertMatrix;
}

/**
 * Uploads every expert of one layer. Gate and up share a slot, since one kernel reads both; down
 * has slots of its own, so that the experts of the largest models fit a binding of 128 MiB each.
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
  const gateUpType = commonType(
    loader,
    ids.flatMap((e) => [tensor(e, 'gate'), tensor(e, 'up')]),
  );
  const downType = commonType(
    loader,
    ids.map((e) => tensor(e, 'down')),
  );
  const slotOf = (await loader.buffers.upload('expert table', Uint32Array.from(ids))).all();
  const gateUp = await allocateSlots(loader, gateUpType, 2 * inner, hidden, experts);
  const downSlots = await allocateSlots(loader, downType, hidden, inner, experts);
  const table = { slotOf, table: 0 };
  const gate = {
    ...gateUp,
    ...table,
    type: gateUpType,
    rows: inner,
    columns: hidden,
    matrixGroups: 0,
  };
  const upGroups = (inner * padded(hidden)) / 8;
  const layer: LayerExperts = {
    gate,
    up: { ...gate, matrixGroups: upGroups },
    down: { ...downSlots, ...table, type: downType, rows: hidden, columns: inner, matrixGroups: 0 },
  };
  await mapConcurrent(ids, 4, async (e) => {
    await uploadExpert(loader, layer.gate, e, tensor(e, 'gate'));
    await uploadExpert(loader, layer.up, e, tensor(e, 'up'));
    await uploadExpert(loader, layer.down, e, tensor(e, 'down'));
  });
  return layer;
}

async function allocateSlots(
  loader: WeightLoader,
  type: TensorType,
  rows: number,
  columns: number,
  slots: number,
): Promise<{ slabs: Slab[]; slotGroups: number }> {
  const bytes = rows * rowBytes(type, columns);
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
  return { slabs, slotGroups: slotBytes / groupBytes(type) };
}

/** Copies one matrix of one expert into its slot. */
async function uploadExpert(
  loader: WeightLoader,
  matrix: ExpertMatrix,
  slot: number,
  tensor: string,
): Promise<void> {
  const slab = matrix.slabs[Math.floor(slot / matrix.slabs[0].slots)];
  const groups = (slot - slab.firstSlot) * matrix.slotGroups + matrix.matrixGroups;
  const offset = groups * groupBytes(matrix.type);
  const stride = rowBytes(matrix.type, matrix.columns);
  await loadRows(loader, tensor, matrix.type, (row, count) => ({
    buffer: slab.slice.buffer,
    offset: offset + row * stride,
    rows: count,
  }));
}
