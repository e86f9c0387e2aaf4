import type { BufferSlice } from '../src/gpu/buffer.ts';
import type { Gpu } from '../src/gpu/device.ts';
import {
  headWidth,
  type KvPart,
  type KvType,
  kvPositionBytes,
  type LayerKv,
} from '../src/kernels/kv-cache.ts';
import { formats } from '../src/quant/index.ts';
import { decode, readOutput, type TestBuffers } from './harness.ts';

/** A poisoned cache whose kv heads are bound in parts that begin at the heads of `parts`. */
export async function testCache(
  buffers: TestBuffers,
  shape: {
    type: KvType;
    capacity: number;
    headDim: number;
    kvHeads: number;
    parts?: readonly number[];
  },
): Promise<LayerKv> {
  const { type, capacity, headDim, kvHeads, parts = [0] } = shape;
  const headWords = (capacity * kvPositionBytes(type, headDim)) / 4;
  const list: KvPart[] = [];
  for (const [i, firstHead] of parts.entries()) {
    const heads = (parts[i + 1] ?? kvHeads) - firstHead;
    list.push({
      keys: await buffers.output(heads * headWords),
      values: await buffers.output(heads * headWords),
      firstHead,
      heads,
    });
  }
  return { type, capacity, headDim, parts: list };
}

/** [positions, kvHeads, headDim] -> one part's words [heads, capacity, headDim padded to 4]. */
export function encodeHeads(
  kv: LayerKv,
  part: KvPart,
  values: Float32Array,
  kvHeads: number,
): Uint32Array {
  const width = 4 * headWidth(kv.headDim);
  const positions = values.length / (kvHeads * kv.headDim);
  const padded = new Float32Array(part.heads * kv.capacity * width).fill(Number.NaN);
  for (let head = 0; head < part.heads; head++) {
    for (let s = 0; s < positions; s++) {
      const from = (s * kvHeads + part.firstHead + head) * kv.headDim;
      const at = (head * kv.capacity + s) * width;
      padded.fill(0, at, at + width);
      padded.set(values.subarray(from, from + kv.headDim), at);
    }
  }
  return new Uint32Array(formats[kv.type === 'f16' ? 'F16' : 'F32'].encode(padded).buffer);
}

/** One part's bytes -> [heads, capacity, headDim padded to 4]. */
export function decodeHeads(kv: LayerKv, words: Uint32Array): Float32Array {
  const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  return decode(kv.type === 'f16' ? 'F16' : 'F32', bytes);
}

/** Writes keys and values [positions, kvHeads, headDim] to the start of the cache. */
export function fillCache(
  buffers: TestBuffers,
  kv: LayerKv,
  keys: Float32Array,
  values: Float32Array,
  kvHeads: number,
): void {
  const write = (slice: BufferSlice, words: Uint32Array) =>
    buffers.gpu.write(slice.buffer, slice.offset, words);
  for (const part of kv.parts) {
    write(part.keys, encodeHeads(kv, part, keys, kvHeads));
    write(part.values, encodeHeads(kv, part, values, kvHeads));
  }
}

/** All of the cache: keys and values, [capacity, kvHeads, headDim] each. */
export async function readHeads(
  gpu: Gpu,
  kv: LayerKv,
  kvHeads: number,
): Promise<[Float32Array, Float32Array]> {
  const { capacity, headDim, type } = kv;
  const width = 4 * headWidth(headDim);
  const read = async (pick: (part: KvPart) => BufferSlice) => {
    const out = new Float32Array(capacity * kvHeads * headDim);
    for (const part of kv.parts) {
      const words = (part.heads * capacity * kvPositionBytes(type, headDim)) / 4;
      const stored = decodeHeads(kv, await readOutput(gpu, pick(part), words));
      for (let head = 0; head < part.heads; head++) {
        for (let s = 0; s < capacity; s++) {
          const from = (head * capacity + s) * width;
          const at = (s * kvHeads + part.firstHead + head) * headDim;
          out.set(stored.subarray(from, from + headDim), at);
        }
      }
    }
    return out;
  };
  return [await read((part) => part.keys), await read((part) => part.values)];
}
