import type { ModelConfig } from '../files/model-config.ts';
import type { TensorStore } from '../files/tensors.ts';

/** Where small texts outlive the process, by key. */
export interface TextStore {
  /** The text last saved; undefined when there is none that can be read. */
  load(key: string): Promise<string | undefined>;
  /** Replaces it, as a whole or not at all. */
  save(key: string, text: string): Promise<void>;
}

/** What a run counts for, against all runs before it. */
const decay = 0.5;

/**
 * How often each expert was used in earlier runs of a model, the last ones counting most. Those used
 * most can be kept on the GPU from the start; see `LoadOptions.pin`.
 */
export class LearnedUse {
  /** Of expert e of layer l at l * experts + e; the sum is 1, or 0 where nothing was learned. */
  readonly shares: Float64Array;
  readonly #key: string;
  readonly #store: TextStore;

  private constructor(key: string, store: TextStore, shares: Float64Array) {
    this.#key = key;
    this.#store = store;
    this.shares = shares;
  }

  /** What is known of a model. A text that is damaged, or another model's, counts for nothing. */
  static async load(
    store: TextStore,
    name: string,
    config: ModelConfig,
    tensors: TensorStore,
  ): Promise<LearnedUse> {
    const key = modelKey(name, config, tensors);
    const shares = new Float64Array(config.numHiddenLayers * config.numExperts);
    const known = parse((await store.load(key)) ?? '', key, shares.length);
    if (known) shares.set(known);
    return new LearnedUse(key, store, normalised(shares));
  }

  /**
   * Adds a run: how often it used each expert, by layer.
   * @throws what the store throws
   */
  async add(counts: readonly Uint32Array[], experts: number): Promise<void> {
    const run = new Float64Array(this.shares.length);
    for (const [layer, of] of counts.entries()) run.set(of, layer * experts);
    normalised(run);
    if (!run.some((share) => share > 0)) return;
    const before = this.shares.some((share) => share > 0) ? decay : 0;
    const shares = run.map((share, i) => before * this.shares[i] + (1 - before) * share);
    const rounded = Array.from(shares, (share) => Math.round(share * 1e7));
    await this.#store.save(this.#key, `${JSON.stringify({ model: this.#key, uses: rounded })}\n`);
  }
}

/** Tells models apart by what they are, so that a moved file is still the same model. */
function modelKey(name: string, config: ModelConfig, tensors: TensorStore): string {
  let bytes = 0;
  for (const tensor of tensors.tensors.values()) bytes += tensor.bytes;
  const { numHiddenLayers, numExperts, hiddenSize } = config;
  const file = name.split(/[\\/]/).at(-1);
  return `${file} ${numHiddenLayers}x${numExperts}x${hiddenSize} ${bytes}`;
}

function parse(text: string, key: string, length: number): number[] | undefined {
  try {
    const { model, uses } = JSON.parse(text);
    const valid =
      model === key &&
      Array.isArray(uses) &&
      uses.length === length &&
      uses.every((use) => Number.isFinite(use) && use >= 0);
    return valid ? uses : undefined;
  } catch {
    return undefined;
  }
}

function normalised(shares: Float64Array): Float64Array {
  const sum = shares.reduce((total, share) => total + share, 0);
  if (sum > 0) for (let i = 0; i < shares.length; i++) shares[i] /= sum;
  return shares;
}
