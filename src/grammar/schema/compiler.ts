import { isRecord } from '../../text/tool-calls/value-types.ts';
import type { Encoding } from '../encoding.ts';
import type { Expression, Rule } from '../expression.ts';
import type { Expressions } from '../expressions.ts';
import type { JsonText } from '../json-text.ts';
import { PatternError } from '../pattern.ts';
import { AlternativeReader } from './alternatives.ts';
import type { SchemaDocument, SchemaNode } from './document.ts';
import {
  type Facets,
  isAnyContainer,
  isNumberOf,
  itemSchemas,
  type JsonType,
  memberSchemas,
  typeOf,
  valueKey,
} from './facets.ts';

/** Different schemas that one document may lead to, intersections of its schemas included. */
const MAX_RULES = 4000;
/** Values of items that must differ from each other. */
const MAX_DIFFERENT = 64;
/** Properties and items that are compared to see that two schemas have nothing in common. */
const MAX_COMPARED_DEPTH = 3;

/** Options of {@link SchemaCompiler}. */
export interface SchemaCompilerOptions {
  /** Whether members come in the order of the schema, those that it does not list last. */
  readonly inOrder: boolean;
}

/** The members of an object: the schemas of each. */
export interface ObjectMembers {
  /** `nodes` is `undefined` where no value is allowed. */
  readonly listed: readonly {
    readonly name: string;
    readonly nodes: readonly SchemaNode[] | undefined;
    readonly required: boolean;
  }[];
  /** Of all other members; `undefined`: there are none. */
  readonly others: readonly SchemaNode[] | undefined;
}

/**
 * Makes expressions of JSON schemas: of the texts that the schema calls valid, or of some of them where
 * that is what is wanted (JSON without needless white space, objects with the listed members).
 */
export class SchemaCompiler {
  readonly #make: Expressions;
  readonly #json: JsonText;
  readonly #document: SchemaDocument;
  readonly #inOrder: boolean;
  readonly #reader: AlternativeReader;
  readonly #rules = new Map<string, Rule>();
  readonly #waiting: (() => void)[] = [];

  constructor(json: JsonText, document: SchemaDocument, { inOrder }: SchemaCompilerOptions) {
    this.#make = json.texts.make;
    this.#json = json;
    this.#document = document;
    this.#inOrder = inOrder;
    this.#reader = new AlternativeReader(document, (from, other, pointer) =>
      this.#subtract(from, other, pointer),
    );
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
      rule = this.#make.rule();
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
    this.#make.settle([...this.#rules.values()]);
  }

  /** The JSON texts of the values of alternatives. */
  values(list: readonly Facets[]): Expression {
    return this.#make.alternatives(...list.map((facets) => this.#value(facets)));
  }

  /** The members that an object may have. Others than the listed ones only where a schema wants them. */
  members(facets: Facets): ObjectMembers {
    const { objects, closed } = facets;
    const required = new Set(facets.required);
    const names = new Set(objects.flatMap(({ properties }) => [...properties.keys()]));
    const listed = [...new Set([...names, ...required])].map((name) => ({
      name,
      nodes: this.#isName(facets, name) ? memberSchemas(facets, name) : undefined,
      required: required.has(name),
    }));
    const said = objects.flatMap(({ additional }) => additional ?? []);
    const tooFew = facets.minProperties > listed.filter(({ nodes }) => nodes).length;
    const free = said.length > 0 || objects.length + required.size === 0 || tooFew;
    const mayHaveOthers = free && !closed && !said.some((node) => node.schema === false);
    return {
      listed: listed.filter(({ nodes, required }) => nodes || required),
      others: mayHaveOthers ? said : undefined,
    };
  }

  /** The texts of strings, without quotes. */
  strings(facets: Facets, encoding: Encoding): Expression {
    const make = this.#make;
    const { values, minLength, maxLength, patterns, formats, except } = facets;
    if (values) {
      const texts = this.#listed(facets).filter((value) => typeof value === 'string');
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
      if (other.types.has('string')) parts.push(make.complement(this.strings(other, encoding)));
    }
    return make.intersection(...parts);
  }

  #value(facets: Facets): Expression {
    const json = this.#json;
    const types = [...facets.types].filter(
      (type) =>
        facets.typed || facets.values || facets.mentioned.size === 0 || facets.mentioned.has(type),
    );
    if (facets.values) {
      return json.oneOf(this.#listed(facets).map((value) => JSON.stringify(value)));
    }
    return this.#make.alternatives(...types.map((type) => this.#ofType(facets, type)));
  }

  #ofType(facets: Facets, type: JsonType): Expression {
    const json = this.#json;
    switch (type) {
      case 'null':
        return json.oneOf(['null']);
      case 'boolean':
        return json.oneOf(facets.booleans.map((value) => `${value}`));
      case 'number':
        return this.#number(facets);
      case 'string':
        return this.#string(facets);
      case 'array':
        return this.#array(facets);
      case 'object':
        return this.#object(facets);
    }
  }

  #number(facets: Facets): Expression {
    const make = this.#make;
    const { integer, min, max, multipleOf, except } = facets;
    if (multipleOf !== undefined && multipleOf > 1e9) {
      this.#document.refuse(facets.pointer, `multiples of ${multipleOf} are not supported`);
    }
    const text = this.#json.texts.number({ integer, min, max, multipleOf });
    const others = except.filter((other) => other.types.has('number'));
    if (others.length === 0) return text;
    const refused = others.map((other) => this.#excludedIntegers(other));
    const safe = this.#json.texts.number({
      integer: true,
      min: Math.max(min, Number.MIN_SAFE_INTEGER),
      max: Math.min(max, Number.MAX_SAFE_INTEGER),
      multipleOf,
    });
    return make.lexeme(make.intersection(safe, ...refused.map((other) => make.complement(other))));
  }

  #excludedIntegers(facets: Facets): Expression {
    if (facets.values) {
      const numbers = this.#listed(facets).filter((value) => typeof value === 'number');
      return this.#json.texts.oneOf(numbers.map((value) => JSON.stringify(value)));
    }
    const { min, max, multipleOf } = facets;
    const text = this.#json.texts.number({
      integer: true,
      min: Math.max(min, Number.MIN_SAFE_INTEGER),
      max: Math.min(max, Number.MAX_SAFE_INTEGER),
      multipleOf,
    });
    const others = facets.except.filter((other) => other.types.has('number'));
    return this.#make.intersection(
      text,
      ...others.map((other) => this.#make.complement(this.#excludedIntegers(other))),
    );
  }

  #string(facets: Facets): Expression {
    const { patterns, formats, except, minLength, maxLength } = facets;
    if (patterns.length + formats.length + except.length === 0) {
      return this.#json.anyString(minLength, maxLength);
    }
    return this.#json.string(this.strings(facets, this.#json.texts.json));
  }

  #array(facets: Facets): Expression {
    const { minItems, unique, arrays } = facets;
    let { maxItems } = facets;
    const listed = Math.max(0, ...arrays.map(({ first }) => first.length));
    const first: Expression[] = [];
    for (let i = 0; i < listed && i < maxItems; i++) {
      const nodes = itemSchemas(facets, i);
      if (nodes) first.push(this.value(nodes));
      else maxItems = i;
    }
    const nodes = itemSchemas(facets, listed);
    if (!nodes) maxItems = Math.min(maxItems, listed);
    if (unique && maxItems > 1) {
      if (listed > 0) this.#refuseUnique(facets);
      return this.#json.arrayOfDifferent(this.#fewValues(facets, nodes ?? []), minItems, maxItems);
    }
    const rest = nodes ? this.value(nodes) : this.#make.empty;
    return this.#json.array(minItems, maxItems, first, rest);
  }

  /** The JSON texts of values that are so few that they can be listed. */
  #fewValues(array: Facets, nodes: readonly SchemaNode[]): readonly string[] {
    const values = new Set<string>();
    for (const facets of this.alternatives(nodes)) {
      for (const value of this.#allValues(facets) ?? this.#refuseUnique(array)) {
        if (typeof value === 'object' && value !== null) this.#refuseUnique(array);
        values.add(JSON.stringify(value));
      }
    }
    if (values.size > MAX_DIFFERENT) this.#refuseUnique(array);
    return [...values];
  }

  /** All values there are, where they are few. */
  #allValues(facets: Facets): readonly unknown[] | undefined {
    if (facets.values) return this.#listed(facets);
    const values: unknown[] = [];
    for (const type of facets.types) {
      if (type === 'null') values.push(null);
      else if (type === 'boolean') values.push(...facets.booleans);
      else return undefined;
    }
    return values;
  }

  #refuseUnique(facets: Facets): never {
    this.#document.refuse(
      `${facets.pointer}/uniqueItems`,
      `it is supported for items that are one of up to ${MAX_DIFFERENT} values (enum of scalars)`,
    );
  }

  #object(facets: Facets): Expression {
    const json = this.#json;
    const { listed, others } = this.members(facets);
    // Names that are not fixed may repeat: only one of them is sure to be new.
    const different = listed.filter(({ nodes }) => nodes).length + 1;
    if (others && facets.minProperties > different) {
      this.#document.refuse(
        `${facets.pointer}/minProperties`,
        `it is supported up to one more than the listed properties, here ${different}`,
      );
    }
    const members = listed.map(({ name, nodes, required }) =>
      nodes && json.permits(JSON.stringify(name))
        ? { name: json.fixedName(name), value: json.value(this.value(nodes)), required }
        : { name: this.#make.empty, value: this.#make.empty, required },
    );
    const names = listed.map(({ name }) => name);
    return json.object({
      members,
      other: others && this.#otherMember(facets, names, others),
      inOrder: this.#inOrder,
      min: facets.minProperties,
      max: facets.maxProperties,
    });
  }

  #otherMember(
    facets: Facets,
    listed: readonly string[],
    nodes: readonly SchemaNode[],
  ): Expression {
    const make = this.#make;
    const { texts } = this.#json;
    let name = make.complement(texts.oneOf(listed.map((text) => spelled(text, texts.json))));
    name = make.intersection(texts.json.text, name);
    if (facets.names.length > 0) {
      const lists = this.alternatives(facets.names).filter((other) => other.types.has('string'));
      const allowed = lists.map((other) => this.strings(other, texts.json));
      name = make.intersection(name, make.alternatives(...allowed));
    }
    return this.#json.member(this.#json.name(name), this.value(nodes));
  }

  #isName(facets: Facets, name: string): boolean {
    return (
      facets.names.length === 0 ||
      this.alternatives(facets.names).some(
        (other) => other.types.has('string') && this.#test(other)(name),
      )
    );
  }

  /** Those of the listed values that are what the rest of the facets demands. */
  #listed(facets: Facets): readonly unknown[] {
    return facets.values!.filter(this.#test({ ...facets, values: undefined }));
  }

  /** Tells whether values are what facets demand. */
  #test(facets: Facets): (value: unknown) => boolean {
    const keys = facets.values && new Set(facets.values.map(valueKey));
    const rest = { ...facets, values: undefined };
    const excluded = facets.except.map((other) => this.#test(other));
    let strings: Expression | undefined;
    return (value) => {
      const type = typeOf(value);
      if (!facets.types.has(type) || (keys && !keys.has(valueKey(value)))) return false;
      switch (type) {
        case 'string':
          // What a format is taken to be is a part of it, so that it cannot speak against a value.
          strings ??= this.strings({ ...rest, formats: [] }, this.#json.texts.raw);
          return this.#make.accepts(strings, value as string);
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

  /** Takes away from one alternative what belongs to another one; `undefined` when nothing is left. */
  #subtract(from: Facets, other: Facets, pointer: string): Facets | undefined {
    if (from.values) {
      const belongs = this.#test(other);
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
      const values = this.#listed(listing).filter((value) => typeOf(value) === type);
      return !values.some(this.#test(other));
    }
    switch (type) {
      case 'number':
        return a.max < b.min || b.max < a.min;
      case 'string':
        return this.#areDisjointStrings(a, b);
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

  #areDisjointStrings(a: Facets, b: Facets): boolean {
    const make = this.#make;
    const { raw } = this.#json.texts;
    const before = make.givenUp;
    const common = make.intersection(
      this.strings({ ...a, formats: [] }, raw),
      this.strings({ ...b, formats: [] }, raw),
    );
    return make.completion(common) === Number.POSITIVE_INFINITY && make.givenUp === before;
  }
}

/** Whether a schema demands nothing. */
function isTrivial({ schema }: SchemaNode): boolean {
  return schema === true || (isRecord(schema) && Object.keys(schema).length === 0);
}

/** A text as an encoding spells it. */
function spelled(text: string, { name }: Encoding): string {
  return name === 'json' ? JSON.stringify(text).slice(1, -1) : text;
}

function onlyType(facets: Facets, type: JsonType): Facets {
  return { ...facets, types: new Set([type]) };
}
