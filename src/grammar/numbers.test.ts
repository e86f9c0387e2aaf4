import { expect, test } from 'vitest';
import { baseSeed, Random } from '../../kernels-test/random.ts';
import type { Expression } from './expression.ts';
import { Expressions } from './expressions.ts';
import { type NumberRules, nextUp, numberText } from './numbers.ts';

const make = new Expressions();
const any: NumberRules = {
  integer: false,
  min: Number.NEGATIVE_INFINITY,
  max: Number.POSITIVE_INFINITY,
  multipleOf: undefined,
};

/** A text of an expression, with random bytes as long as it can be completed. */
function randomText(expression: Expression, random: Random): string {
  let text = '';
  let state = expression;
  for (;;) {
    const nexts: [number, Expression][] = [];
    for (let byte = 0x20; byte < 0x7f; byte++) {
      const next = make.derivative(state, byte);
      if (make.completion(next) < Number.POSITIVE_INFINITY) nexts.push([byte, next]);
    }
    if (nexts.length === 0 || (state.nullable && random.below(6) === 0)) return text;
    const [byte, next] = nexts[random.below(nexts.length)]!;
    text += String.fromCharCode(byte);
    state = next;
  }
}

test('integers between two bounds are exactly those', () => {
  const random = new Random('integers');
  for (let run = 0; run < 100; run++) {
    const min = random.below(400) - 200;
    const max = min + random.below(150);
    const multipleOf = random.below(3) === 0 ? 1 + random.below(12) : undefined;
    const text = numberText(make, { integer: true, min, max, multipleOf });
    for (let value = -250; value <= 400; value++) {
      const expected = value >= min && value <= max && value % (multipleOf ?? 1) === 0;
      if (make.accepts(text, `${value}`) === expected) continue;
      expect.fail(`${value} in [${min}, ${max}] by ${multipleOf}, seed ${baseSeed}`);
    }
    for (const other of ['-0', '01', '', '-', '1.0', '1e1', '+1']) {
      expect(make.accepts(text, other), other).toBe(false);
    }
  }
});

test('random texts of numbers are JSON and within the bounds, however these are', () => {
  const random = new Random('decimals');
  const bound = () => {
    const magnitude = 10 ** (random.below(40) - 20);
    return (random.unit() - 0.5) * magnitude;
  };
  const cases: [number, number][] = [
    [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY],
    [0, 1],
    [-1, 0],
    [0.1, 0.3],
    [nextUp(0), 5],
    [-5, -nextUp(0)],
    [1e300, Number.MAX_VALUE],
    [Number.NEGATIVE_INFINITY, -1e25],
    [5e-324, 1e-300],
    [2 ** 53, 2 ** 53 + 10],
    [nextUp(2 ** 53), Number.POSITIVE_INFINITY],
  ];
  for (let i = 0; i < 60; i++) {
    const [a, b] = [bound(), bound()];
    cases.push([Math.min(a, b), Math.max(a, b)]);
    cases.push(random.below(2) ? [a, Number.POSITIVE_INFINITY] : [Number.NEGATIVE_INFINITY, a]);
  }
  for (const [min, max] of cases) {
    for (const integer of [false, true]) {
      const text = numberText(make, { ...any, integer, min, max });
      if (make.completion(text) === Number.POSITIVE_INFINITY) continue;
      for (let i = 0; i < 20; i++) {
        const json = randomText(text, random);
        const value = JSON.parse(json) as number;
        const inside = Number.isFinite(value) && value >= min && value <= max;
        if (inside && (!integer || Number.isInteger(value))) continue;
        expect.fail(`seed ${baseSeed}: ${json} in [${min}, ${max}]`);
      }
    }
  }
});

test('decimals within the bounds are allowed, those outside are not', () => {
  const random = new Random('membership');
  for (let run = 0; run < 300; run++) {
    const unit = 10 ** random.below(5);
    const min = (random.below(4000) - 2000) / unit;
    const max = Number((min + random.below(3000) / unit).toPrecision(12));
    const text = numberText(make, { ...any, min, max });
    for (let i = 0; i < 20; i++) {
      const value = min + (random.unit() * 1.4 - 0.2) * (max - min || 1);
      const json = value.toFixed(random.below(9));
      if (min === 0 && /^-[0.]+$/.test(json)) continue; // A zero that is written as a negative number.
      const where = `seed ${baseSeed}: ${json} in [${min}, ${max}]`;
      expect(make.accepts(text, json), where).toBe(Number(json) >= min && Number(json) <= max);
    }
    for (const json of [`${min}`, `${max}`]) expect(make.accepts(text, json), json).toBe(true);
  }
});

test('a number without bounds may be written in any way, but not endlessly', () => {
  const text = numberText(make, any);
  for (const json of ['0', '-0', '12', '-1.5', '1e21', '1.5E-7', '1e+307', '3.141592653589793']) {
    expect(make.accepts(text, json), json).toBe(true);
  }
  for (const json of ['', '-', '01', '.5', '1.', '1e', '1e308', `1${'0'.repeat(40)}`, '+1']) {
    expect(make.accepts(text, json), json).toBe(false);
  }
});

test('multiples of large numbers are found, and refused where there are none', () => {
  const of = (multipleOf: number, min: number, max: number) =>
    numberText(make, { integer: true, min, max, multipleOf });
  expect(make.completion(of(999_999_937, 1, 2e9))).toBe(9);
  expect(make.accepts(of(999_999_937, 1, 2e9), '1999999874')).toBe(true);
  expect(make.completion(of(1000, 1, 999))).toBe(Number.POSITIVE_INFINITY);
  expect(make.completion(of(123_457, -1e12, -1))).toBe(7);
});

test('nextUp is the next number', () => {
  for (const value of [0, -0, 1, -1, 0.1, 2 ** 53, -1e300, Number.MIN_VALUE]) {
    const next = nextUp(value);
    expect(next).toBeGreaterThan(value);
    expect([value, next]).toContain((value + next) / 2);
  }
});
