import { globals } from 'webgpu';
import { Gpu } from '../../src/gpu/device.ts';
import { openDawn } from '../../src/node/dawn.ts';
import { quietWait } from '../../src/node/quiet-wait.ts';
import { nodeShaders } from '../../src/node/shaders.ts';

// The types of npm `webgpu` do not say what its `globals` are.
const { GPUOutOfMemoryError } = globals as unknown as {
  GPUOutOfMemoryError: new (message: string) => GPUError;
};

/** A device that fails on command, as a real one does by itself. */
export interface FaultyGpu {
  readonly gpu: Gpu;
  /** Buffers created so far. */
  buffers(): number;
  /** Takes the device away, as a driver does that was reset. */
  lose(message: string): void;
  /** Finds no memory for what no error scope watches, such as the copy that an upload makes. */
  runOut(message: string): void;
}

/**
 * Opens a device for which the n-th buffer that is created, from 1, finds no memory. WebGPU does not
 * throw then: the buffer is an invalid object, and the error goes to the innermost error scope for
 * such errors or, where there is none, to whoever listens for uncaptured ones.
 */
export async function openFaultyGpu({ outOfMemoryAt = 0 } = {}): Promise<FaultyGpu> {
  const { adapter, driver } = await openDawn();
  let buffers = 0;
  let lose: (info: { reason: string; message: string }) => void = () => {};
  const listeners: ((event: { error: GPUError }) => void)[] = [];
  const report = (error: GPUError) =>
    queueMicrotask(() => {
      for (const listener of listeners) listener({ error });
    });

  const breakDevice = (device: GPUDevice) => {
    const { createBuffer, pushErrorScope, popErrorScope, addEventListener } = device;
    const scopes: { filter: GPUErrorFilter; error?: GPUError }[] = [];

    const invalidBuffer = (size: number): GPUBuffer => {
      pushErrorScope.call(device, 'validation');
      const invalid = createBuffer.call(device, { size, usage: 0x01 | 0x80 }); // MAP_READ | STORAGE
      popErrorScope.call(device);
      return invalid;
    };
    const lost = new Promise((resolve) => {
      lose = resolve;
      device.lost.then(resolve);
    });
    const faulty = {
      createBuffer: (descriptor: GPUBufferDescriptor) => {
        if (++buffers !== outOfMemoryAt) return createBuffer.call(device, descriptor);
        const error = new GPUOutOfMemoryError('no memory, says the test');
        const scope = scopes.findLast(({ filter }) => filter === 'out-of-memory');
        if (scope) scope.error ??= error;
        else report(error);
        return invalidBuffer(descriptor.size);
      },
      pushErrorScope: (filter: GPUErrorFilter) => {
        scopes.push({ filter });
        pushErrorScope.call(device, filter);
      },
      popErrorScope: async () => {
        const scope = scopes.pop();
        const error = await popErrorScope.call(device);
        return scope?.error ?? error;
      },
      addEventListener: (type: string, listener: (event: unknown) => void) => {
        if (type === 'uncapturederror') listeners.push(listener);
        addEventListener.call(device, type, listener);
      },
      lost,
    };
    for (const [name, value] of Object.entries(faulty)) {
      Object.defineProperty(device, name, { value });
    }
    return device;
  };

  const requestDevice = adapter.requestDevice.bind(adapter);
  Object.defineProperty(adapter, 'requestDevice', {
    value: async (descriptor: GPUDeviceDescriptor) => breakDevice(await requestDevice(descriptor)),
  });
  const gpu = await Gpu.open(adapter, {
    shaders: nodeShaders(),
    ...(driver.isSoftware && { wait: quietWait }),
  });
  return {
    gpu,
    buffers: () => buffers,
    lose: (message) => lose({ reason: 'unknown', message }),
    runOut: (message) => report(new GPUOutOfMemoryError(message)),
  };
}
