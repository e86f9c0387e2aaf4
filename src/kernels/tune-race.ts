import type { TunedClass } from '../gpu/tuning.ts';

/** How long to measure. */
export interface RaceOptions {
  /** Milliseconds that a sample takes about, of the fastest variant. */
  readonly sampleMs: number;
  /** Milliseconds after which no variant is begun with any more. */
  readonly budgetMs: number;
  /** Milliseconds of the clock. */
  readonly now?: () => number;
}

/** Samples of a variant, of which the median counts. */
const rounds = 5;

/** Runs in one sample at most: the dispatches of so many fit one submission. */
const mostRuns = 500;

/** A variant this much slower than the best is not looked at again: by one run, and by two samples. */
const clearlySlower = { atFirst: 3, later: 1.5 };

/** Milliseconds by which any two single runs may differ: what a submission costs, and a nap. */
const slackMs = 2;

/** Another variant than the rule's has to be faster by this, or noise would decide. */
const worthwhile = 0.92;

/**
 * Finds the fastest of some variants by short samples, taken in turns: what else the machine does
 * then slows all of them down alike. The rule's variant goes first, and stays unless another one is
 * faster by more than noise.
 *
 * @param sample milliseconds that so many runs of a variant take; undefined when it failed. The
 * first run of a variant compiles it and does not count.
 * @returns undefined when every variant failed
 */
export async function race<Variant extends string>(
  variants: readonly Variant[],
  rule: Variant,
  sample: (variant: Variant, runs: number) => Promise<number | undefined>,
  { sampleMs, budgetMs, now = () => performance.now() }: RaceOptions,
): Promise<TunedClass | undefined> {
  const ms = new Map<Variant, number | null>(variants.map((variant) => [variant, null]));
  const deadline = now() + budgetMs;
  const best = () => Math.min(...[...ms.values()].map((time) => time ?? Number.POSITIVE_INFINITY));

  for (const variant of [rule, ...variants.filter((other) => other !== rule)]) {
    if (best() < Number.POSITIVE_INFINITY && now() > deadline) break;
    if ((await sample(variant, 1)) === undefined) continue;
    ms.set(variant, (await sample(variant, 1)) ?? null);
  }

  const times = new Map<Variant, number[]>();
  const limit = clearlySlower.atFirst * best() + slackMs;
  for (const [variant, time] of ms) {
    // The one to beat stays in: a machine that was busy for a moment must not rule it out.
    if (time !== null && (time <= limit || variant === rule)) times.set(variant, []);
  }
  const runs = Math.min(mostRuns, Math.max(1, Math.ceil(sampleMs / best())));
  for (let round = 0; round < rounds && times.size > 1; round++) {
    for (const [variant, samples] of times) {
      const time = await sample(variant, runs);
      if (time === undefined) {
        times.delete(variant);
        ms.set(variant, null);
        continue;
      }
      samples.push(time / runs);
      ms.set(variant, median(samples));
    }
    if (round === 0) continue;
    const slow = clearlySlower.later * Math.min(...[...times.values()].flat());
    for (const [variant, samples] of times) {
      if (variant !== rule && Math.min(...samples) > slow) times.delete(variant);
    }
  }

  const fastest = best();
  if (fastest === Number.POSITIVE_INFINITY) return undefined;
  // The rule's quickest sample, not its median: on a busy machine only what is certain counts.
  const ofRule = ms.get(rule);
  const stays =
    ofRule != null && fastest > worthwhile * Math.min(ofRule, ...(times.get(rule) ?? []));
  const winner = stays ? rule : variants.find((variant) => ms.get(variant) === fastest)!;
  return { variant: winner, ms: Object.fromEntries(ms) };
}

/** Of an even number of values the lower one: time is only ever added. */
function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) / 2)];
}
