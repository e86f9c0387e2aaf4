import type { Expression } from '../expression.ts';
import type { Texts } from '../json-text.ts';
import type { SchemaDocument } from './document.ts';
import type { Facets } from './facets.ts';
import { MAX_DIVISOR } from './keywords.ts';
import type { Membership } from './membership.ts';

/** Makes expressions of what facets demand of numbers. */
export class Numbers {
  readonly #texts: Texts;
  readonly #document: SchemaDocument;
  readonly #membership: Membership;

  constructor(texts: Texts, document: SchemaDocument, membership: Membership) {
    this.#texts = texts;
    this.#document = document;
    this.#membership = membership;
  }

  /** The JSON texts. */
  json(facets: Facets): Expression {
    const { make } = this.#texts;
    const { integer, min, max, multipleOf, except } = facets;
    // Those of several schemas make a common multiple.
    if (multipleOf !== undefined && multipleOf > MAX_DIVISOR) {
      this.#document.refuse(facets.pointer, `multiples of ${multipleOf} are not supported`);
    }
    const text = this.#texts.number({ integer, min, max, multipleOf });
    const others = except.filter((other) => other.types.has('number'));
    if (others.length === 0) return text;
    const rest = others.map((other) => make.complement(this.#integers(other)));
    return make.lexeme(make.intersection(this.#safeIntegers(facets), ...rest));
  }

  /** The integers among them, as one of their texts each. */
  #integers(facets: Facets): Expression {
    const { make } = this.#texts;
    if (facets.values) {
      const listed = this.#membership.listed(facets);
      const numbers = listed.filter((value) => typeof value === 'number');
      return this.#texts.oneOf(numbers.map((value) => JSON.stringify(value)));
    }
    const others = facets.except.filter((other) => other.types.has('number'));
    const rest = others.map((other) => make.complement(this.#integers(other)));
    return make.intersection(this.#safeIntegers(facets), ...rest);
  }

  #safeIntegers({ min, max, multipleOf }: Facets): Expression {
    return this.#texts.number({
      integer: true,
      min: Math.max(min, Number.MIN_SAFE_INTEGER),
      max: Math.min(max, Number.MAX_SAFE_INTEGER),
      multipleOf,
    });
  }
}
