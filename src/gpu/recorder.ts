import type { BufferSlice } from './buffer.ts';
import type { Gpu } from './device.ts';
import { type Pipeline, uniformBytes } from './pipelines.ts';
import type { Profiler } from './profiler.ts';

/** A uniform: an integer, or a float marked by `f32()`. */
export type Uniform = number | { readonly f32: number };

/** Marks a uniform as a float; plain numbers are unsigned integers. */
export function f32(value: number): Uniform {
  return { f32: value };
}

/** Dispatches whose uniforms fit one uniform buffer; more are submitted in several pieces. */
const capacity = 2048;

/** Size of the buffer `Gpu.uniforms`. */
export const uniformBufferBytes = capacity * uniformBytes;

/**
 * Records dispatches into one submission. WebGPU has no push constants: each dispatch's uniforms
 * get a 256-byte piece of one buffer, chosen by a dynamic offset, so that bind groups can be
 * reused from token to token.
 */
export class Recorder {
  readonly gpu: Gpu;
  /** Dispatches recorded so far, over all submissions. */
  dispatches = 0;
  /** Times each dispatch while set. */
  profiler: Profiler | undefined;
  #encoder: GPUCommandEncoder | undefined;
  #pass: GPUComputePassEncoder | undefined;
  readonly #words = new Uint32Array((capacity * uniformBytes) / 4);
  readonly #floats = new Float32Array(this.#words.buffer);
  #used = 0;

  constructor(gpu: Gpu) {
    this.gpu = gpu;
  }

  /** Records `x * y * z` workgroups. A dispatch of no workgroups is left out. */
  dispatch(
    pipeline: Pipeline,
    uniforms: readonly Uniform[],
    storage: readonly BufferSlice[],
    x: number,
    y = 1,
    z = 1,
  ): void {
    if (x === 0 || y === 0 || z === 0) return;
    this.#bind(pipeline, uniforms, storage).dispatchWorkgroups(x, y, z);
  }

  /** Like `dispatch`, with the three workgroup counts read from a buffer on the GPU. */
  dispatchIndirect(
    pipeline: Pipeline,
    uniforms: readonly Uniform[],
    storage: readonly BufferSlice[],
    counts: BufferSlice,
  ): void {
    this.#bind(pipeline, uniforms, storage).dispatchWorkgroupsIndirect(
      counts.buffer.raw,
      counts.offset,
    );
  }

  /** Copies bytes between buffers (offsets and length multiples of 4). */
  copy(from: BufferSlice, to: BufferSlice): void {
    this.#endPass();
    this.#encoder ??= this.gpu.device.createCommandEncoder();
    this.#encoder.copyBufferToBuffer(
      from.buffer.raw,
      from.offset,
      to.buffer.raw,
      to.offset,
      from.bytes,
    );
  }

  /**
   * Hands everything recorded to the GPU, and behind it what `last` records. The recorder can be used
   * again.
   */
  submit(last?: (encoder: GPUCommandEncoder) => void): void {
    this.#endPass();
    if (last) {
      this.#encoder ??= this.gpu.device.createCommandEncoder();
      last(this.#encoder);
    }
    if (!this.#encoder) return;
    const words = this.#words.subarray(0, (this.#used * uniformBytes) / 4);
    if (words.length) this.gpu.write(this.gpu.uniforms, 0, words);
    this.gpu.device.queue.submit([this.#encoder.finish()]);
    this.#encoder = undefined;
    this.#used = 0;
  }

  /** Drops what was recorded and not submitted. */
  discard(): void {
    this.#endPass();
    this.#encoder = undefined;
    this.#used = 0;
  }

  #bind(
    pipeline: Pipeline,
    uniforms: readonly Uniform[],
    storage: readonly BufferSlice[],
  ): GPUComputePassEncoder {
    if (this.#used === capacity) this.submit();
    this.#encoder ??= this.gpu.device.createCommandEncoder();
    const timestampWrites = this.profiler?.next(pipeline.label);
    if (timestampWrites) this.#endPass();
    this.#pass ??= this.#encoder.beginComputePass(timestampWrites && { timestampWrites });
    const offset = this.#used++ * uniformBytes;
    uniforms.forEach((value, i) => {
      if (typeof value === 'number') this.#words[offset / 4 + i] = value;
      else this.#floats[offset / 4 + i] = value.f32;
    });
    const uniformSlice = this.gpu.uniforms.slice(0, uniformBytes);
    const group = this.gpu.pipelines.bindGroup(pipeline.layout, uniformSlice, storage);
    this.#pass.setPipeline(pipeline.raw);
    this.#pass.setBindGroup(0, group, [offset]);
    this.dispatches++;
    return this.#pass;
  }

  #endPass(): void {
    this.#pass?.end();
    this.#pass = undefined;
  }
}
