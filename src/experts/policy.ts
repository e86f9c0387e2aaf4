import { MowgliError } from '../errors.ts';
import { CyclicPolicy } from './policies/cyclic.ts';
import { LfuPolicy } from './policies/lfu.ts';
import { LrfuPolicy } from './policies/lrfu.ts';
import { LruPolicy } from './policies/lru.ts';

/**
 * Chooses which resident expert gives up its slot. An expert's key is layer * experts + expert, with
 * the layer's number in the model or among its sparse layers, as the caller likes, as long as a
 * forward pass goes through them in rising order.
 *
 * For each layer of a pass, call `touch` for every expert it needs, resident or not, and then, for each one
 * that is missing, `victim`, `remove` and `insert`; after the last layer, `step`.
 */
export interface CachePolicy {
  readonly name: PolicyName;
  /** `tokens` tokens need the expert now; it is resident or about to be. */
  touch(key: number, tokens?: number): void;
  /** The expert now is in a slot. `predicted`: brought by prefetch, not asked for yet. */
  insert(key: number, predicted?: boolean): void;
  /** The expert no longer is in a slot. */
  remove(key: number): void;
  /**
   * The resident expert to evict for `incoming`, among those `mayEvict` allows; `undefined` if there
   * is none. Costs a look at each layer and at each expert of a few layers, and allocates nothing.
   */
  victim(incoming: number, mayEvict: (key: number) => boolean): number | undefined;
  /** A decoded token, or a chunk of `tokens` tokens of a prompt, is over: time passes. */
  step(tokens?: number): void;
}

/** What a policy has to know of the model and the cache. */
export interface CacheShape {
  /** Layers that keys may name. */
  readonly layers: number;
  /** Experts of a layer. */
  readonly experts: number;
  /** Experts that the cache holds, of all layers. */
  readonly slots: number;
}

export interface PolicyOptions {
  /** Experts that are evicted only when no other may be. */
  pinned?: ReadonlySet<number>;
}

const policies = {
  lru: {
    description: 'evicts what was not used for the longest time',
    make: (shape: CacheShape, options: PolicyOptions) => new LruPolicy('lru', shape, options),
  },
  lfu: {
    description: 'evicts what was used least often; counts are halved from time to time',
    make: (shape: CacheShape, options: PolicyOptions) => new LfuPolicy('lfu', shape, options),
  },
  lrfu: {
    description: 'frequency and recency: a use counts less the longer ago it was',
    make: (shape: CacheShape, options: PolicyOptions) => new LrfuPolicy('lrfu', shape, options),
  },
  cyclic: {
    description:
      'evicts what is least likely to be needed in time: by use, and by whose layer comes when',
    make: (shape: CacheShape, options: PolicyOptions) => new CyclicPolicy('cyclic', shape, options),
  },
  'lru/layer': {
    description: 'lru, with the same number of slots for each layer',
    make: (shape: CacheShape, options: PolicyOptions) =>
      new LruPolicy('lru/layer', shape, { ...options, perLayer: true }),
  },
  'lfu/layer': {
    description: 'lfu, with the same number of slots for each layer',
    make: (shape: CacheShape, options: PolicyOptions) =>
      new LfuPolicy('lfu/layer', shape, { ...options, perLayer: true }),
  },
  'lrfu/layer': {
    description: 'lrfu, with the same number of slots for each layer',
    make: (shape: CacheShape, options: PolicyOptions) =>
      new LrfuPolicy('lrfu/layer', shape, { ...options, perLayer: true }),
  },
};

export type PolicyName = keyof typeof policies;

export const policyNames = Object.keys(policies) as PolicyName[];

/** What runs use that do not say otherwise: the best on traces, see docs/EXPERIMENTS.md. */
export const defaultPolicy: PolicyName = 'cyclic';

/** One line about a policy, for help texts. */
export function describePolicy(name: PolicyName): string {
  return policies[name].description;
}

/** @throws MowgliError `OPTION_INVALID` for a name that is not one of `policyNames` */
export function createPolicy(
  name: PolicyName,
  shape: CacheShape,
  options: PolicyOptions = {},
): CachePolicy {
  if (!Object.hasOwn(policies, name)) {
    throw new MowgliError(
      'OPTION_INVALID',
      `the cache policy is '${name}'; it must be one of ${policyNames.join(', ')}`,
    );
  }
  return policies[name].make(shape, options);
}

/** The `slots` most used experts of `counts`, [key]; never one without a use. */
export function hotSet(counts: ArrayLike<number>, slots: number): Set<number> {
  const used: number[] = [];
  for (let key = 0; key < counts.length; key++) if (counts[key]! > 0) used.push(key);
  used.sort((a, b) => counts[b]! - counts[a]! || a - b);
  return new Set(used.slice(0, Math.max(0, slots)));
}
