/** Jinja2's tests: what follows `is`, and what `select` and `reject` take by name. */
import { asInt } from './arguments.ts';
import { arithmetic } from './numbers.ts';
import {
  Callable,
  compare,
  contains,
  equals,
  Float,
  isInt,
  isNumeric,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from './values.ts';

type Predicate = (value: Value, ...args: Value[]) => boolean;

/** Remainder of an integer; tests such as `odd` fail on anything else, as in Python. */
function remainder(value: Value, divisor: Value): number {
  if (value instanceof Undefined) value.fail();
  const rest = arithmetic('%', value, divisor);
  if (rest === undefined) throw new Error(`'${typeName(value)}' object has no remainder`);
  return rest instanceof Float ? rest.value : Number(rest);
}

const isSequence: Predicate = (value) =>
  typeof value === 'string' ||
  Array.isArray(value) ||
  value instanceof Tuple ||
  value instanceof Map ||
  value instanceof Undefined;

const second = (args: readonly Value[]): Value => args[0] ?? null;

const PREDICATES: Readonly<Record<string, Predicate>> = {
  boolean: (value) => typeof value === 'boolean',
  callable: (value) => value instanceof Callable,
  defined: (value) => !(value instanceof Undefined),
  divisibleby: (value, ...args) => remainder(value, asInt(args[0], 0)) === 0,
  eq: (value, ...args) => equals(value, second(args)),
  even: (value) => remainder(value, 2) === 0,
  false: (value) => value === false,
  float: (value) => value instanceof Float,
  ge: (value, ...args) => compare(value, second(args), '>=') >= 0,
  gt: (value, ...args) => compare(value, second(args), '>') > 0,
  in: (value, ...args) => contains(second(args), value),
  integer: (value) => isInt(value),
  iterable: isSequence,
  le: (value, ...args) => compare(value, second(args), '<=') <= 0,
  lower: (value) =>
    typeof value === 'string' && /\p{L}/u.test(value) && value === value.toLowerCase(),
  lt: (value, ...args) => compare(value, second(args), '<') < 0,
  mapping: (value) => value instanceof Map,
  ne: (value, ...args) => !equals(value, second(args)),
  none: (value) => value === null,
  number: isNumeric,
  odd: (value) => remainder(value, 2) === 1,
  sameas: (value, ...args) => value === second(args),
  sequence: isSequence,
  string: (value) => typeof value === 'string',
  true: (value) => value === true,
  undefined: (value) => value instanceof Undefined,
  upper: (value) =>
    typeof value === 'string' && /\p{L}/u.test(value) && value === value.toUpperCase(),
};

/** Other names that Jinja2 gives the same tests. */
const ALIASES: Readonly<Record<string, string>> = {
  '!=': 'ne',
  '<': 'lt',
  '<=': 'le',
  '==': 'eq',
  '>': 'gt',
  '>=': 'ge',
  equalto: 'eq',
  greaterthan: 'gt',
  lessthan: 'lt',
};

/**
 * The test of that name.
 * @throws Error when Jinja2 has no such test.
 */
export function predicate(name: string): Predicate {
  const canonical = Object.hasOwn(ALIASES, name) ? ALIASES[name]! : name;
  const found = Object.hasOwn(PREDICATES, canonical) ? PREDICATES[canonical] : undefined;
  if (found === undefined) throw new Error(`No test named '${name}'.`);
  return found;
}
