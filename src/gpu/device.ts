import { MowgliError } from '../errors.ts';
import { type BufferSlice, GpuBuffer } from './buffer.ts';
import { Ledger } from './ledger.ts';
import { PipelineCache } from './pipelines.ts';
import { Recorder, uniformBufferBytes } from './recorder.ts';
import type { ShaderLibrary } from './shader.ts';
import type { Tuning, TuningStore } from './tuning.ts';

/** What the kernels may rely on. Tests narrow it to run the variants this machine would not choose. */
export interface GpuCapabilities {
  /** `shader-f16`: 16-bit floats in shaders. */
  readonly f16: boolean;
  /** `subgroups`, and how many invocations a subgroup has at least and at most. */
  readonly subgroups: { readonly min: number; readonly max: number } | undefined;
  /** The "GPU" is the CPU (lavapipe, SwiftShader): loads and barriers are what costs. */
  readonly software: boolean;
  /** Bytes that one binding of a storage buffer may span. */
  readonly maxBindingBytes: number;
  /** Invocations of one workgroup. */
  readonly maxWorkgroupSize: number;
}

export interface GpuOptions {
  readonly shaders: ShaderLibrary;
  /** Bytes to use at most where nobody says how many; without it, what the device gives. */
  readonly memory?: number;
  /** How to await the GPU; the platform may know a cheaper way than to spin. */
  readonly wait?: <T>(promise: Promise<T>) => Promise<T>;
  /** Overrides of what the adapter reports, for tests. */
  readonly capabilities?: Partial<GpuCapabilities>;
  /** Where to remember which variants of the kernels are the fastest; without it none are measured. */
  readonly tuningStore?: TuningStore | undefined;
}

const storageUsage = 0x80 | 0x04 | 0x08; // STORAGE | COPY_SRC | COPY_DST
const optionalFeatures = ['shader-f16', 'subgroups', 'timestamp-query'] as const;

/** A WebGPU device with its memory ledger, pipelines and error state. Knows nothing of models. */
export class Gpu {
  readonly adapter: GPUAdapter;
  readonly device: GPUDevice;
  readonly capabilities: GpuCapabilities;
  readonly ledger = new Ledger();
  /** Bytes to use at most where nobody says how many. */
  readonly memory: number;
  readonly shaders: ShaderLibrary;
  readonly pipelines: PipelineCache;
  /** Uniforms of the submission being queued; written in queue order, so one buffer serves all. */
  readonly uniforms: GpuBuffer;
  /** Measured choices among the kernels' variants; their rules decide where it has none. */
  tuning: Tuning | undefined;
  readonly tuningStore: TuningStore | undefined;
  /** GPU to CPU readbacks so far. */
  readbacks = 0;
  readonly #wait: <T>(promise: Promise<T>) => Promise<T>;
  /** Those who wait for the device now; told when it is lost. */
  readonly #waiting = new Set<(reason: unknown) => void>();
  #lost = false;
  #failure: MowgliError | undefined;
  #staging: GpuBuffer | undefined;
  readonly #constants = new Map<string, GpuBuffer>();
  #readQueue: Promise<unknown> = Promise.resolve();

  private constructor(adapter: GPUAdapter, device: GPUDevice, options: GpuOptions) {
    this.adapter = adapter;
    this.device = device;
    this.capabilities = { ...reportedCapabilities(adapter, device), ...options.capabilities };
    this.memory = options.memory ?? Number.POSITIVE_INFINITY;
    this.#wait = options.wait ?? ((promise) => promise);
    this.tuningStore = options.tuningStore;
    this.shaders = options.shaders;
    this.pipelines = new PipelineCache(this, options.shaders);
    const uniforms = device.createBuffer({
      label: 'uniforms',
      size: uniformBufferBytes,
      usage: 0x48,
    });
    this.uniforms = new GpuBuffer(uniforms, 'uniforms', this.ledger, () => {});
    void device.lost.then((info) => {
      this.#failure ??=
        info.reason === 'destroyed'
          ? new MowgliError('DISPOSED', 'the GPU device was disposed of')
          : new MowgliError(
              'DEVICE_LOST',
              `the GPU device was lost (${info.message.trim() || 'no reason given'}); ` +
                'load the model again, with a smaller context or fewer resident experts if memory ran out',
            );
      this.#lost = true;
      for (const reject of this.#waiting) reject(this.#failure);
      this.#waiting.clear();
    });
    device.addEventListener('uncapturederror', (event) => {
      this.#failure ??= gpuError((event as GPUUncapturedErrorEvent).error);
    });
  }

  /**
   * Requests a device with everything the adapter offers.
   * @throws MowgliError `GPU_ERROR` when the adapter refuses.
   */
  static async open(adapter: GPUAdapter, options: GpuOptions): Promise<Gpu> {
    const limits = adapter.limits;
    const requiredLimits = {
      maxBufferSize: limits.maxBufferSize,
      maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
      maxStorageBuffersPerShaderStage: limits.maxStorageBuffersPerShaderStage,
      maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
      maxComputeInvocationsPerWorkgroup: limits.maxComputeInvocationsPerWorkgroup,
      maxComputeWorkgroupSizeX: limits.maxComputeWorkgroupSizeX,
    };
    const requiredFeatures = optionalFeatures.filter((name) => adapter.features.has(name));
    try {
      const device = await adapter.requestDevice({ requiredLimits, requiredFeatures });
      return new Gpu(adapter, device, options);
    } catch (cause) {
      throw new MowgliError('GPU_ERROR', `the adapter gave no device: ${String(cause)}`, { cause });
    }
  }

  /** Storage bytes rounded up to what WebGPU accepts. A binding of size 0 is not allowed. */
  static roundBytes(bytes: number): number {
    return Math.max(16, Math.ceil(bytes / 16) * 16);
  }

  /**
   * Allocates a storage buffer of zeros.
   * @throws MowgliError `OUT_OF_MEMORY` when the device refuses or the size passes its limits.
   */
  async allocate(label: string, bytes: number, extraUsage = 0): Promise<GpuBuffer> {
    this.throwIfFailed();
    const size = Gpu.roundBytes(bytes);
    const limit = this.device.limits.maxBufferSize;
    if (size > limit) {
      throw new MowgliError(
        'OUT_OF_MEMORY',
        `${label} needs a buffer of ${size} bytes, more than this device allows (${limit}); ` +
          'use a smaller context or chunk',
      );
    }
    return this.#create(label, size, storageUsage | extraUsage);
  }

  /** Creates a buffer within an error scope: running out of memory is an error of this call alone. */
  async #create(label: string, size: number, usage: number): Promise<GpuBuffer> {
    const { bytes, limit } = this.ledger;
    if (bytes + size > limit) {
      throw new MowgliError(
        'OUT_OF_MEMORY',
        `${label} needs ${size} bytes of GPU memory, and ${bytes} of the ${limit} that were allowed ` +
          'are in use; allow more (gpuMemory, --gpu-memory), or use a smaller context or chunk',
      );
    }
    this.device.pushErrorScope('out-of-memory');
    const raw = this.device.createBuffer({ label, size, usage });
    const error = await this.wait(this.device.popErrorScope());
    if (error) {
      raw.destroy();
      throw new MowgliError(
        'OUT_OF_MEMORY',
        `the GPU has no ${size} bytes left for ${label} (${this.ledger.bytes} bytes are in use); ` +
          'use a smaller context or chunk, or close other programs that use the GPU',
        { cause: error },
      );
    }
    return new GpuBuffer(raw, label, this.ledger, () => this.pipelines.forgetBindGroups());
  }

  /** Allocates a buffer and fills it. */
  async upload(
    label: string,
    data: ArrayBufferView<ArrayBuffer>,
    extraUsage = 0,
  ): Promise<GpuBuffer> {
    const buffer = await this.allocate(label, data.byteLength, extraUsage);
    this.write(buffer, 0, data);
    return buffer;
  }

  /** A small table that never changes, uploaded at first use and kept with the device. */
  constant(label: string, make: () => Uint32Array<ArrayBuffer>): BufferSlice {
    let buffer = this.#constants.get(label);
    if (!buffer) {
      const data = make();
      const size = Gpu.roundBytes(data.byteLength);
      const raw = this.device.createBuffer({ label, size, usage: storageUsage });
      buffer = new GpuBuffer(raw, label, this.ledger, () => {});
      this.write(buffer, 0, data);
      this.#constants.set(label, buffer);
    }
    return buffer.all();
  }

  /** Queues a write; the data is copied before this returns. Offset and length in bytes, multiples of 4. */
  write(buffer: GpuBuffer, offset: number, data: ArrayBufferView<ArrayBufferLike>): void {
    this.device.queue.writeBuffer(
      buffer.raw,
      offset,
      data.buffer as ArrayBuffer,
      data.byteOffset,
      data.byteLength,
    );
  }

  /** Starts recording commands. */
  record(): Recorder {
    this.throwIfFailed();
    return new Recorder(this);
  }

  /**
   * Copies ranges to the CPU after everything submitted so far, and after what `rec` has recorded, which
   * is submitted with it: one submission, one readback. Calls are served one after the other.
   */
  read(slices: readonly BufferSlice[], rec?: Recorder): Promise<ArrayBuffer[]> {
    return this.#readBack(slices, Gpu.roundBytes, rec, (mapped, starts) =>
      slices.map(({ bytes }, i) => mapped.slice(starts[i], starts[i] + bytes)),
    );
  }

  /**
   * Like `read`, into memory that is there: one range right behind the other, each a multiple of 4 bytes.
   * That is one copy for many small ranges.
   */
  readInto(target: Uint8Array, slices: readonly BufferSlice[]): Promise<void> {
    const asItIs = (bytes: number) => bytes;
    return this.#readBack(slices, asItIs, undefined, (mapped) =>
      target.set(new Uint8Array(mapped)),
    );
  }

  #readBack<T>(
    slices: readonly BufferSlice[],
    room: (bytes: number) => number,
    rec: Recorder | undefined,
    take: (mapped: ArrayBuffer, starts: readonly number[]) => T,
  ): Promise<T> {
    const result = this.#readQueue.then(() => this.#readNow(slices, room, rec, take));
    this.#readQueue = result.catch(() => {});
    return result;
  }

  /** @param room bytes that a range takes between host and GPU */
  async #readNow<T>(
    slices: readonly BufferSlice[],
    room: (bytes: number) => number,
    rec: Recorder | undefined,
    take: (mapped: ArrayBuffer, starts: readonly number[]) => T,
  ): Promise<T> {
    this.throwIfFailed();
    const starts: number[] = [];
    let total = 0;
    for (const { bytes } of slices) {
      starts.push(total);
      total += room(bytes);
    }
    const staging = await this.#stagingBuffer(total);
    (rec ?? this.record()).submit((encoder) => {
      for (const [i, { buffer, offset, bytes }] of slices.entries()) {
        const whole = Math.ceil(bytes / 4) * 4;
        encoder.copyBufferToBuffer(buffer.raw, offset, staging.raw, starts[i], whole);
      }
    });
    this.readbacks++;
    await this.wait(staging.raw.mapAsync(1, 0, total));
    let taken: T;
    try {
      taken = take(staging.raw.getMappedRange(0, total), starts);
    } finally {
      staging.raw.unmap(); // Also when there is no host memory: the next readback needs it.
    }
    this.throwIfFailed();
    return taken;
  }

  /** Makes room for readbacks of up to `bytes`, so that none allocates later. */
  async reserveReadback(bytes: number): Promise<void> {
    await this.#stagingBuffer(bytes);
  }

  /** The reused MAP_READ buffer, grown to at least `bytes`. */
  async #stagingBuffer(bytes: number): Promise<GpuBuffer> {
    if (this.#staging && this.#staging.bytes >= bytes) return this.#staging;
    this.#staging?.destroy();
    this.#staging = undefined;
    this.#staging = await this.#create('readback', bytes, 0x01 | 0x08); // MAP_READ | COPY_DST
    return this.#staging;
  }

  /** Waits until everything submitted so far is done. */
  async idle(): Promise<void> {
    await this.wait(this.device.queue.onSubmittedWorkDone());
    this.throwIfFailed();
  }

  /** Awaits a promise of the device; a lost device rejects instead of hanging. */
  wait<T>(promise: Promise<T>): Promise<T> {
    if (this.#lost) return Promise.reject(this.#failure);
    // Not a race with `device.lost`: that promise would keep something of every wait for good.
    const settled = new Promise<T>((resolve, reject) => {
      const lost = (reason: unknown) => reject(reason);
      this.#waiting.add(lost);
      promise.then(
        (value) => {
          this.#waiting.delete(lost);
          resolve(value);
        },
        (error) => {
          this.#waiting.delete(lost);
          // A rejected promise of a dying device says less than the failure already on record.
          reject(this.#failure ?? error);
        },
      );
    });
    return this.#wait(settled);
  }

  /** What went wrong first: from then on the device is of no use. `undefined` while it works. */
  get failure(): MowgliError | undefined {
    return this.#failure;
  }

  /** Throws what went wrong earlier: a lost device, an out-of-memory or validation error. */
  throwIfFailed(): void {
    if (this.#failure) throw this.#failure;
  }

  /** Frees the device and its own buffers. Buffers of others must be destroyed by their owners. */
  dispose(): void {
    this.#staging?.destroy();
    this.#staging = undefined;
    this.uniforms.destroy();
    for (const buffer of this.#constants.values()) buffer.destroy();
    this.#constants.clear();
    this.pipelines.dispose();
    this.device.destroy();
  }
}

function gpuError(error: GPUError): MowgliError {
  const outOfMemory = error.constructor.name === 'GPUOutOfMemoryError';
  return new MowgliError(
    outOfMemory ? 'OUT_OF_MEMORY' : 'GPU_ERROR',
    outOfMemory
      ? `the GPU ran out of memory: ${error.message}; use a smaller context or chunk`
      : `the GPU reported an error: ${error.message}`,
    { cause: error },
  );
}

function reportedCapabilities(adapter: GPUAdapter, device: GPUDevice): GpuCapabilities {
  // Not every implementation of WebGPU has `subgroupMinSize` in its types yet.
  const info = adapter.info as GPUAdapterInfo & {
    subgroupMinSize?: number;
    subgroupMaxSize?: number;
  };
  const { vendor, architecture } = info;
  const sizes =
    device.features.has('subgroups') && info.subgroupMinSize && info.subgroupMaxSize
      ? { min: info.subgroupMinSize, max: info.subgroupMaxSize }
      : undefined;
  return {
    f16: device.features.has('shader-f16'),
    subgroups: sizes,
    software: architecture === 'software' || /swiftshader/i.test(`${vendor} ${architecture}`),
    maxBindingBytes: Math.min(
      device.limits.maxStorageBufferBindingSize,
      device.limits.maxBufferSize,
    ),
    maxWorkgroupSize: device.limits.maxComputeInvocationsPerWorkgroup,
  };
}
