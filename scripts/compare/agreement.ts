/** How far two sides' opinions of the next token agree, over some tokens. */
export interface Agreement {
  readonly tokens: number;
  /** Tokens where both hold the same one for the likeliest. */
  readonly same: number;
  /** Mean Kullback-Leibler divergence of the other's probabilities from ours, in nats. */
  readonly meanKl: number;
}

/** @param ours logits, [vocab] for each of the tokens; so are `theirs` */
export function agreementOf(
  ours: readonly Float32Array[],
  theirs: readonly Float32Array[],
): Agreement {
  let same = 0;
  let kl = 0;
  for (const [i, own] of ours.entries()) {
    if (likeliest(own) === likeliest(theirs[i])) same++;
    const p = logProbabilities(own);
    const q = logProbabilities(theirs[i]);
    for (let id = 0; id < p.length; id++) kl += Math.exp(p[id]) * (p[id] - q[id]);
  }
  return { tokens: ours.length, same, meanKl: kl / ours.length };
}

function likeliest(logits: Float32Array): number {
  return logits.indexOf(largest(logits));
}

function logProbabilities(logits: Float32Array): Float64Array {
  const top = largest(logits);
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - top), 0);
  return Float64Array.from(logits, (logit) => logit - top - Math.log(sum));
}

function largest(values: Float32Array): number {
  return values.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
}
