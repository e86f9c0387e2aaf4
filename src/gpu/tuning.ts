import type { Gpu } from './device.ts';
import type { ShaderLibrary } from './shader.ts';

/** What was measured of a kernel's variants for one class of shapes. */
export interface TunedClass {
  /** The one to run. */
  readonly variant: string;
  /** Milliseconds of one run of each variant; null where it failed or time ran out before its turn. */
  readonly ms: Readonly<Record<string, number | null>>;
}

/** Where measurements outlive the process: one small text per adapter. */
export interface TuningStore {
  /** The text last saved for an adapter; undefined when there is none that can be read. */
  load(adapter: string): Promise<string | undefined>;
  /** Replaces it, as a whole or not at all. */
  save(adapter: string, text: string): Promise<void>;
}

/** What measurements hold for. */
export interface TuningScope {
  /** The device, its driver and the features in use; see `tuningScope`. */
  readonly adapter: string;
  /** Differs between any two versions of the shaders: of others nothing is known. */
  readonly kernels: string;
}

/**
 * The variants that were measured to be the fastest on one adapter, by class of shapes. Kernels ask
 * for a choice when they are recorded; where there is none, their own rule decides.
 */
export class Tuning {
  readonly #classes = new Map<string, TunedClass>();

  /** Classes measured. */
  get size(): number {
    return this.#classes.size;
  }

  /** The variant to run for a class, if one was measured. */
  choice(key: string): string | undefined {
    return this.#classes.get(key)?.variant;
  }

  /** Whether a class was measured with all of these variants. */
  covers(key: string, variants: readonly string[]): boolean {
    const ms = this.#classes.get(key)?.ms;
    return ms !== undefined && variants.every((variant) => Object.hasOwn(ms, variant));
  }

  get(key: string): TunedClass | undefined {
    return this.#classes.get(key);
  }

  set(key: string, tuned: TunedClass): void {
    this.#classes.set(key, tuned);
  }

  /** Takes over all choices of another one. */
  add(other: Tuning): void {
    for (const [key, tuned] of other.#classes) this.#classes.set(key, tuned);
  }

  /** Text for a store. */
  serialize({ adapter, kernels }: TuningScope): string {
    const classes = Object.fromEntries([...this.#classes].sort(([a], [b]) => (a < b ? -1 : 1)));
    return `${JSON.stringify({ adapter, kernels, classes }, undefined, 1)}\n`;
  }

  /**
   * What `serialize` wrote for this scope. Anything else, such as the text of another adapter or a
   * damaged one, is as good as nothing: it can be measured again.
   */
  static parse({ adapter, kernels }: TuningScope, text: string): Tuning {
    const tuning = new Tuning();
    const file = parseObject(text);
    if (file?.adapter !== adapter || file.kernels !== kernels) return tuning;
    for (const [key, tuned] of Object.entries(asObject(file.classes) ?? {})) {
      const ms = asObject(asObject(tuned)?.ms);
      const variant = asObject(tuned)?.variant;
      if (typeof variant !== 'string' || !ms) continue;
      const isTime = (value: unknown) => value === null || (Number.isFinite(value) && value !== 0);
      if (!Object.values(ms).every(isTime)) continue;
      tuning.set(key, { variant, ms: ms as TunedClass['ms'] });
    }
    return tuning;
  }
}

/** What measurements on this device hold for. */
export function tuningScope({ adapter, capabilities, shaders }: Gpu): TuningScope {
  const { vendor, architecture, device, description } = adapter.info;
  const { f16, subgroups, software, maxWorkgroupSize } = capabilities;
  const features = [
    f16 && 'f16',
    subgroups && `subgroups ${subgroups.min}-${subgroups.max}`,
    software && 'software',
    `workgroups ${maxWorkgroupSize}`,
  ];
  const names = [vendor, architecture, device, description];
  return { adapter: [...names, ...features].filter(Boolean).join(', '), kernels: digest(shaders) };
}

/** 32 bits of FNV-1a: a change goes unnoticed once in four billion times, and costs some speed then. */
function digest(shaders: ShaderLibrary): string {
  let hash = 0x811c9dc5;
  for (const name of [...shaders.keys()].sort()) {
    for (const text of [name, shaders.get(name)!]) {
      for (let i = 0; i < text.length; i++) {
        hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
      }
    }
  }
  return (hash >>> 0).toString(16).padStart(8, '0');
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    return asObject(JSON.parse(text));
  } catch {
    return undefined; // Not JSON: as good as nothing, see above.
  }
}

function asObject(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}
