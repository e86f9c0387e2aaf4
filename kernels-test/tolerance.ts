import { expect } from 'vitest';
import { baseSeed } from './random.ts';
import type { Values } from './reference/values.ts';

/**
 * How far a kernel may be from the float64 reference follows from the number of its roundings and
 * from the accuracy that WGSL promises (https://www.w3.org/TR/WGSL/#floating-point-accuracy).
 * Nothing here is measured.
 */

/** Unit roundoff of binary32: a correctly rounded operation is off by at most this, relatively. */
export const unit = 2 ** -24;

/** One "unit in the last place" of WGSL's table, relatively: at most two roundoffs. */
const ulp = 2 * unit;

/** `a / b` in WGSL. */
export const divisionError = 2.5 * ulp;

/** `inverseSqrt(a)` in WGSL. */
export const inverseSqrtError = 2 * ulp;

/** `exp(x)` in WGSL, for arguments up to `x` in magnitude. */
export function expError(x: number): number {
  return (3 + 2 * Math.abs(x)) * ulp;
}

/**
 * Error of a sum of `n` rounded terms in any order, relative to the sum of their magnitudes. The
 * worst case is n roundoffs; roundings are as good as independent, and then 8 sqrt(n) roundoffs are
 * exceeded with a probability below 2 n exp(-32) (Higham & Mary 2019, "A new approach to
 * probabilistic rounding error analysis", theorem 3.1).
 */
export function sumError(n: number): number {
  return Math.min(n, 8 * Math.sqrt(n)) * unit;
}

/** Rounding to binary16 in either direction, which WGSL leaves open: one unit in the last place. */
export function f16Error(value: number): number {
  return Math.max(Math.abs(value) * 2 ** -10, 2 ** -24);
}

/** What a kernel should give, and how far from it each value may be. */
export interface Expected {
  readonly values: Float64Array;
  readonly tolerance: (i: number) => number;
}

/**
 * Expects each value within its tolerance. Reports the worst one and how to get the same random
 * inputs again.
 */
export function expectClose(what: string, actual: Values, { values, tolerance }: Expected): void {
  expect(actual.length, what).toBe(values.length);
  let wrong = 0;
  let worst = 0;
  let worstRatio = 0;
  for (let i = 0; i < actual.length; i++) {
    const difference = Math.abs(actual[i] - values[i]);
    if (difference <= tolerance(i)) continue; // never true of NaN
    wrong++;
    const ratio = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference / tolerance(i);
    if (ratio > worstRatio) {
      worst = i;
      worstRatio = ratio;
    }
  }
  if (wrong === 0) return;
  expect.fail(
    `${what}: ${wrong} of ${actual.length} values are off, most at ${worst}: ${actual[worst]} ` +
      `instead of ${values[worst]}, ${worstRatio.toPrecision(3)} times the tolerance ` +
      `(MOWGLI_SEED=${baseSeed})`,
  );
}

/** Expects the very same values. */
export function expectSame(what: string, actual: ArrayLike<number>, expected: ArrayLike<number>) {
  expect(actual.length, what).toBe(expected.length);
  for (let i = 0; i < actual.length; i++) {
    if (!Object.is(actual[i], expected[i])) {
      expect.fail(
        `${what}: ${actual[i]} instead of ${expected[i]} at ${i} (MOWGLI_SEED=${baseSeed})`,
      );
    }
  }
}
