import type { SchemaDocument } from './document.ts';
import { type Facets, isAnyContainer, isNumberOf, typeOf, valueKey } from './facets.ts';
import type { Strings } from './strings.ts';

/** Tells which values are what facets demand. */
export class Membership {
  readonly #document: SchemaDocument;
  readonly #strings: Strings;

  constructor(document: SchemaDocument, strings: Strings) {
    this.#document = document;
    this.#strings = strings;
  }

  /**
   * Tells whether values are what facets demand. Throws where that cannot be told: for arrays and objects
   * of which more is demanded than to be such.
   */
  test(facets: Facets): (value: unknown) => boolean {
    const keys = facets.values && new Set(facets.values.map(valueKey));
    const rest = { ...facets, values: undefined };
    const excluded = facets.except.map((other) => this.test(other));
    const isString = this.#strings.test(facets);
    return (value) => {
      const type = typeOf(value);
      if (!facets.types.has(type) || (keys && !keys.has(valueKey(value)))) return false;
      switch (type) {
        case 'string':
          return isString(value as string);
        case 'number':
          return isNumberOf(facets, value as number) && !excluded.some((test) => test(value));
        case 'boolean':
          return facets.booleans.includes(value as boolean);
        case 'null':
          return true;
        default:
          if (isAnyContainer(rest, type)) return true;
          return this.#document.refuse(
            facets.pointer,
            `an ${type} as a fixed value is not supported together with other demands on ${type}s`,
          );
      }
    };
  }

  /** Those of the listed values that are what the rest of the facets demands. */
  listed(facets: Facets): readonly unknown[] {
    return facets.values!.filter(this.test({ ...facets, values: undefined }));
  }
}
