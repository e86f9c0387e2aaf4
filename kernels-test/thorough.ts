/**
 * Whether to test every combination (`MOWGLI_TEST_ALL=1 npm test`) instead of a choice that has each format, each
 * variant and each kernel, but not each with each. Compiling shaders for a CPU is what takes the time.
 */
export const thorough = process.env.MOWGLI_TEST_ALL === '1';

/** All in a thorough run, else every `stride`-th, beginning with the one at `offset`. */
export function some<T>(items: readonly T[], stride: number, offset = 0): readonly T[] {
  return thorough ? items : items.filter((_, i) => i % stride === offset % stride);
}
