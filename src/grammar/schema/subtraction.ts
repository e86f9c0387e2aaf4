import type { AlternativeReader } from './alternatives.ts';
import type { SchemaDocument, SchemaNode } from './document.ts';
import {
  type Facets,
  isAnyContainer,
  itemSchemas,
  type JsonType,
  memberSchemas,
  typeOf,
} from './facets.ts';
import type { Membership } from './membership.ts';
import type { Strings } from './strings.ts';

/** Properties and items that are compared to see that two schemas have nothing in common. */
const MAX_COMPARED_DEPTH = 3;

/** Takes alternatives away from each other, for `oneOf` and `not`: exactly, or not at all. */
export class Subtraction {
  readonly #document: SchemaDocument;
  readonly #strings: Strings;
  readonly #membership: Membership;
  readonly #reader: Pick<AlternativeReader, 'allIfKnown'>;

  constructor(
    document: SchemaDocument,
    strings: Strings,
    membership: Membership,
    reader: Pick<AlternativeReader, 'allIfKnown'>,
  ) {
    this.#document = document;
    this.#strings = strings;
    this.#membership = membership;
    this.#reader = reader;
  }

  /** Takes away from one alternative what belongs to another one; `undefined` when nothing is left. */
  subtract(from: Facets, other: Facets, pointer: string): Facets | undefined {
    if (from.values) {
      const belongs = this.#membership.test(other);
      return { ...from, values: from.values.filter((value) => !belongs(value)) };
    }
    let rest = from;
    for (const type of from.types) {
      if (!other.types.has(type) || this.#haveNothingInCommon(from, other, type)) continue;
      const without = (): Facets => ({
        ...rest,
        types: new Set([...rest.types].filter((x) => x !== type)),
      });
      switch (type) {
        case 'null':
          if (!other.values || other.values.includes(null)) rest = without();
          break;
        case 'boolean': {
          const taken = (value: boolean) =>
            other.booleans.includes(value) && (!other.values || other.values.includes(value));
          rest = { ...rest, booleans: rest.booleans.filter((value) => !taken(value)) };
          break;
        }
        case 'string':
          if (other.formats.length > 0) {
            this.#document.refuse(pointer, 'a format cannot tell alternatives apart');
          }
          rest = { ...rest, except: [...rest.except, onlyType(other, type)] };
          break;
        case 'number':
          if (!from.integer) {
            this.#document.refuse(pointer, 'numbers can belong to several alternatives; use anyOf');
          }
          rest = { ...rest, except: [...rest.except, onlyType(other, type)] };
          break;
        default:
          if (!isAnyContainer(other, type)) {
            this.#document.refuse(
              pointer,
              `${type}s could belong to several alternatives; use anyOf, or a required property ` +
                'with different constant values',
            );
          }
          rest = without();
      }
    }
    return rest.types.size > 0 ? rest : undefined;
  }

  /** Whether it is certain that no value of a type belongs to both. */
  #haveNothingInCommon(a: Facets, b: Facets, type: JsonType, depth = 0): boolean {
    const listing = [a, b].find((facets) => facets.values);
    if (listing) {
      const other = listing === a ? b : a;
      const listed = this.#membership.listed(listing);
      return !listed.filter((value) => typeOf(value) === type).some(this.#membership.test(other));
    }
    switch (type) {
      case 'number':
        return a.max < b.min || b.max < a.min;
      case 'string':
        return this.#strings.areDisjoint(a, b);
      case 'object':
        return [...a.required, ...b.required].some((name) =>
          this.#areDisjoint(memberSchemas(a, name), memberSchemas(b, name), depth),
        );
      case 'array': {
        if (a.minItems > b.maxItems || b.minItems > a.maxItems) return true;
        const sure = Math.min(Math.max(a.minItems, b.minItems), 8);
        return Array.from({ length: sure }).some((_, i) =>
          this.#areDisjoint(itemSchemas(a, i), itemSchemas(b, i), depth),
        );
      }
      default:
        return false;
    }
  }

  #areDisjoint(
    a: readonly SchemaNode[] | undefined,
    b: readonly SchemaNode[] | undefined,
    depth: number,
  ): boolean {
    if (!a || !b) return true;
    if (depth >= MAX_COMPARED_DEPTH) return false;
    const own = this.#reader.allIfKnown(a);
    const others = this.#reader.allIfKnown(b);
    if (!own || !others) return false;
    return own.every((x) =>
      others.every((y) =>
        [...x.types].every(
          (type) => !y.types.has(type) || this.#haveNothingInCommon(x, y, type, depth + 1),
        ),
      ),
    );
  }
}

function onlyType(facets: Facets, type: JsonType): Facets {
  return { ...facets, types: new Set([type]) };
}
