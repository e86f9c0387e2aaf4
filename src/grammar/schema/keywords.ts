import { isRecord } from '../../text/tool-calls/value-types.ts';
import { nextUp } from '../numbers.ts';
import { at, type SchemaDocument, type SchemaNode, type SchemaObject } from './document.ts';
import { type ArrayPart, anyValue, type Facets, type JsonType, TYPES } from './facets.ts';
import { formats } from './formats.ts';

/** Keywords that demand something which is not held here. Others are annotations and demand nothing. */
const REFUSED = [
  'if',
  'then',
  'else',
  'contains',
  'minContains',
  'maxContains',
  'patternProperties',
  'dependencies',
  'dependentRequired',
  'dependentSchemas',
  'unevaluatedItems',
  '$dynamicRef',
  '$recursiveRef',
  'extends',
  'disallow',
  'divisibleBy',
];
/** Larger divisors cannot be followed digit by digit. */
export const MAX_DIVISOR = 1e9;

const MENTIONS: ReadonlyMap<string, JsonType> = new Map(
  Object.entries<JsonType>({
    minLength: 'string',
    maxLength: 'string',
    pattern: 'string',
    format: 'string',
    minimum: 'number',
    maximum: 'number',
    exclusiveMinimum: 'number',
    exclusiveMaximum: 'number',
    multipleOf: 'number',
    items: 'array',
    prefixItems: 'array',
    additionalItems: 'array',
    minItems: 'array',
    maxItems: 'array',
    uniqueItems: 'array',
    properties: 'object',
    required: 'object',
    additionalProperties: 'object',
    unevaluatedProperties: 'object',
    propertyNames: 'object',
    minProperties: 'object',
    maxProperties: 'object',
  }),
);

/**
 * What a schema itself demands, but for what it says of other schemas that the same value must match.
 * @throws MowgliError `OPTION_INVALID` for keywords that are not supported, or not as they should be.
 */
export function ownFacets(document: SchemaDocument, node: SchemaNode): Facets {
  return new KeywordReader(document, node).read();
}

class KeywordReader {
  readonly #document: SchemaDocument;
  readonly #node: SchemaNode;
  readonly #schema: SchemaObject;

  constructor(document: SchemaDocument, node: SchemaNode) {
    this.#document = document;
    this.#node = node;
    this.#schema = node.schema as SchemaObject;
  }

  read(): Facets {
    const schema = this.#schema;
    for (const keyword of REFUSED) {
      if (keyword in schema) this.#refuse(keyword, `"${keyword}" is not supported`);
    }
    if ('$id' in schema && this.#node.pointer !== '#') {
      this.#refuse('$id', 'a schema with an address of its own, within another, is not supported');
    }
    const { types, integer } = this.#types();
    const multipleOf = this.#multipleOf();
    return {
      ...anyValue,
      types,
      typed: 'type' in schema,
      mentioned: new Set(Object.keys(schema).flatMap((key) => MENTIONS.get(key) ?? [])),
      integer: integer || multipleOf !== undefined,
      values: this.#values(),
      minLength: this.#count('minLength', 0),
      maxLength: this.#count('maxLength', Number.POSITIVE_INFINITY),
      ...this.#patterns(),
      ...this.#bounds(),
      multipleOf,
      minItems: this.#count('minItems', 0),
      maxItems: this.#count('maxItems', Number.POSITIVE_INFINITY),
      unique: this.#flag('uniqueItems'),
      arrays: this.#arrays(),
      minProperties: this.#count('minProperties', 0),
      maxProperties: this.#count('maxProperties', Number.POSITIVE_INFINITY),
      ...this.#members(),
      pointer: this.#node.pointer,
    };
  }

  #types(): { types: ReadonlySet<JsonType>; integer: boolean } {
    const { type } = this.#schema;
    if (type === undefined) {
      if (this.#flag('nullable')) this.#refuse('nullable', '"nullable" needs "type" beside it');
      return { types: anyValue.types, integer: false };
    }
    const names: unknown[] = Array.isArray(type) ? type : [type];
    const types = new Set<JsonType>();
    for (const name of names) {
      if (name === 'integer') types.add('number');
      else if (TYPES.includes(name as JsonType)) types.add(name as JsonType);
      else this.#refuse('type', `${JSON.stringify(name)} is no type of JSON`);
    }
    if (this.#flag('nullable')) types.add('null');
    return { types, integer: names.includes('integer') && !names.includes('number') };
  }

  #values(): readonly unknown[] | undefined {
    const schema = this.#schema;
    let values: readonly unknown[] | undefined;
    if ('enum' in schema) {
      if (!Array.isArray(schema.enum)) this.#refuse('enum', 'it is a list of values');
      values = schema.enum;
    }
    if (!('const' in schema)) return values;
    const text = JSON.stringify(schema.const);
    return values ? values.filter((value) => JSON.stringify(value) === text) : [schema.const];
  }

  #patterns(): Pick<Facets, 'patterns' | 'formats'> {
    const { pattern, format } = this.#schema;
    const { pointer } = this.#node;
    if (pattern !== undefined && typeof pattern !== 'string') {
      this.#refuse('pattern', 'it is a regular expression, as text');
    }
    const known = typeof format === 'string' ? formats.get(format) : undefined;
    return {
      patterns: pattern === undefined ? [] : [{ source: pattern, pointer: at(pointer, 'pattern') }],
      formats: known === undefined ? [] : [{ source: known, pointer: at(pointer, 'format') }],
    };
  }

  #bounds(): Pick<Facets, 'min' | 'max'> {
    const min = this.#number('minimum');
    const max = this.#number('maximum');
    const above = this.#number('exclusiveMinimum');
    const below = this.#number('exclusiveMaximum');
    return {
      min: Math.max(min ?? anyValue.min, above === undefined ? anyValue.min : nextUp(above)),
      max: Math.min(max ?? anyValue.max, below === undefined ? anyValue.max : -nextUp(-below)),
    };
  }

  #multipleOf(): number | undefined {
    const divisor = this.#number('multipleOf');
    if (divisor === undefined) return undefined;
    if (divisor <= 0) this.#refuse('multipleOf', 'it is more than 0');
    if (!Number.isInteger(divisor) || divisor > MAX_DIVISOR) {
      this.#refuse('multipleOf', `only integers up to ${MAX_DIVISOR} are supported`);
    }
    return divisor;
  }

  #arrays(): readonly ArrayPart[] {
    const { prefixItems, items, additionalItems } = this.#schema;
    const listed = prefixItems ?? (Array.isArray(items) ? items : undefined);
    const keyword = prefixItems === undefined ? 'items' : 'prefixItems';
    if (listed !== undefined && !Array.isArray(listed)) {
      this.#refuse('prefixItems', 'it is a list of schemas');
    }
    const first = (listed ?? []).map((item: unknown, i: number) => this.#child(item, keyword, i));
    const others = Array.isArray(items) ? 'additionalItems' : 'items';
    const schema = Array.isArray(items) ? additionalItems : items;
    const rest = schema === undefined ? undefined : this.#child(schema, others);
    return first.length === 0 && !rest ? [] : [{ first, rest }];
  }

  #members(): Pick<Facets, 'required' | 'objects' | 'closed' | 'names'> {
    const { properties, additionalProperties, required = [], propertyNames } = this.#schema;
    const { unevaluatedProperties } = this.#schema;
    if (!Array.isArray(required) || required.some((name) => typeof name !== 'string')) {
      this.#refuse('required', 'it is a list of names');
    }
    if (properties !== undefined && !isRecord(properties)) {
      this.#refuse('properties', 'it is an object of schemas');
    }
    if (unevaluatedProperties !== undefined && typeof unevaluatedProperties !== 'boolean') {
      this.#refuse('unevaluatedProperties', 'only true and false are supported');
    }
    const listed = Object.entries(properties ?? {}).map(
      ([name, schema]) => [name, this.#child(schema, 'properties', name)] as const,
    );
    const additional =
      additionalProperties === undefined
        ? undefined
        : this.#child(additionalProperties, 'additionalProperties');
    const says = properties !== undefined || additional !== undefined;
    return {
      required,
      objects: says ? [{ properties: new Map(listed), additional }] : [],
      closed: unevaluatedProperties === false && additional === undefined,
      names: propertyNames === undefined ? [] : [this.#child(propertyNames, 'propertyNames')],
    };
  }

  #child(schema: unknown, ...path: readonly (string | number)[]): SchemaNode {
    return this.#document.child(this.#node, schema, ...path);
  }

  #count(keyword: string, absent: number): number {
    const value = this.#number(keyword);
    if (value === undefined) return absent;
    if (!Number.isInteger(value) || value < 0) this.#refuse(keyword, 'it is a count');
    return value;
  }

  #number(keyword: string): number | undefined {
    const value = this.#schema[keyword];
    if (value === undefined) return undefined;
    if (typeof value !== 'number' || !Number.isFinite(value)) {
      this.#refuse(keyword, `it is a number, not ${JSON.stringify(value)}`);
    }
    return value;
  }

  #flag(keyword: string): boolean {
    const value = this.#schema[keyword] ?? false;
    if (typeof value !== 'boolean') this.#refuse(keyword, 'it is true or false');
    return value;
  }

  #refuse(keyword: string, problem: string): never {
    this.#document.refuse(at(this.#node.pointer, keyword), problem);
  }
}
