/** What every random input of a run is drawn from; set `MOWGLI_SEED` to repeat or vary a run. */
export const baseSeed = Number(process.env.MOWGLI_SEED ?? 1);

/** A small fast generator (sfc32 of PractRand), seeded by `baseSeed` and a name. */
export class Random {
  #a: number;
  #b: number;
  #c = 1;
  #d = 1;

  constructor(name: string) {
    // FNV-1a, so that each named input has numbers of its own.
    let hash = 0x811c9dc5;
    for (const char of name) hash = Math.imul(hash ^ char.codePointAt(0)!, 0x01000193);
    this.#a = hash;
    this.#b = baseSeed;
    for (let i = 0; i < 12; i++) this.word();
  }

  /** Uniform in [0, 2^32). */
  word(): number {
    const t = (this.#a + this.#b + this.#d) | 0;
    this.#d = (this.#d + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + t;
    return t >>> 0;
  }

  /** Uniform in [0, 1). */
  unit(): number {
    return this.word() / 2 ** 32;
  }

  /** Uniform among the integers below `n`. */
  below(n: number): number {
    return Math.floor(this.unit() * n);
  }

  /** Values spread like activations: a bell with standard deviation `scale`, as float32. */
  normal(length: number, scale = 1): Float32Array<ArrayBuffer> {
    // The sum of four uniforms has variance 1/3.
    const factor = scale * Math.sqrt(3);
    return Float32Array.from(
      { length },
      () => (this.unit() + this.unit() + this.unit() + this.unit() - 2) * factor,
    );
  }

  /** The integers below `n` in random order. */
  permutation(n: number): number[] {
    const out = Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [out[i], out[j]] = [out[j], out[i]];
    }
    return out;
  }
}
