/**
 * A source of token ids that is the same in every run with the same seed: mulberry32, without the
 * excluded ones.
 */
export function randomTokens(
  vocabSize: number,
  excluded: readonly number[],
  seed = 0,
): (count: number) => number[] {
  let state = 0x6d6f7767 ^ seed;
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    const id = Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * vocabSize);
    return excluded.includes(id) ? next() : id;
  };
  return (count) => Array.from({ length: count }, next);
}
