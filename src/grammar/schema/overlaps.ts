import { isRecord } from '../../text/tool-calls/value-types.ts';
import { type Facets, memberSchemas, typeOf, valueKey } from './facets.ts';

/**
 * Tells which alternatives may have values in common, so that of hundreds not each has to be compared
 * with each: scalars that are listed have not, nor have objects that require a property with different
 * constants, the usual way to tell them apart.
 */
export class Overlaps {
  readonly #all: readonly Facets[];
  readonly #keys = new Map<Facets, readonly string[] | undefined>();
  readonly #byKey = new Map<string, Facets[]>();
  /** Those that can be anything. */
  readonly #unclear: Facets[] = [];

  constructor(alternatives: readonly Facets[]) {
    this.#all = alternatives;
    const property = commonConstant(alternatives);
    for (const facets of alternatives) {
      const keys = scalarKeys(facets) ?? objectKeys(facets, property);
      this.#keys.set(facets, keys);
      if (!keys) this.#unclear.push(facets);
      for (const key of keys ?? []) {
        const list = this.#byKey.get(key);
        if (list) list.push(facets);
        else this.#byKey.set(key, [facets]);
      }
    }
  }

  /** The alternatives that may have values in common with one of them, itself included. */
  of(facets: Facets): Iterable<Facets> {
    const keys = this.#keys.get(facets);
    if (!keys) return this.#all;
    return new Set([...keys.flatMap((key) => this.#byKey.get(key)!), ...this.#unclear]);
  }
}

function scalarKeys({ values }: Facets): readonly string[] | undefined {
  return values && keysOf(values, 'value');
}

/** What objects can have for a property that they must have. */
function objectKeys(facets: Facets, property: string | undefined): readonly string[] | undefined {
  if (
    property === undefined ||
    facets.values ||
    facets.types.size !== 1 ||
    !facets.types.has('object')
  )
    return undefined;
  if (!facets.required.includes(property)) return undefined;
  for (const { schema } of memberSchemas(facets, property) ?? []) {
    if (!isRecord(schema)) continue;
    if ('const' in schema) return keysOf([schema.const], 'property');
    if (Array.isArray(schema.enum)) return keysOf(schema.enum, 'property');
  }
  return undefined;
}

/** `undefined` when not all are scalars: objects and arrays might be described by other alternatives. */
function keysOf(values: readonly unknown[], kind: string): readonly string[] | undefined {
  const isScalar = (value: unknown) => !['object', 'array'].includes(typeOf(value));
  return values.every(isScalar) ? values.map((value) => `${kind} ${valueKey(value)}`) : undefined;
}

/** The property that tells most objects apart. */
function commonConstant(alternatives: readonly Facets[]): string | undefined {
  const first = alternatives.find(({ required }) => required.length > 0);
  let best: string | undefined;
  let most = 1;
  for (const name of first?.required.slice(0, MAX_TRIED) ?? []) {
    const count = alternatives.filter((facets) => objectKeys(facets, name)).length;
    if (count > most) [best, most] = [name, count];
  }
  return best;
}

/** Properties that are tried. */
const MAX_TRIED = 8;
