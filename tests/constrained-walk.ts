/** A generation without a model: tokens that a constraint allows, at random. */
import type { Random } from '../kernels-test/random.ts';
import type { TokenConstraint } from '../src/generate/constraint.ts';
import type { Tokenizer } from '../src/text/tokenizer.ts';

/** The ids whose bits are set. */
export function idsOf(words: Uint32Array): number[] {
  const ids: number[] = [];
  for (const [i, word] of words.entries()) {
    for (let left = word; left !== 0; left &= left - 1) {
      ids.push(i * 32 + 31 - Math.clz32(left & -left));
    }
  }
  return ids;
}

const lengths = new WeakMap<Tokenizer, Uint8Array>();

/** Whether a token has two bytes or fewer. */
function isShort(tokenizer: Tokenizer, id: number): boolean {
  let bytes = lengths.get(tokenizer);
  if (!bytes) {
    bytes = Uint8Array.from({ length: tokenizer.vocabSize }, (_, i) =>
      Math.min(tokenizer.tokenBytes(i).length, 255),
    );
    lengths.set(tokenizer, bytes);
  }
  return bytes[id]! <= 2;
}

/** What a random walk of at most `maxTokens` tokens gives. */
export function randomWalk(
  constraint: TokenConstraint,
  tokenizer: Tokenizer,
  endTokens: readonly number[],
  random: Random,
  maxTokens: number,
): number[] {
  const tokens: number[] = [];
  while (tokens.length < maxTokens && !constraint.finished) {
    const ids = idsOf(constraint.allowed(maxTokens - tokens.length)!);
    if (ids.length === 0) throw new Error(`no token behind ${tokenizer.decode(tokens)}`);
    let id = ids[random.below(ids.length)]!;
    // Most tokens are words; to see more than strings, some steps prefer what is short.
    if (random.below(3) === 0) {
      const short = ids.filter((other) => isShort(tokenizer, other));
      if (short.length > 0) id = short[random.below(short.length)]!;
    }
    if (endTokens.includes(id)) break;
    tokens.push(id);
    constraint.accept(id);
  }
  return tokens;
}

/** The tokens that a constraint needs at least. */
export function leastTokens(constraint: TokenConstraint): number {
  for (let tokens = 1; ; ) {
    try {
      constraint.allowed(tokens);
      return tokens;
    } catch (error) {
      const needed = /needs (\d+)/.exec((error as Error).message);
      if (!needed || Number(needed[1]) <= tokens) throw error;
      tokens = Number(needed[1]);
    }
  }
}
