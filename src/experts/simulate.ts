import { MowgliError, throwIfAborted } from '../errors.ts';
import { optimalHits } from './optimal-cache.ts';
import { type CachePolicy, createPolicy, type PolicyName, policyNames } from './policy.ts';
import { type PredictionResult, scorePredictions } from './prediction.ts';
import { type Demands, demandsOf } from './trace-demand.ts';
import type { StepKind, Trace } from './trace-file.ts';

export interface SimulateOptions {
  /** Experts that the cache holds, of all layers; each number is tried. */
  slots: readonly number[];
  /** Default: all of them. */
  policies?: readonly PolicyName[];
  signal?: AbortSignal | undefined;
  /** Told after each policy and number of slots. */
  onProgress?: (progress: { done: number; total: number }) => void;
}

/** Experts needed, each once per layer and step, and where they were. */
export interface HitCount {
  readonly needed: number;
  /** In the cache. */
  readonly hits: number;
  /** Not in the cache, and needed for the first time: nothing but a prediction would have helped. */
  readonly cold: number;
}

export interface CacheResult {
  readonly policy: PolicyName | 'optimal';
  readonly slots: number;
  readonly decode: HitCount;
  readonly prompt: HitCount;
}

export interface Simulation {
  /** Experts of all layers. */
  readonly experts: number;
  /** Different experts that the run used. */
  readonly usedExperts: number;
  readonly decodedTokens: number;
  readonly promptTokens: number;
  /** For each number of slots Belady's optimum and then the policies. The cache is empty at first. */
  readonly caches: readonly CacheResult[];
  readonly predictions: readonly PredictionResult[];
}

/**
 * Runs the routing of a trace through caches of several sizes.
 *
 * @throws MowgliError `OPTION_INVALID` for a number of slots below 1 or an unknown policy, `ABORTED`
 */
export async function simulate(trace: Trace, options: SimulateOptions): Promise<Simulation> {
  const { slots, policies = policyNames, signal, onProgress } = options;
  const wrong = slots.find((count) => !Number.isSafeInteger(count) || count < 1);
  if (wrong !== undefined) {
    throw new MowgliError('OPTION_INVALID', `a cache of ${wrong} experts; pass at least 1`);
  }
  const demands = demandsOf(trace);
  const shape = { layers: demands.layers, experts: demands.experts };
  const cold = countCold(demands);
  const caches: CacheResult[] = [];
  const total = slots.length * (1 + policies.length);
  for (const count of slots) {
    for (const policy of ['optimal', ...policies] as const) {
      // Lets a signal arrive: the work itself never waits.
      await new Promise((resolve) => setTimeout(resolve));
      throwIfAborted(signal, 'the simulation');
      const hits =
        policy === 'optimal'
          ? optimalHits(demands, count)
          : policyHits(demands, count, createPolicy(policy, { ...shape, slots: count }));
      const sum = (kind: StepKind) => sumHits(demands, hits, cold, kind);
      caches.push({ policy, slots: count, decode: sum('decode'), prompt: sum('prompt') });
      onProgress?.({ done: caches.length, total });
    }
  }
  const tokens = (kind: StepKind) =>
    demands.steps.reduce((sum, step) => sum + (step.kind === kind ? step.tokens : 0), 0);
  return {
    experts: shape.layers * shape.experts,
    usedExperts: cold.reduce((sum, count) => sum + count, 0),
    decodedTokens: tokens('decode'),
    promptTokens: tokens('prompt'),
    caches,
    predictions: scorePredictions(trace),
  };
}

/**
 * Per demand, how many of its experts were in a cache of `slots` that `policy` rules. Experts that the
 * demand needs are evicted only when nothing else is left.
 *
 * @param onMiss told of each expert that was not there, in the order in which they are brought
 */
export function policyHits(
  demands: Demands,
  slots: number,
  policy: CachePolicy,
  onMiss: (demand: number, key: number) => void = () => {},
): Uint32Array {
  const { keys, uses, begins, layers, experts, steps } = demands;
  const hits = new Uint32Array(begins.length - 1);
  const resident = new Uint8Array(layers * experts);
  /** Per key: the last demand that needed it, plus 1. */
  const neededBy = new Float64Array(layers * experts);
  let free = slots;
  let demand = 0;
  const notNeeded = (key: number) => neededBy[key] !== demand + 1;
  const any = () => true;
  for (const { tokens } of steps) {
    for (let layer = 0; layer < layers; layer++, demand++) {
      const begin = begins[demand]!;
      const end = begins[demand + 1]!;
      const missing: number[] = [];
      for (let i = begin; i < end; i++) {
        const key = keys[i]!;
        neededBy[key] = demand + 1;
        policy.touch(key, uses[i]!);
        if (resident[key]) hits[demand]!++;
        else missing.push(key);
      }
      for (const key of missing) {
        onMiss(demand, key);
        if (free > 0) free--;
        else {
          const victim = policy.victim(key, notNeeded) ?? policy.victim(key, any)!;
          policy.remove(victim);
          resident[victim] = 0;
        }
        policy.insert(key);
        resident[key] = 1;
      }
    }
    policy.step(tokens);
  }
  return hits;
}

/** Per demand, how many of its experts no demand before it needed. */
function countCold({ keys, begins, layers, experts }: Demands): Uint32Array {
  const seen = new Uint8Array(layers * experts);
  const cold = new Uint32Array(begins.length - 1);
  for (let d = 0; d < cold.length; d++) {
    for (let i = begins[d]!; i < begins[d + 1]!; i++) {
      if (!seen[keys[i]!]) cold[d]!++;
      seen[keys[i]!] = 1;
    }
  }
  return cold;
}

function sumHits(
  { begins, steps, layers }: Demands,
  hits: Uint32Array,
  cold: Uint32Array,
  kind: StepKind,
): HitCount {
  const sum = { needed: 0, hits: 0, cold: 0 };
  for (let d = 0; d < hits.length; d++) {
    if (steps[Math.floor(d / layers)]!.kind !== kind) continue;
    sum.needed += begins[d + 1]! - begins[d]!;
    sum.hits += hits[d]!;
    sum.cold += cold[d]!;
  }
  return sum;
}
