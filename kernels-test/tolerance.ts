import { expect } from 'vitest';
import { baseSeed } from './random.ts';
import type { Values } from './reference/values.ts';

/**
 * How far a kernel may be from the float64 reference. Everything here follows from the number of
 * roundings and from the accuracy that WGSL promises (https://www.w3.org/TR/WGSL/#floating-point-accuracy);
 * nothing is measured.
 */

/** Unit roundoff of binary32: a correctly rounded operation is off by at most this, relatively. */
export const unit = 2 ** -24;

/** One "unit in the last place" of WGSL's table, relatively: at most two roundoffs. */
export const ulp = 2 * unit;

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

/**
 * Error of `silu(gate) * up`, given those of its arguments: WGSL computes
 * `gate / (1 + exp(-gate)) * up`, whose derivative with respect to gate is at most 1.1.
 */
export function swigluError(gate: number, up: number, gateError: number, upError: number): number {
  const silu = gate / (1 + Math.exp(-gate));
  const own = expError(gate) + divisionError + 3 * unit;
  return Math.abs(silu * up) * own + 1.1 * gateError * Math.abs(up) + upError * (Math.abs(silu) + 1.1 * gateError);
}

/** Rounding to binary16 in either direction: half the smallest normal's spacing below 2^-14. */
export function f16Error(value: number): number {
  return Math.max(Math.abs(value) * 2 ** -10, 2 ** -24);
}

/**
 * Expects each value within its tolerance (and NaN for NaN). Reports the worst one and how to get
 * the same random inputs again.
 */
export function expectClose(
  what: string,
  actual: Values,
  expected: Values,
  tolerance: (i: number) => number,
): void {
  expect(actual.length, what).toBe(expected.length);
  let worst = -1;
  let worstRatio = 1;
  let wrong = 0;
  for (let i = 0; i < actual.length; i++) {
    const difference = Math.abs(actual[i] - expected[i]);
    const same = Object.is(actual[i], expected[i]) || difference <= tolerance(i);
    if (same) continue;
    wrong++;
    const ratio = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference / tolerance(i);
    if (ratio > worstRatio || worst < 0) {
      worst = i;
      worstRatio = ratio;
    }
  }
  if (worst < 0) return;
  expect.fail(
    `${what}: ${wrong} of ${actual.length} values are off, most at ${worst}: ${actual[worst]} instead of ` +
      `${expected[worst]}, ${worstRatio.toPrecision(3)} times the tolerance (MOWGLI_SEED=${baseSeed})`,
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

/** |values|, for the magnitudes that errors are relative to. */
export function magnitudes(values: Values): Float64Array {
  return Float64Array.from(values, Math.abs);
}
