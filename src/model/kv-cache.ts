import { MowgliError } from '../errors.ts';
import type { ModelConfig } from '../files/model-config.ts';
import type { BufferSet } from '../gpu/buffer-set.ts';
import { type KvPart, type KvType, kvPositionBytes, type LayerKv } from '../kernels/kv-cache.ts';

/** Heads begin at a multiple of 256 bytes when the capacity is a multiple of this. */
const capacityStep = 64;

/**
 * Allocates keys and values for every layer at their full capacity, once: growing would mean
 * copying it all. Heads that do not fit one binding together go to several buffers.
 *
 * @param context capacity in tokens
 * @throws MowgliError `OUT_OF_MEMORY` when one head alone passes what the device can bind
 */
export async function allocateKvCache(
  buffers: BufferSet,
  config: ModelConfig,
  context: number,
  type: KvType,
): Promise<LayerKv[]> {
  const { numKeyValueHeads, headDim, numHiddenLayers } = config;
  const capacity = Math.ceil(context / capacityStep) * capacityStep;
  const headBytes = capacity * kvPositionBytes(type, headDim);
  const { maxBindingBytes } = buffers.gpu.capabilities;
  if (headBytes > maxBindingBytes) {
    const most = Math.floor(maxBindingBytes / kvPositionBytes(type, headDim));
    throw new MowgliError(
      'OUT_OF_MEMORY',
      `a context of ${context} tokens needs ${headBytes} bytes per head, and this device binds ` +
        `${maxBindingBytes} at most; use a context of ${most} tokens or less` +
        (type === 'f32' ? ', or an f16 cache' : ''),
    );
  }
  const headsPerPart = Math.min(numKeyValueHeads, Math.floor(maxBindingBytes / headBytes));
  const layers: LayerKv[] = [];
  for (let layer = 0; layer < numHiddenLayers; layer++) {
    const parts: KvPart[] = [];
    for (let firstHead = 0; firstHead < numKeyValueHeads; firstHead += headsPerPart) {
      const heads = Math.min(headsPerPart, numKeyValueHeads - firstHead);
      parts.push({
        keys: (await buffers.allocate('kv cache', heads * headBytes)).all(),
        values: (await buffers.allocate('kv cache', heads * headBytes)).all(),
        firstHead,
        heads,
      });
    }
    layers.push({ type, capacity, headDim, parts });
  }
  return layers;
}
