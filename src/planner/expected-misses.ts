import { createPolicy, type PolicyName } from '../experts/policy.ts';
import { policyHits } from '../experts/simulate.ts';
import { type HostMemory, type TierName, tierNames } from './costs.ts';
import type { ExpectedRouting } from './routing-demands.ts';

/** Experts to be brought for one layer of one token, by where they are. */
export type Misses = Readonly<Record<TierName, number>>;

/** What tokens lack on the GPU, one after the other. */
export interface ExpectedMisses {
  /** Per counted token, per sparse layer. */
  readonly tokens: readonly (readonly Misses[])[];
  /** Experts that a token needs in a layer. */
  readonly expertsPerLayer: number;
  /** Of the experts that were needed, those on the GPU. */
  readonly hitRate: number;
  /** Experts to be brought for one token, on average, by where they are. */
  readonly perToken: Misses;
}

/**
 * Runs the expected routing through the caches: the slots under a policy, behind them the engine's own
 * cache in the host's memory and the operating system's, both of which drop what was not used for
 * longest. What is read for the first time is in the page cache with the chance that any expert is.
 */
export function expectMisses(
  { demands, firstStep }: ExpectedRouting,
  slots: number,
  policy: PolicyName,
  host: HostMemory,
  expertBytes: number,
): ExpectedMisses {
  const { layers, experts, begins, steps } = demands;
  const all = layers * experts;
  const fits = (bytes: number) => Math.min(all, Math.floor(bytes / Math.max(1, expertBytes)));
  const inHost = new RecentKeys(fits(host.cacheBytes));
  const inPages = new RecentKeys(fits(host.pageCacheBytes));
  const inPagesAtFirst = all === 0 ? 1 : fits(host.pageCacheBytes) / all;
  const seen = new Uint8Array(all);

  const misses = Array.from({ length: Math.max(0, begins.length - 1) }, () => noMisses());
  const brought = (demand: number, key: number) => {
    const at = misses[demand];
    if (inHost.use(key)) at['host cache']++;
    else if (seen[key]) at[inPages.use(key) ? 'page cache' : 'disk']++;
    else {
      inPages.use(key);
      at['page cache'] += inPagesAtFirst;
      at.disk += 1 - inPagesAtFirst;
    }
    seen[key] = 1;
  };
  if (slots < all) {
    const shape = { layers, experts, slots };
    policyHits(demands, slots, createPolicy(policy, shape), brought);
  }

  const tokens: (readonly Misses[])[] = [];
  let needed = 0;
  for (let step = firstStep; step < steps.length; step++) {
    if (steps[step].kind !== 'decode') continue;
    tokens.push(misses.slice(step * layers, (step + 1) * layers));
    needed += begins[(step + 1) * layers] - begins[step * layers];
  }
  const perToken = noMisses();
  for (const token of tokens) {
    for (const layer of token) {
      for (const tier of tierNames) perToken[tier] += layer[tier] / tokens.length;
    }
  }
  const missed = countMisses(perToken) * tokens.length;
  return {
    tokens,
    expertsPerLayer: needed / tokens.length / Math.max(1, layers),
    hitRate: needed === 0 ? 1 : 1 - missed / needed,
    perToken,
  };
}

/** All of them, wherever they are. */
export function countMisses(misses: Misses): number {
  return tierNames.reduce((sum, tier) => sum + misses[tier], 0);
}

function noMisses(): Record<TierName, number> {
  return { 'host cache': 0, 'page cache': 0, disk: 0 };
}

/** The keys used last, as many as fit. */
class RecentKeys {
  readonly #most: number;
  readonly #keys = new Set<number>();

  constructor(most: number) {
    this.#most = most;
  }

  /** Whether the key was there; it is from now on. */
  use(key: number): boolean {
    const known = this.#keys.delete(key);
    if (this.#most === 0) return false;
    this.#keys.add(key);
    if (this.#keys.size > this.#most) {
      for (const oldest of this.#keys) {
        this.#keys.delete(oldest);
        break;
      }
    }
    return known;
  }
}
