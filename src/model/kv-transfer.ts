import type { BufferSlice, GpuBuffer } from '../gpu/buffer.ts';
import type { Gpu } from '../gpu/device.ts';
import { type KvType, kvPositionBytes, type LayerKv } from '../kernels/kv-cache.ts';

/** Keys and values of all layers, as far as their bytes go. */
export interface KvShape {
  readonly type: KvType;
  readonly layers: number;
  /** Key and value heads of a layer. */
  readonly heads: number;
  readonly headDim: number;
}

/** Bytes of one position's keys and values in all layers. */
export function kvTokenBytes({ type, layers, heads, headDim }: KvShape): number {
  return 2 * layers * heads * kvPositionBytes(type, headDim);
}

/** Bytes of a readback, and of writes that are queued at once. */
const mostBytesAtOnce = 16 << 20;

/** The keys, or the values, of one head of one layer. */
interface HeadRun {
  readonly buffer: GpuBuffer;
  /** Of position 0, in bytes. */
  readonly offset: number;
}

/**
 * Takes keys and values between the GPU and the host, bit for bit. On the host a run of positions is a
 * block: [layers, (keys, values), heads, positions, head_dim rounded up to 4], in the cache's own
 * number format. On the GPU heads may lie in several buffers; a block does not tell.
 */
export class KvTransfer {
  readonly shape: KvShape;
  readonly #gpu: Gpu;
  /** In the order of a block. */
  readonly #runs: readonly HeadRun[];
  readonly #positionBytes: number;
  readonly #readBytes: number;
  /** Bytes written since the GPU was last waited for. */
  #queued = 0;

  /** @param readbackBytes what is reserved for readbacks (`Gpu.reserveReadback`): no more is read at once */
  constructor(gpu: Gpu, layers: readonly LayerKv[], readbackBytes: number) {
    const { type, capacity, headDim, parts } = layers[0];
    const heads = parts.reduce((sum, part) => sum + part.heads, 0);
    this.shape = { type, layers: layers.length, heads, headDim };
    this.#gpu = gpu;
    this.#positionBytes = kvPositionBytes(type, headDim);
    this.#readBytes = Math.min(mostBytesAtOnce, readbackBytes);
    const runs: HeadRun[] = [];
    for (const [layer, kv] of layers.entries()) {
      for (const [half, of] of (['keys', 'values'] as const).entries()) {
        for (const part of kv.parts) {
          const { buffer, offset } = part[of];
          for (let head = 0; head < part.heads; head++) {
            runs[(2 * layer + half) * heads + part.firstHead + head] = {
              buffer,
              offset: offset + head * capacity * this.#positionBytes,
            };
          }
        }
      }
    }
    this.#runs = runs;
  }

  /** Reads the positions [from, to) as one block, in as many readbacks as it takes. */
  async read(from: number, to: number): Promise<Uint8Array<ArrayBuffer>> {
    const positionBytes = this.#positionBytes;
    const runBytes = (to - from) * positionBytes;
    const block = new Uint8Array(this.#runs.length * runBytes);
    const most = Math.max(1, Math.floor(this.#readBytes / positionBytes)) * positionBytes;
    let pieces: BufferSlice[] = [];
    let [done, held] = [0, 0];
    const flush = async () => {
      await this.#gpu.readInto(block.subarray(done, done + held), pieces);
      done += held;
      [pieces, held] = [[], 0];
    };
    for (const { buffer, offset } of this.#runs) {
      for (let at = 0; at < runBytes; at += most) {
        const bytes = Math.min(most, runBytes - at);
        if (held + bytes > most) await flush();
        pieces.push(buffer.slice(offset + from * positionBytes + at, bytes));
        held += bytes;
      }
    }
    await flush();
    return block;
  }

  /**
   * Writes `count` positions, from the `first` of a block on, to the positions from `to` on. Every now
   * and then it waits for the GPU: what is queued is in host memory once more.
   */
  async write(to: number, block: Uint8Array, first: number, count: number): Promise<void> {
    const runBytes = block.length / this.#runs.length;
    const skipped = first * this.#positionBytes;
    const bytes = count * this.#positionBytes;
    for (const [i, { buffer, offset }] of this.#runs.entries()) {
      const begin = i * runBytes + skipped;
      const data = block.subarray(begin, begin + bytes);
      this.#gpu.write(buffer, offset + to * this.#positionBytes, data);
    }
    this.#queued += this.#runs.length * bytes;
    if (this.#queued < mostBytesAtOnce) return this.#gpu.throwIfFailed();
    await this.#gpu.idle();
    this.#queued = 0;
  }
}
