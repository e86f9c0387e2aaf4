import type { SchemaNode } from './document.ts';

export const TYPES = ['null', 'boolean', 'number', 'string', 'array', 'object'] as const;

/** JSON's types. Integers are numbers. */
export type JsonType = (typeof TYPES)[number];

/** What one schema says of an object's members. */
export interface ObjectPart {
  readonly properties: ReadonlyMap<string, SchemaNode>;
  /** `undefined`: nothing is said of others. */
  readonly additional: SchemaNode | undefined;
}

/** What one schema says of an array's items. */
export interface ArrayPart {
  readonly first: readonly SchemaNode[];
  /** `undefined`: nothing is said of others. */
  readonly rest: SchemaNode | undefined;
}

/** A regular expression and where it stands. */
export interface PatternFacet {
  readonly source: string;
  readonly pointer: string;
}

/**
 * One alternative of a schema, as what all values of it must be: the conjunction of what every schema
 * that has a say demands.
 */
export interface Facets {
  readonly types: ReadonlySet<JsonType>;
  /** Whether a schema named types. */
  readonly typed: boolean;
  /** The types that keywords are about, for schemas that name none. */
  readonly mentioned: ReadonlySet<JsonType>;
  /** Numbers must be integers. */
  readonly integer: boolean;
  readonly booleans: readonly boolean[];
  /** The only values, from `enum` and `const`. */
  readonly values: readonly unknown[] | undefined;
  readonly minLength: number;
  readonly maxLength: number;
  readonly patterns: readonly PatternFacet[];
  /** Patterns of formats; a part of what the formats allow. */
  readonly formats: readonly PatternFacet[];
  readonly min: number;
  readonly max: number;
  readonly multipleOf: number | undefined;
  readonly minItems: number;
  readonly maxItems: number;
  readonly unique: boolean;
  readonly arrays: readonly ArrayPart[];
  readonly minProperties: number;
  readonly maxProperties: number;
  readonly required: readonly string[];
  readonly objects: readonly ObjectPart[];
  /** Members that no schema lists are not allowed. */
  readonly closed: boolean;
  /** What names of members must be. */
  readonly names: readonly SchemaNode[];
  /** Strings and integers that belong to any of these do not belong to this. */
  readonly except: readonly Facets[];
  /** The schema, for messages. */
  readonly pointer: string;
}

/** What every value is. */
export const anyValue: Facets = {
  types: new Set(TYPES),
  typed: false,
  mentioned: new Set(),
  integer: false,
  booleans: [true, false],
  values: undefined,
  minLength: 0,
  maxLength: Number.POSITIVE_INFINITY,
  patterns: [],
  formats: [],
  min: Number.NEGATIVE_INFINITY,
  max: Number.POSITIVE_INFINITY,
  multipleOf: undefined,
  minItems: 0,
  maxItems: Number.POSITIVE_INFINITY,
  unique: false,
  arrays: [],
  minProperties: 0,
  maxProperties: Number.POSITIVE_INFINITY,
  required: [],
  objects: [],
  closed: false,
  names: [],
  except: [],
  pointer: '#',
};

/** Units of work that it takes to put two together, or to compare them. */
export function sizeOfBoth(a: Facets, b: Facets): number {
  return 4 + (sizeOf(a) + sizeOf(b)) / 4;
}

function sizeOf({ values, patterns, arrays, required, objects, names, except }: Facets): number {
  const lists = [values ?? [], patterns, arrays, required, objects, names, except];
  return lists.reduce((sum, list) => sum + list.length, 0);
}

/** What belongs to both; `undefined` when nothing does for sure. */
export function both(a: Facets, b: Facets): Facets | undefined {
  const types = new Set([...a.types].filter((type) => b.types.has(type)));
  if (types.size === 0) return undefined;
  return {
    types,
    typed: a.typed || b.typed,
    mentioned: new Set([...a.mentioned, ...b.mentioned]),
    integer: a.integer || b.integer,
    booleans: a.booleans.filter((value) => b.booleans.includes(value)),
    values: a.values && b.values ? commonValues(a.values, b.values) : (a.values ?? b.values),
    minLength: Math.max(a.minLength, b.minLength),
    maxLength: Math.min(a.maxLength, b.maxLength),
    patterns: union(a.patterns, b.patterns),
    formats: union(a.formats, b.formats),
    min: Math.max(a.min, b.min),
    max: Math.min(a.max, b.max),
    multipleOf:
      a.multipleOf && b.multipleOf
        ? leastCommonMultiple(a.multipleOf, b.multipleOf)
        : (a.multipleOf ?? b.multipleOf),
    minItems: Math.max(a.minItems, b.minItems),
    maxItems: Math.min(a.maxItems, b.maxItems),
    unique: a.unique || b.unique,
    arrays: union(a.arrays, b.arrays),
    minProperties: Math.max(a.minProperties, b.minProperties),
    maxProperties: Math.min(a.maxProperties, b.maxProperties),
    required: union(a.required, b.required),
    objects: union(a.objects, b.objects),
    closed: a.closed || b.closed,
    names: union(a.names, b.names),
    except: union(a.except, b.except),
    pointer: a === anyValue ? b.pointer : a.pointer,
  };
}

/** The schemas that have a say about a member; `undefined` when there can be no such member. */
export function memberSchemas(facets: Facets, name: string): readonly SchemaNode[] | undefined {
  const listed = facets.objects.some((part) => part.properties.has(name));
  if (facets.closed && !listed) return undefined;
  const nodes = facets.objects.flatMap(({ properties, additional }) => {
    const node = properties.get(name) ?? additional;
    return node ? [node] : [];
  });
  return nodes.some((node) => node.schema === false) ? undefined : union(nodes, []);
}

/** The schemas that have a say about an item; `undefined` when there can be no such item. */
export function itemSchemas(facets: Facets, index: number): readonly SchemaNode[] | undefined {
  const nodes = facets.arrays.flatMap(({ first, rest }) => {
    const node = first[index] ?? rest;
    return node ? [node] : [];
  });
  return nodes.some((node) => node.schema === false) ? undefined : union(nodes, []);
}

/** Whether nothing is demanded of arrays or objects but to be such. */
export function isAnyContainer(facets: Facets, type: 'array' | 'object'): boolean {
  if (facets.values) return false;
  if (type === 'array') {
    const { minItems, maxItems, unique, arrays } = facets;
    return (
      minItems === 0 && maxItems === Number.POSITIVE_INFINITY && !unique && arrays.length === 0
    );
  }
  const { minProperties, maxProperties, required, objects, closed, names } = facets;
  const counted = minProperties > 0 || maxProperties < Number.POSITIVE_INFINITY;
  return !counted && !closed && required.length + objects.length + names.length === 0;
}

export function typeOf(value: unknown): JsonType {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  return typeof value as JsonType;
}

/** A text that is the same for equal values only. */
export function valueKey(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

/** Whether a number is one; `values` aside. */
export function isNumberOf(facets: Facets, value: number): boolean {
  const { integer, min, max, multipleOf } = facets;
  if (value < min || value > max || (integer && !Number.isInteger(value))) return false;
  return multipleOf === undefined || value % multipleOf === 0;
}

function commonValues(a: readonly unknown[], b: readonly unknown[]): readonly unknown[] {
  const keys = new Set(b.map(valueKey));
  return a.filter((value) => keys.has(valueKey(value)));
}

function leastCommonMultiple(a: number, b: number): number {
  let [x, y] = [a, b];
  while (y !== 0) [x, y] = [y, x % y];
  return (a / x) * b;
}

function union<T>(a: readonly T[], b: readonly T[]): readonly T[] {
  return [...new Set([...a, ...b])];
}
