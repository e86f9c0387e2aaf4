import { roundBytes } from '../experts/expert-cache.ts';
import { Lookahead } from '../model/lookahead.ts';
import { type ComputeCosts, type LinkCosts, moveMs, tierNames } from './costs.ts';
import { countMisses, type ExpectedMisses, type Misses } from './expected-misses.ts';

/** What decoding is expected to take. */
export interface TokenTime {
  /** Milliseconds of one token, on average. */
  readonly ms: number;
  readonly tokensPerSecond: number;
  /** Readbacks of one token. */
  readonly readbacks: number;
  /** What the milliseconds go to. Of reads and uploads only what is waited for, not what overlaps. */
  readonly parts: {
    readonly compute: number;
    readonly synchronise: number;
    readonly read: number;
    readonly upload: number;
  };
  /** Whether it pays to read experts before it is certain that they are needed. */
  readonly readsAhead: boolean;
}

export interface TokenTimeOptions {
  /** Whether every expert has a slot. */
  readonly complete: boolean;
  /** Slots, and the bytes of an expert. */
  readonly slots: number;
  readonly expertBytes: number;
  /** Tokens of context. */
  readonly depth: number;
  /** Share of a layer's experts that are foretold a layer early. */
  readonly recall: number;
  /** By layer. */
  readonly sparseLayers: readonly boolean[];
}

/**
 * Goes through tokens step by step as `ForwardPass` does, with the lookahead's own decisions, and adds
 * up what each step costs.
 */
export function tokenTime(
  compute: ComputeCosts,
  link: LinkCosts,
  misses: ExpectedMisses,
  options: TokenTimeOptions,
): TokenTime {
  const [off, on] = [false, true].map((ahead) =>
    new Replay(compute, link, misses, options, ahead).run(),
  );
  return on.ms < off.ms ? on : off;
}

class Replay {
  readonly #compute: ComputeCosts;
  readonly #link: LinkCosts;
  readonly #misses: ExpectedMisses;
  readonly #options: TokenTimeOptions;
  readonly #ahead: boolean;
  readonly #lookahead: Lookahead;
  readonly #parts = { compute: 0, synchronise: 0, read: 0, upload: 0 };
  #readbacks = 0;
  /** Milliseconds since the reads of the last layer that lacked experts, in which others go on. */
  #sinceReads = 0;

  constructor(
    compute: ComputeCosts,
    link: LinkCosts,
    misses: ExpectedMisses,
    options: TokenTimeOptions,
    ahead: boolean,
  ) {
    this.#compute = compute;
    this.#link = link;
    this.#misses = misses;
    this.#options = options;
    this.#ahead = ahead;
    this.#lookahead = new Lookahead(compute.syncMs);
  }

  run(): TokenTime {
    const { tokens } = this.#misses;
    for (const token of tokens) this.#token(token);
    const part = (name: keyof TokenTime['parts']) => this.#parts[name] / tokens.length;
    const parts = {
      compute: part('compute'),
      synchronise: part('synchronise'),
      read: part('read'),
      upload: part('upload'),
    };
    const ms = parts.compute + parts.synchronise + parts.read + parts.upload;
    return {
      ms,
      tokensPerSecond: 1000 / ms,
      readbacks: this.#readbacks / tokens.length,
      parts,
      readsAhead: this.#ahead,
    };
  }

  /** @param missing by sparse layer */
  #token(missing: readonly Misses[]): void {
    const { layers, tokenMs, syncMs } = this.#compute;
    const { complete, depth, sparseLayers } = this.#options;
    this.#spend('compute', tokenMs);
    let next = 0;
    let settled = 0; // sparse layers before `next`
    for (;;) {
      const left = missing.length - settled;
      const horizon =
        complete || left === 0 ? Number.POSITIVE_INFINITY : this.#lookahead.choose(left);
      const asked: number[] = [];
      let stopped = false;
      let windowMs = 0;
      for (; next < layers.length; next++) {
        windowMs += layers[next].attentionMs + depth * layers[next].contextMs;
        if (!sparseLayers[next]) continue;
        asked.push(next);
        stopped = asked.length === horizon;
        if (stopped) break;
        const lacking = countMisses(missing[settled + asked.length - 1]);
        windowMs += this.#expertsMs(next, this.#misses.expertsPerLayer - lacking, true);
      }
      this.#spend('compute', windowMs);
      this.#spend('synchronise', syncMs);
      this.#readbacks++;
      if (complete) return;
      if (asked.length > 0) this.#lookahead.took(syncMs + windowMs, asked.length);
      const at = asked.findIndex((_, i) => {
        const misses = countMisses(missing[settled + i]) > 0;
        this.#lookahead.saw(misses);
        return misses || (stopped && i === asked.length - 1);
      });
      if (at < 0) return;
      const layer = asked[at];
      if (!(stopped && at === asked.length - 1)) this.#spend('compute', layers[layer].restoreMs);
      this.#bring(layer, missing[settled + at]);
      next = layer + 1;
      settled += at + 1;
    }
  }

  /** The experts of a layer, of which some have to be brought: `ForwardPass.#computeExperts`. */
  #bring(layer: number, missing: Misses): void {
    const { expertBytes, slots } = this.#options;
    const { copiesOverlap, upload } = this.#link;
    const count = Math.round(countMisses(missing));
    const hitsMs = this.#expertsMs(layer, this.#misses.expertsPerLayer - count);
    const perRound = Math.min(Math.max(1, Math.floor(roundBytes / expertBytes)), slots);
    const rounds: number[] = [];
    for (let left = count; left > 0; left -= perRound) rounds.push(Math.min(left, perRound));
    const reads = this.#readMs(missing);
    const share = (round: number | undefined) => (round ?? 0) / count;

    let computeMs = hitsMs;
    // When the host is free, when what it waits for is there, and when the GPU is done.
    let host = 0;
    let arrived = share(rounds[0]) * reads.waited;
    let gpu = hitsMs;
    if (!copiesOverlap) host = hitsMs;
    else arrived += share(rounds[0]) * reads.copied;
    for (const [i, size] of rounds.entries()) {
      const roundUploadMs = moveMs(upload, size);
      const roundMs = this.#expertsMs(layer, size);
      computeMs += roundMs;
      host = Math.max(host, arrived);
      arrived = host + share(rounds[i + 1]) * reads.waited;
      if (copiesOverlap) {
        arrived += share(rounds[i + 1]) * reads.copied;
        host += roundUploadMs;
        gpu = Math.max(gpu, host) + roundMs;
      } else {
        // One processor does it all.
        host += share(size) * reads.copied + roundUploadMs + roundMs;
        gpu = host;
      }
    }
    const waited = Math.max(0, gpu - computeMs);
    this.#spend('compute', computeMs);
    this.#spend('read', Math.min(reads.copied + reads.waited, waited));
    this.#spend('upload', Math.max(0, waited - reads.copied - reads.waited));
    // What was read ahead for the next layer had this long by now.
    this.#sinceReads = gpu - Math.max(0, Math.min(gpu, arrived));
  }

  /**
   * Reads of a layer, or what is left of them where some were begun ahead: of what is foretold, part is
   * wrong, and takes as long.
   */
  #readMs(missing: Misses): { copied: number; waited: number } {
    const count = countMisses(missing);
    const reads = { copied: 0, waited: 0 };
    for (const tier of tierNames) {
      if (missing[tier] === 0) continue;
      const perExpert = moveMs(this.#link.read[tier], count) / count;
      reads[tier === 'disk' ? 'waited' : 'copied'] += missing[tier] * perExpert;
    }
    if (!this.#ahead) return reads;
    const { recall } = this.#options;
    const overlaps = reads.waited + (this.#link.copiesOverlap ? reads.copied : 0);
    if (overlaps === 0) return { ...reads, copied: reads.copied * (2 - recall) };
    const left = Math.max(0, overlaps - this.#sinceReads) + (1 - recall) * overlaps;
    return this.#link.copiesOverlap
      ? { copied: (reads.copied * left) / overlaps, waited: (reads.waited * left) / overlaps }
      : { copied: reads.copied * (2 - recall), waited: left };
  }

  /** @param always record the kernels even if no expert is there */
  #expertsMs(layer: number, experts: number, always = false): number {
    const { expertsMs, noExpertsMs } = this.#compute.layers[layer];
    if (experts <= 0) return always ? noExpertsMs : 0;
    const share = Math.min(1, experts / this.#misses.expertsPerLayer);
    return noExpertsMs + share * Math.max(0, expertsMs - noExpertsMs);
  }

  #spend(part: keyof TokenTime['parts'], ms: number): void {
    this.#parts[part] += ms;
    this.#sinceReads += ms;
  }
}
