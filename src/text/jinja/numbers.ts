/** Python's arithmetic: exact integers, and floats that stay floats. */
import { Float, isNumeric, toDouble, type Value } from './values.ts';

type Int = number | bigint;

/** An integer in its smallest form: `number` while that is exact. */
export function int(value: bigint): Int {
  const small = Number(value);
  return Number.isSafeInteger(small) ? small : value;
}

/**
 * `left operator right` for two numeric values; `undefined` when either is not numeric.
 * @throws Error on division by zero, as Python does.
 */
export function arithmetic(operator: string, left: Value, right: Value): Value | undefined {
  if (!isNumeric(left) || !isNumeric(right)) return undefined;
  const float = left instanceof Float || right instanceof Float;
  if (operator === '/') {
    return new Float(divide(toDouble(left), toDouble(right)));
  }
  if (operator === '**' && (float || toDouble(right) < 0)) {
    const result = toDouble(left) ** toDouble(right);
    if (!Number.isFinite(result)) throw new Error('result of ** is not a finite real number');
    return new Float(result);
  }
  if (float) return floatArithmetic(operator, toDouble(left), toDouble(right));
  return intArithmetic(operator, plainInt(left), plainInt(right));
}

function plainInt(value: number | bigint | boolean | Float): Int {
  return typeof value === 'bigint' ? value : Number(value);
}

function floatArithmetic(operator: string, a: number, b: number): Value | undefined {
  switch (operator) {
    case '+':
      return new Float(a + b);
    case '-':
      return new Float(a - b);
    case '*':
      return new Float(a * b);
    case '//':
      return new Float(Math.floor(divide(a, b)));
    case '%':
      return new Float(b === 0 ? divide(a, b) : modulo(a, b));
    default:
      return undefined;
  }
}

function intArithmetic(operator: string, a: Int, b: Int): Value | undefined {
  if (operator === '//' || operator === '%') {
    if (Number(b) === 0) throw new Error('integer division or modulo by zero');
    if (typeof a === 'number' && typeof b === 'number') {
      const rest = modulo(a, b);
      return operator === '%' ? rest : (a - rest) / b;
    }
    const x = BigInt(a);
    const y = BigInt(b);
    const cut = x % y;
    const rest = cut !== 0n && cut < 0n !== y < 0n ? cut + y : cut;
    return int(operator === '%' ? rest : (x - rest) / y);
  }
  if (operator === '**') {
    // Far beyond any template's need; without a bound one expression could exhaust memory.
    if (Number(b) > 4096) throw new Error('exponent too large');
    return int(BigInt(a) ** BigInt(b));
  }
  if (operator !== '+' && operator !== '-' && operator !== '*') return undefined;
  if (typeof a === 'number' && typeof b === 'number') {
    const quick = operator === '+' ? a + b : operator === '-' ? a - b : a * b;
    if (Number.isSafeInteger(quick)) return quick === 0 ? 0 : quick;
  }
  const x = BigInt(a);
  const y = BigInt(b);
  return int(operator === '+' ? x + y : operator === '-' ? x - y : x * y);
}

function divide(a: number, b: number): number {
  if (b === 0) throw new Error('division by zero');
  return a / b;
}

/** Python's modulo has the sign of the divisor. */
function modulo(a: number, b: number): number {
  const rest = a % b;
  if (rest === 0) return 0;
  return rest < 0 !== b < 0 ? rest + b : rest;
}

/** `round(x, digits)`: to nearest, ties to even, on the exact value of the double. */
export function round(x: number, digits: number): number {
  if (!Number.isFinite(x) || digits > 20) return x;
  if (digits < 0) {
    const unit = 10 ** -digits;
    return round(x / unit, 0) * unit;
  }
  const shown = Number(x.toFixed(digits));
  // toFixed works on the exact value too, but breaks ties upwards in magnitude.
  const tail = Math.abs(x)
    .toFixed(Math.min(100, digits + 60))
    .split('.')[1]!
    .slice(digits);
  if (!/^50*$/.test(tail)) return shown;
  const step = 10 ** -digits;
  const last = Number(Math.abs(shown).toFixed(digits).at(-1));
  return last % 2 === 0 ? shown : Number((shown - Math.sign(x) * step).toFixed(digits));
}
