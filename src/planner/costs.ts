/** What computing costs on a GPU, in milliseconds. */
export interface ComputeCosts {
  /** Of a token, besides its layers: the embedding, the logits and the choice of the next token. */
  readonly tokenMs: number;
  /** By layer. */
  readonly layers: readonly LayerCosts[];
  /** By how much a submission and its readback make a token longer. */
  readonly syncMs: number;
}

export interface LayerCosts {
  /** Attention with its norms, and the router; in a dense layer all of it. */
  readonly attentionMs: number;
  /** What each token of context adds to `attentionMs`. */
  readonly contextMs: number;
  /** The chosen experts, all of them on the GPU; 0 in a dense layer. */
  readonly expertsMs: number;
  /** The same kernels when none of the experts are there. */
  readonly noExpertsMs: number;
  /** To go back in front of the experts, after a pass that lacked one. */
  readonly restoreMs: number;
}

/** How long it takes to move `n` experts at once: `firstMs + (n - 1) * nextMs`. */
export interface MoveCosts {
  readonly firstMs: number;
  readonly nextMs: number;
}

export function moveMs({ firstMs, nextMs }: MoveCosts, experts: number): number {
  return experts > 0 ? firstMs + (experts - 1) * nextMs : 0;
}

/** Places where an expert that is not on the GPU may be found, the nearest first. */
export const tierNames = ['host cache', 'page cache', 'disk'] as const;
export type TierName = (typeof tierNames)[number];

/** How long experts take to the GPU. */
export interface LinkCosts {
  /** Reads into the host's memory: what the engine itself keeps there needs none. */
  readonly read: Readonly<Record<TierName, MoveCosts>>;
  /** From there into a slot. */
  readonly upload: MoveCosts;
  /**
   * Whether the GPU computes while the host copies: no, where the GPU is the CPU. What waits for a disk
   * always overlaps.
   */
  readonly copiesOverlap: boolean;
}

/** Where experts that are not on the GPU are kept, in bytes. */
export interface HostMemory {
  /** The engine's own cache: `hostMemory`. */
  readonly cacheBytes: number;
  /** What the operating system can spare for the files. */
  readonly pageCacheBytes: number;
}
