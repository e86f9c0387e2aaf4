import { MowgliError } from '../errors.ts';
import type { GeneratedLogprob, TokenLogprob } from './types.ts';

/** The most alternatives that are told beside a generated token, as in OpenAI's API. */
export const maxLogprobs = 20;

/** @throws MowgliError `OPTION_INVALID` unless absent or an integer from 0 to {@link maxLogprobs} */
export function checkLogprobs(logprobs: number | undefined): void {
  if (logprobs === undefined) return;
  if (Number.isInteger(logprobs) && logprobs >= 0 && logprobs <= maxLogprobs) return;
  throw new MowgliError(
    'OPTION_INVALID',
    `logprobs is ${logprobs}; pass an integer from 0 to ${maxLogprobs}`,
  );
}

/**
 * `log softmax(logits)` of a token and of the `top` likeliest, of equal ones the lower id first. All
 * sums are in double precision.
 */
export function logprobsOf(logits: Float32Array, token: number, top: number): GeneratedLogprob {
  const max = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - max);
  const total = max + Math.log(sum);
  const of = (id: number): TokenLogprob => ({ token: id, logprob: logits[id]! - total });
  return { ...of(token), top: likeliest(logits, top).map(of) };
}

/** Indices of the `count` largest values, largest first. A handful: one pass with a sorted list. */
function likeliest(logits: Float32Array, count: number): number[] {
  const best: number[] = [];
  if (count === 0) return best;
  for (let id = 0; id < logits.length; id++) {
    if (best.length === count && !(logits[id]! > logits[best[count - 1]!]!)) continue;
    let at = best.length;
    while (at > 0 && logits[id]! > logits[best[at - 1]!]!) at--;
    best.splice(at, 0, id);
    if (best.length > count) best.pop();
  }
  return best;
}
