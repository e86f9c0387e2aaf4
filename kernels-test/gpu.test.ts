import { afterAll, describe, expect, it } from 'vitest';
import { globals } from 'webgpu';
import { Gpu } from '../src/gpu/device.ts';
import { f32 } from '../src/gpu/recorder.ts';
import type { ShaderLibrary } from '../src/gpu/shader.ts';
import { openDawn } from '../src/node/dawn.ts';
import { quietWait } from '../src/node/quiet-wait.ts';

/** y[i] += add * scale, for the words of one workgroup. */
const shaders: ShaderLibrary = new Map([
  [
    'add',
    `struct Params { n: u32, add: f32, scale: f32 }
     @group(0) @binding(0) var<uniform> p: Params;
     @group(0) @binding(1) var<storage, read_write> y: array<f32>;
     @compute @workgroup_size(4)
     fn main(@builtin(global_invocation_id) id: vec3u) {
       if (id.x < p.n) { y[id.x] += p.add * p.scale; }
     }`,
  ],
  [
    'copy',
    `@group(0) @binding(1) var<storage, read> x: array<f32>;
     @group(0) @binding(2) var<storage, read_write> y: array<f32>;
     @compute @workgroup_size(4)
     fn main(@builtin(global_invocation_id) id: vec3u) { y[id.x] = x[id.x]; }`,
  ],
  ['wrong', '@compute @workgroup_size(1) fn main() { let a: u32 = 1.5; }'],
]);

// The types of npm `webgpu` do not say what its `globals` are.
const { GPUOutOfMemoryError } = globals as unknown as {
  GPUOutOfMemoryError: new (message: string) => GPUError;
};

const opened: Gpu[] = [];
afterAll(() => {
  for (const gpu of opened) gpu.dispose();
});

/** A device of its own, since most of these tests break theirs. */
async function openGpu(adjust: (device: GPUDevice) => void = () => {}): Promise<Gpu> {
  const { adapter, driver } = await openDawn();
  const requestDevice = adapter.requestDevice.bind(adapter);
  Object.defineProperty(adapter, 'requestDevice', {
    value: async (descriptor: GPUDeviceDescriptor) => {
      const device = await requestDevice(descriptor);
      adjust(device);
      return device;
    },
  });
  const gpu = await Gpu.open(adapter, { shaders, ...(driver.isSoftware && { wait: quietWait }) });
  opened.push(gpu);
  return gpu;
}

const floats = (bytes: ArrayBuffer) => [...new Float32Array(bytes)];

describe('Gpu', () => {
  it('asks for the limits and features that the adapter has', async () => {
    const gpu = await openGpu();
    const { adapter, device, capabilities } = gpu;
    expect(device.limits.maxBufferSize).toBe(adapter.limits.maxBufferSize);
    expect(capabilities.maxBindingBytes).toBeGreaterThanOrEqual(128 << 20);
    expect(capabilities.f16).toBe(adapter.features.has('shader-f16'));
    const { subgroups } = capabilities;
    if (subgroups) expect(subgroups.min).toBeLessThanOrEqual(subgroups.max);
  });

  it('overrides capabilities for tests', async () => {
    const { adapter } = await openDawn();
    const capabilities = { f16: false, subgroups: undefined, maxBindingBytes: 4096 };
    const gpu = await Gpu.open(adapter, { shaders, capabilities });
    opened.push(gpu);
    expect(gpu.capabilities).toMatchObject(capabilities);
  });

  it('writes and reads ranges, of any length, in the order of the calls', async () => {
    const gpu = await openGpu();
    const buffer = await gpu.upload('numbers', Float32Array.of(1, 2, 3, 4, 5, 6, 7));
    expect(buffer.bytes).toBe(32);
    gpu.write(buffer, 8, Float32Array.of(30));
    const first = gpu.read([buffer.slice(4, 12), buffer.slice(0, 4)]);
    gpu.write(buffer, 0, Float32Array.of(10));
    const second = gpu.read([buffer.slice(0, 3), buffer.all()]);
    const [three, one] = await first;
    expect(floats(three)).toEqual([2, 30, 4]);
    expect(one.byteLength).toBe(4);
    const [bytes, all] = await second;
    expect(bytes.byteLength).toBe(3);
    expect(floats(all)).toEqual([10, 2, 30, 4, 5, 6, 7, 0]);
    expect(gpu.readbacks).toBe(2);
  });

  it('reads more than before: the staging buffer grows', async () => {
    const gpu = await openGpu();
    const buffer = await gpu.upload(
      'many',
      new Float32Array(5000).map((_, i) => i),
    );
    expect(floats((await gpu.read([buffer.slice(0, 4)]))[0])).toEqual([0]);
    expect(floats((await gpu.read([buffer.all()]))[0])).toHaveLength(5000);
    expect(floats((await gpu.read([buffer.slice(400, 4)]))[0])).toEqual([100]);
  });

  it('reads ranges into one piece of memory, without gaps', async () => {
    const gpu = await openGpu();
    const buffer = await gpu.upload('data', Float32Array.of(1, 2, 3, 4, 5));
    const slices = [buffer.slice(12, 8), buffer.slice(0, 4), buffer.slice(4, 4)];
    const target = new Uint8Array(20).fill(0xff);
    await gpu.readInto(target.subarray(4), slices);
    expect([...new Uint32Array(target.buffer, 0, 1)]).toEqual([0xffffffff]);
    expect(floats(target.buffer.slice(4))).toEqual([4, 5, 1, 2]);
    // What goes wrong on the host does not keep the next one from reading.
    await expect(gpu.readInto(new Uint8Array(8), slices)).rejects.toThrow(RangeError);
    expect(floats((await gpu.read([buffer.slice(0, 4)]))[0])).toEqual([1]);
  });

  it('rejects sizes that no buffer may have', async () => {
    const gpu = await openGpu();
    const bytes = gpu.device.limits.maxBufferSize + 1;
    await expect(gpu.allocate('huge', bytes)).rejects.toMatchObject({
      code: 'OUT_OF_MEMORY',
      message: expect.stringContaining('huge'),
    });
    await (await gpu.allocate('small', 4)).destroy(); // It was not the end.
  });
});

describe('the ledger', () => {
  it('counts what is held, by label, and the most there was', async () => {
    const gpu = await openGpu();
    const { ledger } = gpu;
    const before = ledger.bytes;
    const a = await gpu.allocate('a', 100);
    const b = await gpu.allocate('b', 32);
    const more = await gpu.allocate('a', 1);
    expect(ledger.bytes - before).toBe(112 + 32 + 16);
    expect(ledger.byLabel()).toMatchObject({ a: 128, b: 32 });
    a.destroy();
    a.destroy();
    more.destroy();
    expect(ledger.bytes - before).toBe(32);
    expect(ledger.byLabel()).not.toHaveProperty('a');
    expect(ledger.peakBytes - before).toBe(160);
    b.destroy();
    gpu.dispose();
    expect(ledger.bytes).toBe(0);
  });
});

describe('the recorder', () => {
  it('gives every dispatch its own uniforms, over as many submissions as it takes', async () => {
    const gpu = await openGpu();
    const y = await gpu.upload('y', new Float32Array(8));
    const rec = gpu.record();
    const pipeline = gpu.pipelines.get('add', {});
    let expected = 0;
    for (let i = 0; i < 5000; i++) {
      rec.dispatch(pipeline, [5, f32(i % 7), f32(0.5)], [y.all()], 2);
      expected += (i % 7) * 0.5;
    }
    rec.dispatch(pipeline, [8, f32(1000), f32(1)], [y.all()], 0);
    rec.submit();
    expect(rec.dispatches).toBe(5000);
    const [bytes] = await gpu.read([y.all()]);
    expect(floats(bytes)).toEqual([...new Array(5).fill(expected), 0, 0, 0]);
  });

  it('runs indirect dispatches and copies in between, in order', async () => {
    const gpu = await openGpu();
    const y = await gpu.upload('y', new Float32Array(8));
    const saved = await gpu.allocate('saved', 32);
    const counts = await gpu.upload('counts', Uint32Array.of(9, 9, 9, 1, 1, 1), 0x100);
    const rec = gpu.record();
    const pipeline = gpu.pipelines.get('add', {});
    rec.dispatchIndirect(pipeline, [8, f32(3), f32(1)], [y.all()], counts.slice(12, 12));
    rec.copy(y.slice(4, 16), saved.slice(8, 16));
    rec.dispatch(pipeline, [8, f32(2), f32(2)], [y.all()], 2);
    rec.submit();
    rec.submit(); // There is nothing left to submit.
    const [now, then] = await gpu.read([y.all(), saved.all()]);
    expect(floats(now)).toEqual([7, 7, 7, 7, 4, 4, 4, 4]);
    expect(floats(then)).toEqual([0, 0, 3, 3, 3, 0, 0, 0]);
  });

  it('compiles once, and forgets bind groups of destroyed buffers', async () => {
    const gpu = await openGpu();
    const { pipelines } = gpu;
    const pipeline = pipelines.get('add', {});
    expect(pipelines.get('add', {})).toBe(pipeline);
    expect(pipelines.get('add', { OTHER: 1 })).not.toBe(pipeline);
    expect(pipelines.size).toBe(2);
    const y = await gpu.allocate('y', 16);
    const group = () => pipelines.bindGroup(pipeline.layout, gpu.uniforms.slice(0, 256), [y.all()]);
    const first = group();
    expect(group()).toBe(first);
    (await gpu.allocate('other', 16)).destroy();
    expect(group()).not.toBe(first);
  });
});

describe('errors', () => {
  it('of validation are typed, and end the device for its user', async () => {
    const gpu = await openGpu();
    const buffer = await gpu.allocate('both', 512);
    const rec = gpu.record();
    // One buffer read and written in one dispatch.
    rec.dispatch(
      gpu.pipelines.get('copy', {}),
      [],
      [buffer.slice(0, 256), buffer.slice(0, 256)],
      1,
    );
    rec.submit();
    await expect(gpu.idle()).rejects.toMatchObject({ code: 'GPU_ERROR' });
    expect(() => gpu.record()).toThrow(expect.objectContaining({ code: 'GPU_ERROR' }));
    await expect(gpu.allocate('more', 16)).rejects.toMatchObject({ code: 'GPU_ERROR' });
    await expect(gpu.read([buffer.all()])).rejects.toMatchObject({ code: 'GPU_ERROR' });
  });

  it('of shaders are typed', async () => {
    const gpu = await openGpu();
    gpu.pipelines.get('wrong', {});
    await expect(gpu.idle()).rejects.toMatchObject({ code: 'GPU_ERROR' });
  });

  it('of a device without memory are typed, and the device goes on', async () => {
    const gpu = await openGpu();
    const popErrorScope = gpu.device.popErrorScope.bind(gpu.device);
    const outOfMemory = new GPUOutOfMemoryError('no memory');
    Object.defineProperty(gpu.device, 'popErrorScope', {
      configurable: true,
      value: async () => {
        await popErrorScope();
        return outOfMemory;
      },
    });
    const bytes = gpu.ledger.bytes;
    await expect(gpu.allocate('experts', 64)).rejects.toMatchObject({
      code: 'OUT_OF_MEMORY',
      message: expect.stringContaining('experts'),
      cause: outOfMemory,
    });
    expect(gpu.ledger.bytes).toBe(bytes);
    Object.defineProperty(gpu.device, 'popErrorScope', { value: popErrorScope });
    (await gpu.allocate('fewer experts', 64)).destroy();
  });

  it('that nobody caught are typed by their kind', async () => {
    const gpu = await openGpu((device) => {
      const listen = device.addEventListener.bind(device);
      Object.defineProperty(device, 'addEventListener', {
        value: (type: string, listener: (event: unknown) => void) => {
          listen(type as 'uncapturederror', listener);
          listener({ error: new GPUOutOfMemoryError('later') });
        },
      });
    });
    await expect(gpu.idle()).rejects.toMatchObject({ code: 'OUT_OF_MEMORY' });
  });
});

describe('a device that goes away', () => {
  it('rejects those who wait, and whoever comes later, when it is lost', async () => {
    let lose: (info: { reason: string; message: string }) => void = () => {};
    const gpu = await openGpu((device) => {
      const lost = new Promise((resolve) => {
        lose = resolve;
      });
      Object.defineProperty(device, 'lost', { value: lost });
    });
    const waiting = gpu.wait(new Promise(() => {})); // What a lost device may never resolve.
    lose({ reason: 'unknown', message: 'the driver crashed' });
    await expect(waiting).rejects.toMatchObject({
      code: 'DEVICE_LOST',
      message: expect.stringContaining('the driver crashed'),
    });
    expect(() => gpu.record()).toThrow(expect.objectContaining({ code: 'DEVICE_LOST' }));
    await expect(gpu.allocate('more', 16)).rejects.toMatchObject({ code: 'DEVICE_LOST' });
    await expect(gpu.read([])).rejects.toMatchObject({ code: 'DEVICE_LOST' });
  });

  it('says so when it was disposed of', async () => {
    const gpu = await openGpu();
    const buffer = await gpu.allocate('a', 16);
    gpu.dispose();
    await expect(gpu.wait(new Promise(() => {}))).rejects.toMatchObject({ code: 'DISPOSED' });
    await expect(gpu.read([buffer.all()])).rejects.toMatchObject({ code: 'DISPOSED' });
    expect(() => gpu.record()).toThrow(expect.objectContaining({ code: 'DISPOSED' }));
    gpu.dispose();
  });
});
