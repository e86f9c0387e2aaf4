/** Binding of a call's arguments to the parameters of a Python function. */
import { isInt, type Kwargs, typeName, type Value } from './values.ts';

/**
 * The values of the named parameters, in their order; `undefined` where the call gave none.
 * @throws Error for arguments that the function does not have.
 */
export function bind(
  name: string,
  parameters: readonly string[],
  args: readonly Value[],
  kwargs: Kwargs,
): (Value | undefined)[] {
  if (args.length > parameters.length) {
    throw new Error(
      `${name}() takes at most ${parameters.length} arguments (${args.length} given)`,
    );
  }
  for (const key of kwargs.keys()) {
    const index = parameters.indexOf(key);
    if (index < 0) throw new Error(`${name}() got an unexpected keyword argument '${key}'`);
    if (index < args.length) throw new Error(`${name}() got multiple values for argument '${key}'`);
  }
  return parameters.map((parameter, i) => (i < args.length ? args[i] : kwargs.get(parameter)));
}

/** An argument that has to be an integer. */
export function asInt(value: Value | undefined, fallback: number): number {
  if (value === undefined) return fallback;
  if (typeof value === 'boolean' || isInt(value)) return Number(value);
  throw new Error(`'${typeName(value)}' object cannot be interpreted as an integer`);
}

/** An argument that has to be text. */
export function asText(value: Value | undefined, what: string): string {
  if (typeof value === 'string') return value;
  throw new Error(`${what} must be str, not ${value === undefined ? 'missing' : typeName(value)}`);
}
