/**
 * `object.name` and `object[key]`. Jinja2 lets either find both attributes and items and only
 * differs in which it tries first, so `tool.items` is the dict's method and `tool["items"]` its key.
 */
import { attribute } from './methods.ts';
import { codePoints } from './strings.ts';
import { isInt, Tuple, typeName, Undefined, type Value } from './values.ts';

/** `object.name`. */
export function getAttribute(object: Value, name: string): Value {
  if (object instanceof Undefined) return object.fail();
  // Not `??`: a None that is there is found.
  let found = attribute(object, name);
  if (found === undefined) found = item(object, name);
  return found === undefined ? missing(object, name) : found;
}

/** `object[key]`. */
export function getItem(object: Value, key: Value): Value {
  if (object instanceof Undefined) return object.fail();
  let found = item(object, key);
  if (found === undefined && typeof key === 'string') found = attribute(object, key);
  return found === undefined ? missing(object, key) : found;
}

/** `attribute="a.b.0"` of `map`, `sort` and their like. */
export function getPath(object: Value, path: Value): Value {
  if (typeof path !== 'string') return getItem(object, path);
  let value = object;
  for (const part of path.split('.')) {
    value = getItem(value, /^\d+$/.test(part) ? Number(part) : part);
  }
  return value;
}

function item(object: Value, key: Value): Value | undefined {
  if (object instanceof Map) return object.get(key);
  const index = typeof key === 'boolean' || isInt(key) ? Number(key) : undefined;
  if (index === undefined) return undefined;
  if (Array.isArray(object)) return object.at(index);
  if (object instanceof Tuple) return object.items.at(index);
  if (typeof object === 'string') return codePoints(object).at(index);
  return undefined;
}

function missing(object: Value, key: Value): Undefined {
  const owner = object === null ? 'None' : `${typeName(object)} object`;
  if (typeof key === 'string') return new Undefined(`'${owner}' has no attribute '${key}'`);
  return new Undefined(`${owner} has no element ${isInt(key) ? key : typeName(key)}`);
}

/** `object[start:stop:step]` with Python's rules for negative and absent bounds. */
export function getSlice(
  object: Value,
  start: number | undefined,
  stop: number | undefined,
  step: number | undefined,
): Value {
  if (object instanceof Undefined) return object.fail();
  if (typeof object === 'string') return pick(codePoints(object), start, stop, step).join('');
  if (Array.isArray(object)) return pick(object, start, stop, step);
  if (object instanceof Tuple) return new Tuple(pick(object.items, start, stop, step));
  throw new Error(`'${typeName(object)}' object is not subscriptable with a slice`);
}

function pick<T>(
  items: readonly T[],
  start: number | undefined,
  stop: number | undefined,
  step = 1,
): T[] {
  if (step === 0) throw new Error('slice step cannot be zero');
  const n = items.length;
  // CPython's PySlice_AdjustIndices: bounds are clamped to [0, n], or [-1, n - 1] going backwards.
  const low = step > 0 ? 0 : -1;
  const high = step > 0 ? n : n - 1;
  const clamp = (bound: number) => Math.min(Math.max(bound < 0 ? bound + n : bound, low), high);
  const from = start === undefined ? (step > 0 ? low : high) : clamp(start);
  const to = stop === undefined ? (step > 0 ? high : low) : clamp(stop);
  const result: T[] = [];
  for (let i = from; step > 0 ? i < to : i > to; i += step) result.push(items[i]!);
  return result;
}
