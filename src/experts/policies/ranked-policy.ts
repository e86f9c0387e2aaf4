import type { CachePolicy, CacheShape, PolicyName, PolicyOptions } from '../policy.ts';

export interface RankedOptions extends PolicyOptions {
  /** Every layer has a right to the same number of slots. */
  perLayer?: boolean;
}

const nobody = -1;
const unknown = -2;

/**
 * What all policies share: which experts are resident, which are spared, and the search for the one of
 * least worth. A subclass says what an expert is worth.
 *
 * The least worthy expert of each layer is remembered until something in that layer changes, so that
 * a search looks at each layer once and at the experts of one or two layers. Experts of equal worth go
 * in the order of their last use.
 */
export abstract class RankedPolicy implements CachePolicy {
  readonly name: PolicyName;
  protected readonly shape: CacheShape;
  /** The layer that the pass is at. */
  protected layer = 0;
  readonly #perLayer: boolean;
  readonly #pinned: ReadonlySet<number>;
  readonly #resident: Uint8Array;
  /** Per layer: residents. */
  readonly #count: Int32Array;
  /** Per layer: whether it was seen to have experts at all, which a dense layer has not. */
  readonly #sparse: Uint8Array;
  #sparseLayers = 0;
  /** Per layer: its least worthy resident, spared ones left out; or `nobody`, or `unknown`. */
  readonly #least: Int32Array;
  /** Prefetched for a layer that the pass has not been at yet. */
  readonly #predicted = new Set<number>();
  /** Per key, when it was used last or brought by prefetch, in touches. */
  readonly #lastUse: Float64Array;
  #touches = 0;

  constructor(name: PolicyName, shape: CacheShape, options: RankedOptions = {}) {
    const keys = shape.layers * shape.experts;
    this.name = name;
    this.shape = shape;
    this.#perLayer = options.perLayer ?? false;
    this.#pinned = options.pinned ?? new Set();
    this.#resident = new Uint8Array(keys);
    this.#count = new Int32Array(shape.layers);
    this.#sparse = new Uint8Array(shape.layers);
    this.#least = new Int32Array(shape.layers).fill(nobody);
    this.#lastUse = new Float64Array(keys);
  }

  /** What keeps the expert in its slot; the least goes first. Changes by `use` and `tick` only. */
  protected abstract worth(key: number): number;

  /** `tokens` tokens use the expert. Its worth must not fall. */
  protected abstract use(key: number, tokens: number): void;

  /** `tokens` tokens are over. */
  protected abstract tick(tokens: number): void;

  /**
   * What a worth counts when experts of several layers compete: rises with `worth`.
   * @param away layers until the pass comes to that expert's again, 1 to `shape.layers`
   */
  protected acrossLayers(worth: number, _away: number): number {
    return worth;
  }

  touch(key: number, tokens = 1): void {
    const layer = this.#layerOf(key);
    if (layer !== this.layer) this.#moveTo(layer);
    this.#see(layer);
    this.#lastUse[key] = ++this.#touches;
    this.use(key, tokens);
    if (this.#predicted.delete(key) || this.#least[layer] === key) this.#least[layer] = unknown;
  }

  insert(key: number, predicted = false): void {
    if (this.#resident[key]) return;
    const layer = this.#layerOf(key);
    this.#see(layer);
    this.#resident[key] = 1;
    this.#count[layer]!++;
    this.#least[layer] = unknown;
    if (!predicted) return;
    this.#predicted.add(key);
    this.#lastUse[key] = ++this.#touches;
  }

  remove(key: number): void {
    if (!this.#resident[key]) return;
    const layer = this.#layerOf(key);
    this.#resident[key] = 0;
    this.#count[layer]!--;
    this.#predicted.delete(key);
    if (this.#least[layer] === key) this.#least[layer] = unknown;
  }

  step(tokens = 1): void {
    this.tick(tokens);
    this.#predicted.clear();
    this.#least.fill(unknown);
  }

  victim(incoming: number, mayEvict: (key: number) => boolean): number | undefined {
    if (this.#perLayer) {
      const key = this.#victimByQuota(this.#layerOf(incoming), mayEvict);
      if (key !== nobody) return key;
    }
    const key = this.#leastOfAll(mayEvict);
    if (key !== nobody) return key;
    return this.#leastSpared(mayEvict);
  }

  #layerOf(key: number): number {
    return Math.floor(key / this.shape.experts);
  }

  /** What was prefetched for a layer that the pass has left was not needed. */
  #moveTo(layer: number): void {
    const left = this.layer;
    this.layer = layer;
    for (const key of this.#predicted) {
      if (this.#layerOf(key) !== left) continue;
      this.#predicted.delete(key);
      this.#least[left] = unknown;
    }
  }

  #see(layer: number): void {
    if (this.#sparse[layer]) return;
    this.#sparse[layer] = 1;
    this.#sparseLayers++;
  }

  /** From the incoming expert's own layer if that has its share, else from the one most above its share. */
  #victimByQuota(layer: number, mayEvict: (key: number) => boolean): number {
    // Rounded down: what is left over stays with the layers that took it first.
    const quota = Math.floor(this.shape.slots / Math.max(1, this.#sparseLayers));
    if (this.#count[layer]! >= quota) {
      const key = this.#leastOf(layer, mayEvict);
      if (key !== nobody) return key;
    }
    let best = nobody;
    let most = 0;
    for (let l = 0; l < this.shape.layers; l++) {
      if (l === layer || this.#count[l]! <= most) continue;
      const key = this.#leastOf(l, mayEvict);
      if (key === nobody) continue;
      best = key;
      most = this.#count[l]!;
    }
    return best;
  }

  #leastOfAll(mayEvict: (key: number) => boolean): number {
    const { layers } = this.shape;
    let best = nobody;
    let least = Number.POSITIVE_INFINITY;
    for (let layer = 0; layer < layers; layer++) {
      if (this.#count[layer] === 0) continue;
      const key = this.#leastOf(layer, mayEvict);
      if (key === nobody) continue;
      const away = layer > this.layer ? layer - this.layer : layer - this.layer + layers;
      const worth = this.acrossLayers(this.worth(key), away);
      if (best === nobody || this.#goesFirst(key, worth, best, least)) {
        best = key;
        least = worth;
      }
    }
    return best;
  }

  /** The least worthy resident of a layer among those that may go and are not spared. */
  #leastOf(layer: number, mayEvict: (key: number) => boolean): number {
    if (this.#least[layer] === unknown) this.#least[layer] = this.#search(layer, undefined);
    const known = this.#least[layer]!;
    return known === nobody || mayEvict(known) ? known : this.#search(layer, mayEvict);
  }

  #search(layer: number, mayEvict: ((key: number) => boolean) | undefined): number {
    const { experts } = this.shape;
    let best = nobody;
    let least = 0;
    for (let key = layer * experts; key < (layer + 1) * experts; key++) {
      if (!this.#resident[key] || this.#predicted.has(key) || this.#pinned.has(key)) continue;
      const worth = this.worth(key);
      if (best !== nobody && !this.#goesFirst(key, worth, best, least)) continue;
      if (mayEvict && !mayEvict(key)) continue;
      best = key;
      least = worth;
    }
    return best;
  }

  /** When nothing else may go: what was prefetched, and after that what is pinned. */
  #leastSpared(mayEvict: (key: number) => boolean): number | undefined {
    let best: number | undefined;
    for (let key = 0; key < this.#resident.length; key++) {
      if (!this.#resident[key] || !mayEvict(key)) continue;
      if (best === undefined || this.#sparedLess(key, best)) best = key;
    }
    return best;
  }

  #sparedLess(key: number, other: number): boolean {
    const pinned = Number(this.#pinned.has(key)) - Number(this.#pinned.has(other));
    if (pinned !== 0) return pinned < 0;
    return this.#goesFirst(key, this.worth(key), other, this.worth(other));
  }

  #goesFirst(key: number, worth: number, other: number, otherWorth: number): boolean {
    return (
      worth < otherWorth || (worth === otherWorth && this.#lastUse[key]! < this.#lastUse[other]!)
    );
  }
}
