/**
 * Python's values, as far as a chat template can see them.
 *
 * | Python         | here                                                                      |
 * | -------------- | ------------------------------------------------------------------------- |
 * | None           | `null`                                                                    |
 * | bool, str      | `boolean`, `string`                                                       |
 * | int            | `number` (an integer), or `bigint` where a number would lose digits       |
 * | float          | `Float`: Python prints 2.0 where JavaScript prints 2, so they stay apart  |
 * | list, iterator | array                                                                     |
 * | tuple          | `Tuple`                                                                   |
 * | dict           | `Map`, which keeps the order of insertion for every key, as Python does   |
 *
 * Iterators (`map`, `select`, `dict.keys()` ...) are lists here: looser than Python, which would
 * refuse their length or index, but never different in what is printed.
 */
import { codePoints, hasSurrogates, quote } from './strings.ts';

export type Value =
  | null
  | boolean
  | number
  | bigint
  | string
  | Float
  | Value[]
  | Tuple
  | Dict
  | Attributes
  | Callable
  | Undefined;

/** A Python dict. Keys are whatever the template or JSON gave, nearly always strings. */
export type Dict = Map<Value, Value>;

/** Keyword arguments of a call. */
export type Kwargs = ReadonlyMap<string, Value>;

/** A Python float. */
export class Float {
  readonly value: number;

  constructor(value: number) {
    this.value = value;
  }
}

/** A Python tuple. */
export class Tuple {
  readonly items: Value[];

  constructor(items: Value[]) {
    this.items = items;
  }
}

/** An object that is nothing but attributes: `loop`, or a `namespace()` that templates assign to. */
export class Attributes {
  readonly typeName: string;
  readonly assignable: boolean;
  readonly fields: Map<string, Value>;

  constructor(typeName: string, assignable: boolean, fields: Map<string, Value>) {
    this.typeName = typeName;
    this.assignable = assignable;
    this.fields = fields;
  }
}

/** A function, bound method or macro. */
export class Callable {
  readonly name: string;
  readonly call: (args: Value[], kwargs: Kwargs) => Value;

  constructor(name: string, call: (args: Value[], kwargs: Kwargs) => Value) {
    this.name = name;
    this.call = call;
  }
}

/** A missing name, attribute or element. Harmless to print or test, an error to use. */
export class Undefined {
  readonly message: string;

  constructor(message: string) {
    this.message = message;
  }

  /** Throws what Jinja2 throws when an undefined value is used. */
  fail(): never {
    throw new Error(this.message);
  }
}

/**
 * A JavaScript value as Python's `json.loads(JSON.stringify(value))` would see it, without the
 * detour: `undefined` fields are left out, and an integral number is an int.
 */
export function fromJavaScript(input: unknown): Value {
  switch (typeof input) {
    case 'string':
    case 'boolean':
    case 'bigint':
      return input;
    case 'number':
      // JSON writes 1e21 and larger with an exponent, and Python reads that as a float.
      if (Number.isInteger(input) && Math.abs(input) < 1e21) return input === 0 ? 0 : input;
      return new Float(input);
    case 'object':
      break;
    default:
      throw new Error(`a ${typeof input} cannot be given to a chat template`);
  }
  if (input === null) return null;
  if (isValueObject(input)) return input;
  if (Array.isArray(input)) return input.map((x) => fromJavaScript(x === undefined ? null : x));
  if ('toJSON' in input && typeof input.toJSON === 'function')
    return fromJavaScript(input.toJSON());
  const dict: Dict = new Map();
  for (const [key, value] of Object.entries(input)) {
    if (value !== undefined) dict.set(key, fromJavaScript(value));
  }
  return dict;
}

function isValueObject(input: object): input is Float | Tuple | Dict | Attributes | Callable {
  return (
    input instanceof Map ||
    input instanceof Float ||
    input instanceof Tuple ||
    input instanceof Attributes ||
    input instanceof Callable ||
    input instanceof Undefined
  );
}

/** `type(value).__name__`. */
export function typeName(value: Value): string {
  if (value === null) return 'NoneType';
  switch (typeof value) {
    case 'boolean':
      return 'bool';
    case 'number':
    case 'bigint':
      return 'int';
    case 'string':
      return 'str';
  }
  if (Array.isArray(value)) return 'list';
  if (value instanceof Float) return 'float';
  if (value instanceof Tuple) return 'tuple';
  if (value instanceof Map) return 'dict';
  if (value instanceof Attributes) return value.typeName;
  if (value instanceof Callable) return 'function';
  return 'Undefined';
}

export function isInt(value: Value): value is number | bigint {
  return typeof value === 'number' || typeof value === 'bigint';
}

/** int, float and bool, which Python lets mix in arithmetic and comparison. */
export function isNumeric(value: Value): value is number | bigint | Float | boolean {
  return isInt(value) || value instanceof Float || typeof value === 'boolean';
}

/** The nearest double of a numeric value. */
export function toDouble(value: number | bigint | Float | boolean): number {
  return value instanceof Float ? value.value : Number(value);
}

/** `bool(value)`. */
export function truthy(value: Value): boolean {
  if (value === null || value instanceof Undefined) return false;
  if (value instanceof Float) return value.value !== 0;
  if (Array.isArray(value)) return value.length > 0;
  if (value instanceof Tuple) return value.items.length > 0;
  if (value instanceof Map) return value.size > 0;
  if (value instanceof Attributes || value instanceof Callable) return true;
  return Boolean(value);
}

/** `str(value)`; an undefined value is the empty string. */
export function str(value: Value): string {
  if (typeof value === 'string') return value;
  if (value instanceof Undefined) return '';
  return repr(value);
}

/** `repr(value)`. */
export function repr(value: Value): string {
  if (value === null) return 'None';
  switch (typeof value) {
    case 'string':
      return quote(value);
    case 'boolean':
      return value ? 'True' : 'False';
    case 'number':
      // BigInt prints all digits where String(1e20) would already be rounded for display.
      return Number.isSafeInteger(value) ? String(value) : String(BigInt(value));
    case 'bigint':
      return String(value);
  }
  if (value instanceof Float) return floatRepr(value.value);
  if (Array.isArray(value)) return `[${value.map(repr).join(', ')}]`;
  if (value instanceof Tuple) {
    return `(${value.items.map(repr).join(', ')}${value.items.length === 1 ? ',' : ''})`;
  }
  if (value instanceof Map) return dictRepr(value);
  if (value instanceof Undefined) return 'Undefined';
  if (value instanceof Callable) return `<function ${value.name}>`;
  return `<${value.typeName} ${dictRepr(value.fields)}>`;
}

function dictRepr(dict: ReadonlyMap<Value, Value>): string {
  return `{${Array.from(dict, ([k, v]) => `${repr(k)}: ${repr(v)}`).join(', ')}}`;
}

/**
 * `float.__repr__`: the shortest digits that read back as the same double (JavaScript finds the
 * same ones), with an exponent below 1e-4 and from 1e16 on.
 */
export function floatRepr(x: number): string {
  if (Number.isNaN(x)) return 'nan';
  if (!Number.isFinite(x)) return x > 0 ? 'inf' : '-inf';
  if (x === 0) return Object.is(x, -0) ? '-0.0' : '0.0';
  const [mantissa = '', exponentText = '0'] = Math.abs(x).toExponential().split('e');
  const digits = mantissa.replace('.', '');
  const exponent = Number(exponentText);
  const sign = x < 0 ? '-' : '';
  if (exponent < -4 || exponent >= 16) {
    const fraction = digits.length > 1 ? `.${digits.slice(1)}` : '';
    const power = String(Math.abs(exponent)).padStart(2, '0');
    return `${sign}${digits[0]}${fraction}e${exponent < 0 ? '-' : '+'}${power}`;
  }
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${digits}`;
  const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, '0');
  return `${sign}${whole}.${digits.slice(exponent + 1) || '0'}`;
}

/** `len(value)`; strings count code points. */
export function length(value: Value): number {
  if (typeof value === 'string') {
    return hasSurrogates(value) ? codePoints(value).length : value.length;
  }
  if (Array.isArray(value)) return value.length;
  if (value instanceof Tuple) return value.items.length;
  if (value instanceof Map) return value.size;
  if (value instanceof Undefined) return 0;
  throw new Error(`object of type '${typeName(value)}' has no len()`);
}

/** `list(value)`: the items, characters or keys that a loop would see. */
export function iterate(value: Value): Value[] {
  if (Array.isArray(value)) return value;
  if (value instanceof Tuple) return value.items;
  if (value instanceof Map) return [...value.keys()];
  if (typeof value === 'string') return codePoints(value);
  if (value instanceof Undefined) return [];
  throw new Error(`'${typeName(value)}' object is not iterable`);
}

/** `a == b`. */
export function equals(a: Value, b: Value): boolean {
  if (a === b) return true;
  if (isNumeric(a) && isNumeric(b)) return toDouble(a) === toDouble(b);
  if (Array.isArray(a) && Array.isArray(b)) return sequenceEquals(a, b);
  if (a instanceof Tuple && b instanceof Tuple) return sequenceEquals(a.items, b.items);
  if (a instanceof Map && b instanceof Map) {
    if (a.size !== b.size) return false;
    for (const [key, value] of a) {
      const other = b.get(key);
      if (other === undefined || !equals(value, other)) return false;
    }
    return true;
  }
  return a instanceof Undefined && b instanceof Undefined;
}

function sequenceEquals(a: readonly Value[], b: readonly Value[]): boolean {
  return a.length === b.length && a.every((x, i) => equals(x, b[i]!));
}

/** Sign of `a - b` in Python's order. `operator` is only for the message of a failure. */
export function compare(a: Value, b: Value, operator = '<'): number {
  if (isNumeric(a) && isNumeric(b)) {
    if (isInt(a) && isInt(b)) return a < b ? -1 : a > b ? 1 : 0;
    return toDouble(a) - toDouble(b);
  }
  if (typeof a === 'string' && typeof b === 'string') return compareStrings(a, b);
  if (Array.isArray(a) && Array.isArray(b)) return compareSequences(a, b, operator);
  if (a instanceof Tuple && b instanceof Tuple) return compareSequences(a.items, b.items, operator);
  if (a instanceof Undefined) a.fail();
  if (b instanceof Undefined) b.fail();
  throw new Error(
    `'${operator}' not supported between instances of '${typeName(a)}' and '${typeName(b)}'`,
  );
}

/** Order by code point; JavaScript's own order is by UTF-16 unit and differs above U+FFFF. */
function compareStrings(a: string, b: string): number {
  if (a === b) return 0;
  if (!hasSurrogates(a) && !hasSurrogates(b)) return a < b ? -1 : 1;
  const x = codePoints(a);
  const y = codePoints(b);
  for (let i = 0; i < Math.min(x.length, y.length); i++) {
    const difference = x[i]!.codePointAt(0)! - y[i]!.codePointAt(0)!;
    if (difference !== 0) return difference;
  }
  return x.length - y.length;
}

function compareSequences(a: readonly Value[], b: readonly Value[], operator: string): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    if (!equals(a[i]!, b[i]!)) return compare(a[i]!, b[i]!, operator);
  }
  return a.length - b.length;
}

/** `item in container`. */
export function contains(container: Value, item: Value): boolean {
  if (typeof container === 'string') {
    if (typeof item === 'string') return container.includes(item);
    throw new Error(`'in <string>' requires string as left operand, not ${typeName(item)}`);
  }
  if (container instanceof Map) return container.has(item);
  if (Array.isArray(container)) return container.some((x) => equals(x, item));
  if (container instanceof Tuple) return container.items.some((x) => equals(x, item));
  if (container instanceof Undefined) return false;
  throw new Error(`argument of type '${typeName(container)}' is not iterable`);
}
