/**
 * How many layers of a token to record before waiting to hear which experts they need. Each wait costs
 * a synchronisation; each layer recorded behind one whose expert is missing is computed in vain. With
 * the chance p that a layer misses, H layers at a time get (1 - (1 - p)^H) / p layers further on
 * average, for the time of one synchronisation and H layers: the H with the least time per layer wins.
 */
export class Lookahead {
  /** The chance that a layer misses: everything, until something is known. */
  #missRate = 1;
  /** Milliseconds of a wait, and of a layer. */
  readonly #syncMs: number;
  #layerMs: number;

  /**
   * @param syncMs what a wait costs
   * @param layerMs what a layer takes, to begin with
   */
  constructor(syncMs: number, layerMs = syncMs) {
    this.#syncMs = syncMs;
    this.#layerMs = layerMs;
  }

  /**
   * Layers to record before the next wait, of the `left` ones; infinitely many for all of them, the
   * last one's experts, and what follows.
   */
  choose(left: number): number {
    // Behind the last router, a wait saves the time of its layer if an expert is missing.
    if (left <= 1) {
      const pays = (1 - this.#missRate) * this.#syncMs > this.#missRate * this.#layerMs;
      return pays ? Number.POSITIVE_INFINITY : 1;
    }
    let best = left;
    let least = Number.POSITIVE_INFINITY;
    for (let horizon = 1; ; horizon = Math.min(horizon * 2, left)) {
      const ms = this.#syncMs + horizon * this.#layerMs;
      const perLayer = ms / progress(this.#missRate, horizon);
      if (perLayer < least) {
        least = perLayer;
        best = horizon;
      }
      if (horizon >= left) return best === left ? Number.POSITIVE_INFINITY : best;
    }
  }

  /** A layer turned out to have all its experts, or not. */
  saw(missed: boolean): void {
    this.#missRate += ((missed ? 1 : 0) - this.#missRate) / 32;
  }

  /** So many layers were computed between two waits that took `ms`. */
  took(ms: number, layers: number): void {
    this.#layerMs += (Math.max(0, ms - this.#syncMs) / layers - this.#layerMs) / 8;
  }
}

/** Layers until the first miss, on average, of `horizon`. */
function progress(missRate: number, horizon: number): number {
  if (missRate < 1e-6) return horizon;
  return (1 - (1 - missRate) ** horizon) / missRate;
}
