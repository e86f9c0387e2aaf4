import type { Encoding } from '../encoding.ts';
import type { Expression } from '../expression.ts';
import type { JsonText } from '../json-text.ts';
import { PatternError } from '../pattern.ts';
import type { SchemaDocument } from './document.ts';
import type { Facets } from './facets.ts';

/** Makes expressions of what facets demand of strings. */
export class Strings {
  readonly #json: JsonText;
  readonly #document: SchemaDocument;

  constructor(json: JsonText, document: SchemaDocument) {
    this.#json = json;
    this.#document = document;
  }

  /** The JSON texts. */
  json(facets: Facets): Expression {
    const { patterns, formats, except, minLength, maxLength } = facets;
    if (patterns.length + formats.length + except.length === 0) {
      return this.#json.anyString(minLength, maxLength);
    }
    return this.#json.string(this.texts(facets, this.#json.texts.json));
  }

  /** The texts in an encoding, without quotes. */
  texts(facets: Facets, encoding: Encoding): Expression {
    const { make } = this.#json.texts;
    const { values, minLength, maxLength, patterns, formats, except } = facets;
    if (values) {
      const isOne = this.test(facets);
      const texts = values.filter((value) => typeof value === 'string').filter(isOne);
      return this.#json.texts.oneOf(texts.map((text) => spelled(text, encoding)));
    }
    const parts = [...patterns, ...formats].map(({ source, pointer }) => {
      try {
        return this.#json.texts.pattern(source, encoding);
      } catch (error) {
        if (!(error instanceof PatternError)) throw error;
        return this.#document.refuse(pointer, `the pattern cannot be used: ${error.message}`);
      }
    });
    if (minLength > 0 || maxLength < Number.POSITIVE_INFINITY) {
      parts.push(make.repeat(encoding.anyCharacter, minLength, maxLength));
    }
    if (parts.length === 0) parts.push(encoding.text);
    for (const other of except) {
      if (other.types.has('string')) parts.push(make.complement(this.texts(other, encoding)));
    }
    return make.intersection(...parts);
  }

  /** Tells whether strings are what facets demand of them; `values` aside. */
  test(facets: Facets): (value: string) => boolean {
    let texts: Expression | undefined;
    return (value) => {
      texts ??= this.#sure(facets);
      return this.#json.texts.make.accepts(texts, value);
    };
  }

  /** Whether it is certain that no string belongs to both; `values` aside. */
  areDisjoint(a: Facets, b: Facets): boolean {
    const { make } = this.#json.texts;
    const before = make.givenUp;
    const common = make.intersection(this.#sure(a), this.#sure(b));
    return make.completion(common) === Number.POSITIVE_INFINITY && make.givenUp === before;
  }

  /** No format: what it is taken to be is a part of it, so that it cannot speak against a value. */
  #sure(facets: Facets): Expression {
    return this.texts({ ...facets, values: undefined, formats: [] }, this.#json.texts.raw);
  }
}

/** A text as an encoding spells it. */
export function spelled(text: string, { name }: Encoding): string {
  return name === 'json' ? JSON.stringify(text).slice(1, -1) : text;
}
