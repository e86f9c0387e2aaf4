import { isRecord } from '../../text/tool-calls/value-types.ts';
import type { Encoding } from '../encoding.ts';
import type { Expression, Rule } from '../expression.ts';
import type { JsonText } from '../json-text.ts';
import { AlternativeReader } from './alternatives.ts';
import { Arrays } from './arrays.ts';
import type { SchemaDocument, SchemaNode } from './document.ts';
import type { Facets, JsonType } from './facets.ts';
import { Membership } from './membership.ts';
import { Numbers } from './numbers.ts';
import { type ObjectMembers, Objects } from './objects.ts';
import { Strings } from './strings.ts';
import { Subtraction } from './subtraction.ts';

/** Different schemas that one document may lead to, intersections of its schemas included. */
const MAX_RULES = 4000;

/** Options of {@link SchemaCompiler}. */
export interface SchemaCompilerOptions {
  /** Whether members come in the order of the schema, those that it does not list last. */
  readonly inOrder: boolean;
}

/** What arrays and objects are compiled with: what their items and members need. */
export interface ValueContext {
  readonly json: JsonText;
  readonly document: SchemaDocument;
  readonly strings: Strings;
  readonly membership: Membership;
  readonly value: (nodes: readonly SchemaNode[]) => Expression;
  readonly alternatives: (nodes: readonly SchemaNode[]) => readonly Facets[];
}

/**
 * Makes expressions of JSON schemas: of the texts that the schema calls valid, or of some of them where
 * that is what is wanted (JSON without needless white space, objects with the listed members).
 */
export class SchemaCompiler {
  readonly #json: JsonText;
  readonly #document: SchemaDocument;
  readonly #reader: AlternativeReader;
  readonly #strings: Strings;
  readonly #membership: Membership;
  readonly #numbers: Numbers;
  readonly #arrays: Arrays;
  readonly #objects: Objects;
  readonly #rules = new Map<string, Rule>();
  readonly #waiting: (() => void)[] = [];

  constructor(json: JsonText, document: SchemaDocument, { inOrder }: SchemaCompilerOptions) {
    const strings = new Strings(json, document);
    const membership = new Membership(document, strings);
    const reader: AlternativeReader = new AlternativeReader(document, (from, other, pointer) =>
      subtraction.subtract(from, other, pointer),
    );
    const subtraction = new Subtraction(document, strings, membership, reader);
    const value = (nodes: readonly SchemaNode[]) => this.value(nodes);
    const alternatives = (nodes: readonly SchemaNode[]) => this.alternatives(nodes);
    const context = { json, document, strings, membership, value, alternatives };
    this.#json = json;
    this.#document = document;
    this.#reader = reader;
    this.#strings = strings;
    this.#membership = membership;
    this.#numbers = new Numbers(json.texts, document, membership);
    this.#arrays = new Arrays(context);
    this.#objects = new Objects(context, inOrder);
  }

  /** What a value that matches all of some schemas must be. */
  alternatives(nodes: readonly SchemaNode[]): readonly Facets[] {
    return this.#reader.all(nodes);
  }

  /** The JSON texts of values that match all of some schemas. {@link finish} has to follow. */
  value(nodes: readonly SchemaNode[]): Expression {
    const telling = nodes.filter((node) => !isTrivial(node));
    if (telling.length === 0) return this.#json.any;
    const key = telling
      .map((node) => node.pointer)
      .sort()
      .join('\n');
    let rule = this.#rules.get(key);
    if (!rule) {
      if (this.#rules.size >= MAX_RULES) {
        this.#document.refuse(telling[0]!.pointer, `the schema has more than ${MAX_RULES} parts`);
      }
      rule = this.#json.texts.make.rule();
      this.#rules.set(key, rule);
      const made = rule;
      this.#waiting.push(() => {
        made.definition = this.values(this.alternatives(telling));
      });
    }
    return rule;
  }

  /** Compiles what the values so far are made of. To be called once, after the last one. */
  finish(): void {
    for (let next = this.#waiting.shift(); next; next = this.#waiting.shift()) next();
    this.#json.texts.make.settle([...this.#rules.values()]);
  }

  /** The JSON texts of the values of alternatives. */
  values(list: readonly Facets[]): Expression {
    // Values of all alternatives together, for there may be a constant in each of hundreds.
    const fixed = list.filter(({ values }) => values);
    const texts = fixed.flatMap((facets) =>
      this.#membership.listed(facets).map((value) => JSON.stringify(value)),
    );
    const others = list.filter(({ values }) => !values).map((facets) => this.#value(facets));
    return this.#json.texts.make.alternatives(this.#json.oneOf(texts), ...others);
  }

  /** The members that an object may have. */
  members(facets: Facets): ObjectMembers {
    return this.#objects.members(facets);
  }

  /** The texts of strings in an encoding, without quotes. */
  strings(facets: Facets, encoding: Encoding): Expression {
    return this.#strings.texts(facets, encoding);
  }

  #value(facets: Facets): Expression {
    const { types, typed, mentioned } = facets;
    const anyType = typed || mentioned.size === 0;
    const meant = [...types].filter((type) => anyType || mentioned.has(type));
    const { make } = this.#json.texts;
    return make.alternatives(...meant.map((type) => this.#ofType(facets, type)));
  }

  #ofType(facets: Facets, type: JsonType): Expression {
    const json = this.#json;
    switch (type) {
      case 'null':
        return json.oneOf(['null']);
      case 'boolean':
        return json.oneOf(facets.booleans.map((value) => `${value}`));
      case 'number':
        return this.#numbers.json(facets);
      case 'string':
        return this.#strings.json(facets);
      case 'array':
        return this.#arrays.json(facets);
      case 'object':
        return this.#objects.json(facets);
    }
  }
}

/** Whether a schema demands nothing. */
function isTrivial({ schema }: SchemaNode): boolean {
  return schema === true || (isRecord(schema) && Object.keys(schema).length === 0);
}
