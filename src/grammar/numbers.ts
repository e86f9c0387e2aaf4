import { ByteSet } from './byte-set.ts';
import type { Expression } from './expression.ts';
import type { Expressions } from './expressions.ts';

/** Digits behind the point of a number with bounds, and of any other. */
const FRACTION = 20;
/** Digits before the point of a number without bounds. */
const WHOLE = 16;
const SAFE = BigInt(Number.MAX_SAFE_INTEGER);

/** Which numbers. Bounds are of the JavaScript numbers that the texts are read as. */
export interface NumberRules {
  readonly integer: boolean;
  /** The least and the greatest; infinite where there is none. */
  readonly min: number;
  readonly max: number;
  /** All are multiples of this integer. */
  readonly multipleOf: number | undefined;
}

/** The texts of numbers. Their length is limited, and they are read as finite numbers. */
export function numberText(make: Expressions, rules: NumberRules): Expression {
  const { integer, min, max, multipleOf } = rules;
  if (min > max || min === Number.POSITIVE_INFINITY || max === Number.NEGATIVE_INFINITY) {
    return make.empty;
  }
  if (integer || multipleOf !== undefined) {
    const range = integersBetween(make, ...integerBounds(rules));
    if (multipleOf === undefined || multipleOf === 1) return range;
    return make.intersection(range, signed(make, make.multiple(multipleOf)));
  }
  if (min === Number.NEGATIVE_INFINITY && max === Number.POSITIVE_INFINITY) return anyNumber(make);
  return decimalsBetween(make, lowest(min, max), highest(min, max));
}

/** The number next above a finite one. */
export function nextUp(value: number): number {
  if (value === 0) return Number.MIN_VALUE;
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  view.setBigInt64(0, view.getBigInt64(0) + (value > 0 ? 1n : -1n));
  return view.getFloat64(0);
}

function digits(make: Expressions, first = 0, last = 9): Expression {
  return make.bytes(ByteSet.range(0x30 + first, 0x30 + last));
}

function signed(make: Expressions, text: Expression): Expression {
  return make.sequence(make.optional(make.bytes(ByteSet.of([0x2d]))), text);
}

function point(make: Expressions): Expression {
  return make.bytes(ByteSet.of([0x2e]));
}

/** Decimals, or one digit with a fraction and an exponent. */
function anyNumber(make: Expressions): Expression {
  const digit = digits(make);
  const fraction = make.optional(make.sequence(point(make), make.repeat(digit, 1, FRACTION)));
  const whole = make.alternatives(
    digits(make, 0, 0),
    make.sequence(digits(make, 1, 9), make.repeat(digit, 0, WHOLE - 1)),
  );
  const exponent = make.sequence(
    make.bytes(ByteSet.of([0x45, 0x65])),
    make.optional(make.bytes(ByteSet.of([0x2b, 0x2d]))),
    make.alternatives(
      make.repeat(digit, 1, 2),
      make.sequence(digits(make, 1, 2), digit, digit),
      make.sequence(digits(make, 3, 3), digits(make, 0, 0), digits(make, 0, 7)),
    ),
  );
  return signed(
    make,
    make.alternatives(make.sequence(whole, fraction), make.sequence(digit, fraction, exponent)),
  );
}

/**
 * The least and greatest integer. Beyond 2^53, where a text may be read as one of its neighbours, the
 * order of texts is still that of numbers. Multiples are held to where texts are read exactly.
 */
function integerBounds({ min, max, multipleOf }: NumberRules): [bigint, bigint] {
  let low = min === Number.NEGATIVE_INFINITY ? undefined : BigInt(Math.ceil(min));
  let high = max === Number.POSITIVE_INFINITY ? undefined : BigInt(Math.floor(max));
  low ??= high !== undefined && high < -SAFE ? high * 10n : -SAFE;
  high ??= low > SAFE ? low * 10n : SAFE;
  if (multipleOf !== undefined) {
    if (low < -SAFE) low = -SAFE;
    if (high > SAFE) high = SAFE;
  }
  const most = BigInt(Number.MAX_VALUE);
  return [low < -most ? -most : low, high > most ? most : high];
}

function integersBetween(make: Expressions, low: bigint, high: bigint): Expression {
  const parts: Expression[] = [];
  if (high >= 0n) parts.push(naturalsBetween(make, low < 0n ? 0n : low, high));
  if (low < 0n) {
    const minus = make.bytes(ByteSet.of([0x2d]));
    parts.push(make.sequence(minus, naturalsBetween(make, high >= 0n ? 1n : -high, -low)));
  }
  return make.alternatives(...parts);
}

/** What comes behind digits: behind those that are the lower bound's, the upper one's, or neither's. */
type Ending = (isLow: boolean, isHigh: boolean) => Expression;

/** Digits without needless zeros in front: as many expressions as the bounds have digits. */
function naturalsBetween(
  make: Expressions,
  low: bigint,
  high: bigint,
  ending: Ending = () => make.epsilon,
): Expression {
  if (low > high) return make.empty;
  const from = low.toString();
  const to = high.toString();
  if (from.length === to.length) return digitsBetween(make, from, to, from.length, ending);
  const parts = [digitsBetween(make, from, undefined, from.length, ending)];
  if (from.length + 1 < to.length) {
    const others = make.repeat(digits(make), from.length, to.length - 2);
    parts.push(make.sequence(digits(make, 1, 9), others, ending(false, false)));
  }
  const least = '1'.padEnd(to.length, '0');
  const any: Ending = (_, isHigh) => ending(false, isHigh);
  parts.push(digitsBetween(make, least, to, to.length, any));
  return make.alternatives(...parts);
}

/** So many digits between two bounds; `undefined`: there is none on that side, or it is passed. */
function digitsBetween(
  make: Expressions,
  low: string | undefined,
  high: string | undefined,
  length: number,
  ending: Ending,
): Expression {
  if (length === 0) return ending(low !== undefined, high !== undefined);
  if (low !== undefined && isZero(low) && ending(true, false) === ending(false, false)) {
    if (high === undefined || ending(true, true) === ending(false, true)) {
      return digitsBetween(make, undefined, high, length, ending);
    }
  }
  if (low === undefined && high === undefined) {
    return make.sequence(make.repeat(digits(make), length, length), ending(false, false));
  }
  const first = low === undefined ? 0 : Number(low[0]);
  const last = high === undefined ? 9 : Number(high[0]);
  const lowRest = low?.slice(1);
  const highRest = high?.slice(1);
  const next = (l?: string, h?: string) => digitsBetween(make, l, h, length - 1, ending);
  if (low !== undefined && high !== undefined && first === last) {
    return make.sequence(digits(make, first, first), next(lowRest, highRest));
  }
  const parts: Expression[] = [];
  if (low !== undefined) parts.push(make.sequence(digits(make, first, first), next(lowRest)));
  if (high !== undefined) {
    parts.push(make.sequence(digits(make, last, last), next(undefined, highRest)));
  }
  const from = low === undefined ? first : first + 1;
  const to = high === undefined ? last : last - 1;
  if (from <= to) parts.push(make.sequence(digits(make, from, to), next()));
  return make.alternatives(...parts);
}

/** A number as its shortest decimal, times 10^FRACTION, rounded up or down. */
function scaledTo(value: number, up: boolean): bigint {
  const [, sign, whole, fraction = '', exponent = '0'] = /^(-?)(\d+)\.?(\d*)(?:e([+-]\d+))?$/.exec(
    value.toString(),
  )!;
  const shift = Number(exponent) - fraction.length + FRACTION;
  const magnitude = BigInt(whole + fraction);
  const signedMagnitude = sign ? -magnitude : magnitude;
  if (shift >= 0) return signedMagnitude * 10n ** BigInt(shift);
  const unit = 10n ** BigInt(-shift);
  const quotient = signedMagnitude / unit;
  const rest = signedMagnitude % unit;
  if (up && rest > 0n) return quotient + 1n;
  return !up && rest < 0n ? quotient - 1n : quotient;
}

const UNBOUNDED = 10n ** BigInt(WHOLE + FRACTION) - 1n;
const GREATEST = BigInt(Number.MAX_VALUE) * 10n ** BigInt(FRACTION);

function lowest(min: number, max: number): bigint {
  if (min !== Number.NEGATIVE_INFINITY) return scaledTo(min, true);
  const high = scaledTo(max, false);
  return high < -UNBOUNDED ? atLeast(high * 10n, -GREATEST) : -UNBOUNDED;
}

function highest(min: number, max: number): bigint {
  if (max !== Number.POSITIVE_INFINITY) return scaledTo(max, false);
  const low = scaledTo(min, true);
  return low > UNBOUNDED ? -atLeast(-low * 10n, -GREATEST) : UNBOUNDED;
}

function atLeast(value: bigint, least: bigint): bigint {
  return value < least ? least : value;
}

/** Decimals between two, given as multiples of 10^-FRACTION. */
function decimalsBetween(make: Expressions, low: bigint, high: bigint): Expression {
  const parts: Expression[] = [];
  if (low > high) return make.empty;
  if (high >= 0n) parts.push(magnitudesBetween(make, atLeast(low, 0n), high));
  if (low < 0n) {
    const minus = make.bytes(ByteSet.of([0x2d]));
    parts.push(make.sequence(minus, magnitudesBetween(make, atLeast(-high, 0n), -low)));
  }
  return make.alternatives(...parts);
}

function magnitudesBetween(make: Expressions, low: bigint, high: bigint): Expression {
  const unit = 10n ** BigInt(FRACTION);
  const lowFraction = fractionOf(low % unit);
  const highFraction = fractionOf(high % unit);
  return naturalsBetween(make, low / unit, high / unit, (isLow, isHigh) =>
    fractionBetween(make, isLow ? lowFraction : undefined, isHigh ? highFraction : undefined),
  );
}

function fractionOf(scaledFraction: bigint): string {
  return scaledFraction.toString().padStart(FRACTION, '0');
}

/** Nothing, or a point and digits, between two fractions of FRACTION digits. */
function fractionBetween(
  make: Expressions,
  low: string | undefined,
  high: string | undefined,
): Expression {
  const some = make.sequence(point(make), fractionDigits(make, low, high, FRACTION, true));
  return isZero(low) ? make.optional(some) : some;
}

/** Digits of a fraction that compares with bounds as if zeros followed. */
function fractionDigits(
  make: Expressions,
  low: string | undefined,
  high: string | undefined,
  left: number,
  first: boolean,
): Expression {
  const mayEnd = !first && isZero(low);
  if (left === 0) return mayEnd ? make.epsilon : make.empty;
  if (low === undefined && high === undefined) {
    return make.repeat(digits(make), first ? 1 : 0, left);
  }
  const from = low === undefined ? 0 : Number(low[0]);
  const to = high === undefined ? 9 : Number(high[0]);
  const parts: Expression[] = mayEnd ? [make.epsilon] : [];
  const add = (first: number, last: number, l?: string, h?: string) => {
    if (first > last) return;
    const rest = fractionDigits(make, l?.slice(1), h?.slice(1), left - 1, false);
    parts.push(make.sequence(digits(make, first, last), rest));
  };
  if (low !== undefined && high !== undefined && from === to) {
    add(from, from, low, high);
  } else {
    if (low !== undefined) add(from, from, low, undefined);
    if (high !== undefined) add(to, to, undefined, high);
    add(low === undefined ? from : from + 1, high === undefined ? to : to - 1);
  }
  return make.alternatives(...parts);
}

/** Whether zero is not below a bound. */
function isZero(low: string | undefined): boolean {
  return low === undefined || /^0*$/.test(low);
}
