import type { Gpu } from './device.ts';

/** GPU time of one kernel, over all its dispatches since the profile began. */
export interface KernelTime {
  readonly name: string;
  readonly dispatches: number;
  readonly ms: number;
}

/** Dispatches that one query set has room for. */
const capacity = 2048;

/**
 * Times every dispatch with timestamp queries. Each dispatch needs a compute pass of its own for
 * that, so the sum is somewhat more than what the same work takes unprofiled.
 */
export class Profiler {
  readonly #gpu: Gpu;
  readonly #queries: GPUQuerySet;
  readonly #resolved: GPUBuffer;
  readonly #times = new Map<string, { dispatches: number; ms: number }>();
  #names: string[] = [];

  private constructor(gpu: Gpu) {
    this.#gpu = gpu;
    this.#queries = gpu.device.createQuerySet({ type: 'timestamp', count: 2 * capacity });
    // QUERY_RESOLVE | COPY_SRC
    this.#resolved = gpu.device.createBuffer({ size: 16 * capacity, usage: 0x200 | 0x04 });
  }

  /** `undefined` where the device has no timestamp queries. */
  static create(gpu: Gpu): Profiler | undefined {
    return gpu.device.features.has('timestamp-query') ? new Profiler(gpu) : undefined;
  }

  /** What a compute pass that times one dispatch needs; `undefined` when the query set is full. */
  next(name: string): GPUComputePassTimestampWrites | undefined {
    if (this.#names.length === capacity) return undefined;
    const at = 2 * this.#names.push(name) - 2;
    return {
      querySet: this.#queries,
      beginningOfPassWriteIndex: at,
      endOfPassWriteIndex: at + 1,
    };
  }

  /** Waits for the dispatches timed so far and adds them up. */
  async collect(): Promise<void> {
    const count = 2 * this.#names.length;
    if (count === 0) return;
    const { device } = this.#gpu;
    const bytes = 8 * count;
    const staging = device.createBuffer({ size: bytes, usage: 0x01 | 0x08 }); // MAP_READ | COPY_DST
    const encoder = device.createCommandEncoder();
    encoder.resolveQuerySet(this.#queries, 0, count, this.#resolved, 0);
    encoder.copyBufferToBuffer(this.#resolved, 0, staging, 0, bytes);
    device.queue.submit([encoder.finish()]);
    await this.#gpu.wait(staging.mapAsync(1));
    const stamps = new BigUint64Array(staging.getMappedRange());
    this.#names.forEach((name, i) => {
      const time = this.#times.get(name) ?? { dispatches: 0, ms: 0 };
      time.dispatches++;
      time.ms += Number(stamps[2 * i + 1] - stamps[2 * i]) / 1e6;
      this.#times.set(name, time);
    });
    staging.destroy();
    this.#names = [];
  }

  /** Times collected so far, the largest first. */
  times(): KernelTime[] {
    return [...this.#times].map(([name, time]) => ({ name, ...time })).sort((a, b) => b.ms - a.ms);
  }

  dispose(): void {
    this.#queries.destroy();
    this.#resolved.destroy();
  }
}
