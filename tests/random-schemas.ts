/** Random JSON schemas with values that they call valid. */
import type { Random } from '../kernels-test/random.ts';

type Json = Record<string, unknown>;

/** A schema, and a maker of values that are valid; `undefined`: it could not think of one. */
export interface SchemaCase {
  readonly schema: Json | boolean;
  readonly sample: () => unknown;
}

/** Patterns, each with texts that it finds something in, of 2 to 12 characters. */
const PATTERNS: readonly [string, readonly string[]][] = [
  ['^[a-z]+$', ['ab', 'xyzzy']],
  ['^\\d{2,4}(-\\d+)?$', ['12', '1234-5']],
  ['\\d', ['a1', 'Ä 9 "\\']],
  ['^[A-Z][\\w ]*$', ['A b', 'Z_9']],
  ['é|ß$', ['aß', 'éa']],
  ['^[^"\\\\]{2,}$', ['ab', "it's\n"]],
  ['(^|, )ok(,|$)', ['ok', 'a, ok']],
  ['^(?:0x[0-9a-f]+|#\\w{3})$', ['0x1f', '#abc']],
  ['^\\S+\\s\\S+$', ['a b', 'é\u00a0ü']],
  ['^.{2,5}$', ['😀😀', 'a"b']],
  ['^\\p{Lu}', ['Éa', 'Aa']],
];

export const formatChecks: Readonly<Record<string, (text: string) => boolean>> = {
  date: (text) => /^\d{4}-\d\d-\d\d$/.test(text) && isDay(text),
  time: (text) => isTime(text),
  'date-time': (text) => text[10] === 'T' && isDay(text.slice(0, 10)) && isTime(text.slice(11)),
  email: (text) => /^[^\s@]+@[^\s@.]+(\.[^\s@.]+)+$/.test(text) && !text.includes('..'),
  uuid: (text) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text),
  ipv4: (text) => {
    const parts = text.split('.');
    return (
      parts.length === 4 && parts.every((part) => `${Number(part)}` === part && Number(part) < 256)
    );
  },
  ipv6: (text) => URL.canParse(`http://[${text}]/`) && !text.includes('.'),
  uri: (text) => URL.canParse(text),
  'uri-reference': (text) => URL.canParse(text, 'http://example.com/') && !/[\s<>"]/.test(text),
  duration: (text) =>
    /^P(?!$)(?:\d+W|(?:\d+Y)?(?:\d+M)?(?:\d+D)?(?:T(?=\d)(?:\d+H)?(?:\d+M)?(?:\d+S)?)?)$/.test(
      text,
    ),
  'json-pointer': (text) => /^(?:\/(?:[^~/]|~0|~1)*)*$/.test(text),
  hostname: (text) => text.split('.').every((label) => /^(?!-)[a-z0-9-]{1,63}(?<!-)$/i.test(label)),
};

const FORMAT_SAMPLES: Readonly<Record<string, readonly string[]>> = {
  date: ['2024-02-28', '1999-12-31'],
  time: ['23:59:59Z', '00:00:00.5+01:30'],
  'date-time': ['2024-02-28T12:00:00Z'],
  email: ['a.b+c@example.co.uk'],
  uuid: ['01234567-89ab-cdef-0123-456789ABCDEF'],
  ipv4: ['127.0.0.1', '255.255.255.255'],
  ipv6: ['::1', '2001:db8::ff00:42:8329', '1:2:3:4:5:6:7:8', 'fe80::'],
  uri: ['https://example.com/a?b=c#d', 'mailto:a@b.de'],
  hostname: ['example.com', 'localhost'],
};

function isDay(text: string): boolean {
  const day = new Date(`${text}T00:00:00Z`);
  return !Number.isNaN(day.getTime()) && day.toISOString().startsWith(text);
}

function isTime(text: string): boolean {
  const found = /^(\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:Z|[+-](\d\d):(\d\d))$/.exec(text);
  if (!found) return false;
  const [hour, minute, second, zoneHour = 0, zoneMinute = 0] = found
    .slice(1)
    .map((x) => Number(x ?? 0));
  return hour! < 24 && minute! < 60 && second! < 60 && zoneHour < 24 && zoneMinute < 60;
}

const NAMES = ['a', 'b', 'name', 'nam', 'Größe', 'with space', 'quote"d', 'x_1', '$id2', 'kind'];

export class RandomSchemas {
  readonly #random: Random;
  /** Named schemas that others may refer to. */
  #definitions: Map<string, SchemaCase> = new Map();

  constructor(random: Random) {
    this.#random = random;
  }

  /** A whole schema, an object at its root or not. */
  root(kind: 'object' | 'any' = 'any'): SchemaCase {
    this.#definitions = new Map();
    const definitions: Json = {};
    for (const name of ['one', 'two~/ %']) {
      if (this.#chance(0.5)) continue;
      const made = this.#object(1);
      this.#definitions.set(name, made);
      definitions[name] = made.schema;
    }
    const { schema, sample } = kind === 'object' ? this.#object(2) : this.#any(3);
    if (typeof schema === 'boolean' || Object.keys(definitions).length === 0) {
      return { schema, sample };
    }
    return { schema: { ...schema, $defs: definitions, title: 'a schema', examples: [1] }, sample };
  }

  #any(depth: number): SchemaCase {
    const kind = this.#random.below(depth > 0 ? 22 : 11);
    if (kind < 4) return this.#string();
    if (kind < 7) return this.#number();
    if (kind === 7) return { schema: { type: 'boolean' }, sample: () => this.#chance(0.5) };
    if (kind === 8) return this.#listed();
    if (kind === 9) return this.#few();
    if (kind === 10) return this.#reference();
    if (kind < 16) return this.#object(depth - 1);
    if (kind < 19) return this.#array(depth - 1);
    return this.#combined(depth - 1);
  }

  #string(): SchemaCase {
    const random = this.#random;
    switch (random.below(7)) {
      case 0:
        return { schema: { type: 'string' }, sample: () => this.#text(0, 8) };
      case 1: {
        const minLength = random.below(4);
        const maxLength = minLength + random.below(5);
        const schema = { type: 'string', minLength, maxLength };
        return { schema, sample: () => this.#text(minLength, maxLength) };
      }
      case 2: {
        const [pattern, texts] = this.#pick(PATTERNS);
        return { schema: { type: 'string', pattern }, sample: () => this.#pick(texts) };
      }
      case 3: {
        const [pattern, texts] = this.#pick(PATTERNS);
        const schema = { type: 'string', pattern, minLength: 2, maxLength: 12 };
        return { schema, sample: () => this.#pick(texts) };
      }
      case 4: {
        const format = this.#pick(Object.keys(FORMAT_SAMPLES));
        const schema = { type: 'string', format };
        return { schema, sample: () => this.#pick(FORMAT_SAMPLES[format]!) };
      }
      case 5: {
        const schema = { type: 'string', not: { enum: ['no', 'a', 'n\no'] }, maxLength: 6 };
        const sample = () => this.#text(2, 6);
        return {
          schema,
          sample: () => (schema.not.enum.includes(sample()) ? undefined : sample()),
        };
      }
      default: {
        const schema = { minLength: 1, pattern: '^[ab]*$', description: 'no type' };
        return { schema, sample: () => 'abba' };
      }
    }
  }

  #number(): SchemaCase {
    const random = this.#random;
    const low = random.below(2000) - 1000;
    const high = low + random.below(500);
    switch (random.below(6)) {
      case 0:
        return { schema: { type: 'integer' }, sample: () => random.below(1e9) - 5e8 };
      case 1: {
        const schema = { type: 'integer', minimum: low, exclusiveMaximum: high + 1 };
        return { schema, sample: () => low + random.below(high - low + 1) };
      }
      case 2: {
        const divisor = 1 + random.below(30);
        const schema = { type: 'integer', multipleOf: divisor, minimum: low };
        return { schema, sample: () => Math.ceil(low / divisor + random.below(20)) * divisor || 0 };
      }
      case 3:
        return {
          schema: { type: 'number' },
          sample: () => this.#pick([0, -1.5, 1e21, 3.25e-7, 42]),
        };
      case 4: {
        const minimum = low / 8;
        const maximum = minimum + 1 + (high - low) / 7;
        const schema = { type: 'number', exclusiveMinimum: minimum, maximum };
        const sample = () => Number((minimum + random.unit() * (maximum - minimum)).toFixed(6));
        return { schema, sample: () => inside(sample(), minimum, maximum) };
      }
      default: {
        const schema = { type: 'number', minimum: -0.1, exclusiveMaximum: 0.3 };
        return { schema, sample: () => this.#pick([-0.1, 0, 0.1, 0.2, 0.29999]) };
      }
    }
  }

  #listed(): SchemaCase {
    const values = [null, true, 'x', 'xy', 'quote"', 7, -0.5, ['a', 1], { k: null }];
    const chosen = values.filter(() => this.#chance(0.4));
    if (chosen.length === 0) return { schema: { const: 'only' }, sample: () => 'only' };
    return { schema: { enum: chosen }, sample: () => this.#pick(chosen) };
  }

  #few(): SchemaCase {
    const type = ['integer', 'null', 'boolean'].filter(() => this.#chance(0.6));
    if (type.length === 0) {
      const schema = { type: 'string', nullable: true, maxLength: 3 };
      return { schema, sample: () => (this.#chance(0.5) ? null : 'abc') };
    }
    const values: Json = { integer: 17, null: null, boolean: false };
    return { schema: { type }, sample: () => values[this.#pick(type)] };
  }

  #reference(): SchemaCase {
    const names = [...this.#definitions.keys()];
    if (names.length === 0) return { schema: true, sample: () => ({ any: ['thing', 1, {}] }) };
    const name = this.#pick(names);
    const pointer = name.replaceAll('~', '~0').replaceAll('/', '~1');
    return {
      schema: { $ref: `#/$defs/${encodeURIComponent(pointer)}` },
      sample: () => this.#definitions.get(name)!.sample(),
    };
  }

  #array(depth: number): SchemaCase {
    const random = this.#random;
    const item = this.#any(depth);
    const minItems = random.below(3);
    const maxItems = minItems + random.below(3);
    const list = (count: number, one: SchemaCase = item) =>
      whole(Array.from({ length: count }, () => one.sample()));
    switch (random.below(4)) {
      case 0:
        return {
          schema: { type: 'array', items: item.schema, minItems, maxItems },
          sample: () => list(minItems + random.below(maxItems - minItems + 1)),
        };
      case 1: {
        const first = this.#any(0);
        const schema = {
          type: 'array',
          prefixItems: [first.schema],
          items: item.schema,
          maxItems: 3,
        };
        const sample = () => {
          const [head, tail] = [first.sample(), list(random.below(3))];
          return head === undefined || !tail ? undefined : [head, ...tail];
        };
        return { schema, sample };
      }
      case 2: {
        const values = ['x', 'y', 1, null];
        const schema = { type: 'array', items: { enum: values }, uniqueItems: true, minItems: 1 };
        const sample = () =>
          random
            .permutation(4)
            .slice(random.below(4))
            .map((i) => values[i]);
        return { schema, sample };
      }
      default:
        return {
          schema: { type: 'array', items: item.schema },
          sample: () => list(random.below(3)),
        };
    }
  }

  #object(depth: number): SchemaCase {
    const names = NAMES.filter(() => this.#chance(0.3)).slice(0, 4);
    const members = names.map((name) => ({
      name,
      value: this.#any(depth),
      required: this.#chance(0.5),
    }));
    const schema: Json = {
      type: 'object',
      properties: Object.fromEntries(members.map(({ name, value }) => [name, value.schema])),
    };
    const required = members.filter((member) => member.required).map(({ name }) => name);
    if (required.length > 0) schema.required = required;
    let other: SchemaCase | undefined;
    const others = this.#random.below(4);
    if (others === 0) schema.additionalProperties = false;
    if (others === 1) {
      other = this.#chance(0.3) ? { schema: true, sample: () => [{}] } : this.#any(0);
      schema.additionalProperties = other.schema;
      if (this.#chance(0.3)) schema.propertyNames = { pattern: '^[\\w "$öß]+$' };
    }
    if (this.#chance(0.1)) schema.maxProperties = required.length + 1;
    if (this.#chance(0.1) && names.length > required.length)
      schema.minProperties = required.length + 1;
    const sample = () => {
      const value: Json = {};
      for (const { name, value: member, required } of members) {
        if (!required && this.#chance(0.5) && !('minProperties' in schema)) continue;
        if ('maxProperties' in schema && !required) continue;
        const made = member.sample();
        if (made !== undefined) value[name] = made;
        else if (required) return undefined;
      }
      if (other && this.#chance(0.5) && !('maxProperties' in schema)) {
        const made = other.sample();
        if (made !== undefined) value.other_1 = made;
      }
      return value;
    };
    return { schema, sample };
  }

  #combined(depth: number): SchemaCase {
    const random = this.#random;
    switch (random.below(5)) {
      case 0: {
        const options = [this.#any(depth), this.#any(depth)];
        return {
          schema: { anyOf: options.map(({ schema }) => schema) },
          sample: () => this.#pick(options).sample(),
        };
      }
      case 1: {
        const options = ['cat', 'dog', 'cow'].map((kind) => {
          const { schema, sample } = this.#object(depth);
          const { properties, required = [] } = schema as { properties: Json; required?: string[] };
          return {
            schema: {
              type: 'object',
              properties: { kind: { const: kind }, ...omit(properties, 'kind') },
              required: [...new Set(['kind', ...required])],
            },
            sample: () => {
              const value = sample() as Json | undefined;
              return value && { kind, ...pickKeys(omit(value, 'kind'), Object.keys(properties)) };
            },
          };
        });
        return {
          schema: { oneOf: options.map(({ schema }) => schema) },
          sample: () => this.#pick(options).sample(),
        };
      }
      case 2: {
        const [a, b] = [this.#object(depth), this.#string()];
        const schema = {
          allOf: [
            { type: 'object', properties: { p: a.schema }, required: ['p'] },
            { properties: { q: b.schema } },
          ],
        };
        const sample = () => {
          const [p, q] = [a.sample(), b.sample()];
          return p === undefined ? undefined : q === undefined ? { p } : { p, q };
        };
        return { schema, sample };
      }
      case 3: {
        const low = random.below(20);
        const schema = {
          type: 'integer',
          minimum: 0,
          maximum: 200,
          oneOf: [{ multipleOf: 3 }, { minimum: low * 2 }],
        };
        const value = random.below(200);
        const sample = () => ((value % 3 === 0) !== value >= low * 2 ? value : undefined);
        return { schema, sample };
      }
      default: {
        const schema = {
          type: ['string', 'null', 'boolean'],
          oneOf: [{ pattern: '^a', type: 'string' }, { maxLength: 3 }],
        };
        return { schema, sample: () => this.#pick(['abcde', 'bcd', '', null, false]) };
      }
    }
  }

  #text(min: number, max: number): string {
    const characters = [...'ab cXYZ019_-."\\/\n\téß日😀<>{}'];
    const length = min + this.#random.below(max - min + 1);
    return Array.from({ length }, () => this.#pick(characters)).join('');
  }

  #chance(probability: number): boolean {
    return this.#random.unit() < probability;
  }

  #pick<T>(values: readonly T[]): T {
    return values[this.#random.below(values.length)]!;
  }
}

function inside(value: number, above: number, max: number): number | undefined {
  return value > above && value <= max ? value : undefined;
}

function whole(values: unknown[]): unknown[] | undefined {
  return values.includes(undefined) ? undefined : values;
}

function omit(value: Json, name: string): Json {
  return Object.fromEntries(Object.entries(value).filter(([key]) => key !== name));
}

function pickKeys(value: Json, names: readonly string[]): Json {
  return Object.fromEntries(Object.entries(value).filter(([key]) => names.includes(key)));
}
