import type { BufferSlice } from './buffer.ts';
import type { Gpu } from './device.ts';
import { composeShader, type ShaderDefines, type ShaderLibrary } from './shader.ts';

/** A compiled kernel: uniforms at binding 0 (dynamic offset), storage buffers from binding 1 on. */
export interface Pipeline {
  /** Shader and defines. */
  readonly label: string;
  readonly raw: GPUComputePipeline;
  readonly layout: BindLayout;
}

interface BindLayout {
  readonly id: number;
  readonly raw: GPUBindGroupLayout;
}

/** Bytes of uniforms that one dispatch may have; also the alignment of dynamic offsets. */
export const uniformBytes = 256;

/** Compiles each (shader, defines) once, and makes each bind group once. */
export class PipelineCache {
  readonly #gpu: Gpu;
  readonly #library: ShaderLibrary;
  readonly #pipelines = new Map<string, Pipeline>();
  readonly #layouts = new Map<string, BindLayout>();
  #bindGroups = new Map<string, GPUBindGroup>();

  constructor(gpu: Gpu, library: ShaderLibrary) {
    this.#gpu = gpu;
    this.#library = library;
  }

  /** Pipelines compiled so far. */
  get size(): number {
    return this.#pipelines.size;
  }

  /** The pipeline of `shaders/<name>.wgsl`, entry point `main`, compiled at first use. */
  get(name: string, defines: ShaderDefines): Pipeline {
    let key = name;
    for (const define in defines) key += ` ${define}=${defines[define]}`;
    let pipeline = this.#pipelines.get(key);
    if (!pipeline) {
      pipeline = this.#compile(name, key, defines);
      this.#pipelines.set(key, pipeline);
    }
    return pipeline;
  }

  #compile(name: string, label: string, defines: ShaderDefines): Pipeline {
    const { device } = this.#gpu;
    const code = composeShader(this.#library, name, defines);
    const layout = this.#layout(storageAccess(code));
    const raw = device.createComputePipeline({
      label,
      layout: device.createPipelineLayout({ bindGroupLayouts: [layout.raw] }),
      compute: { module: device.createShaderModule({ label, code }), entryPoint: 'main' },
    });
    return { label, raw, layout };
  }

  #layout(access: readonly GPUBufferBindingType[]): BindLayout {
    const key = access.join();
    let layout = this.#layouts.get(key);
    if (!layout) {
      const visibility = 4; // COMPUTE
      const raw = this.#gpu.device.createBindGroupLayout({
        entries: [
          { binding: 0, visibility, buffer: { type: 'uniform', hasDynamicOffset: true } },
          ...access.map((type, i) => ({ binding: i + 1, visibility, buffer: { type } })),
        ],
      });
      layout = { id: this.#layouts.size, raw };
      this.#layouts.set(key, layout);
    }
    return layout;
  }

  /** The bind group of these buffers, made at first use: decoding binds the same ones for every token. */
  bindGroup(
    layout: BindLayout,
    uniforms: BufferSlice,
    storage: readonly BufferSlice[],
  ): GPUBindGroup {
    let key = `${layout.id}|${uniforms.buffer.id}`;
    for (const slice of storage) key += `|${slice.buffer.id},${slice.offset},${slice.bytes}`;
    let group = this.#bindGroups.get(key);
    if (!group) {
      const entry = (slice: BufferSlice, binding: number) => ({
        binding,
        resource: { buffer: slice.buffer.raw, offset: slice.offset, size: slice.bytes },
      });
      group = this.#gpu.device.createBindGroup({
        layout: layout.raw,
        entries: [entry(uniforms, 0), ...storage.map((slice, i) => entry(slice, i + 1))],
      });
      this.#bindGroups.set(key, group);
    }
    return group;
  }

  /** A destroyed buffer must not be kept alive, or bound again, by a cached bind group. */
  forgetBindGroups(): void {
    this.#bindGroups = new Map();
  }

  dispose(): void {
    this.forgetBindGroups();
    this.#pipelines.clear();
    this.#layouts.clear();
  }
}

/** How each storage binding is declared, in order of binding number from 1 on. */
function storageAccess(code: string): GPUBufferBindingType[] {
  const access: GPUBufferBindingType[] = [];
  const declaration = /@binding\((\d+)\)\s*var<storage,\s*(read|read_write)>/g;
  for (const [, binding, mode] of code.matchAll(declaration)) {
    access[Number(binding) - 1] = mode === 'read' ? 'read-only-storage' : 'storage';
  }
  return access;
}
