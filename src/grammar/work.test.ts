import { describe, expect, test } from 'vitest';
import type { Expression } from './expression.ts';
import { Expressions } from './expressions.ts';
import { JsonText, Texts } from './json-text.ts';
import { SchemaCompiler } from './schema/compiler.ts';
import { SchemaDocument } from './schema/document.ts';
import { TooMuchWork, Work } from './work.ts';

const count = (n: number) => Array.from({ length: n }, (_, i) => i);
const named = (n: number, schema: (i: number) => unknown) =>
  Object.fromEntries(count(n).map((i) => [`name_${i}`, schema(i)]));

/** The expressions that a schema makes, and what it is compiled to. */
function compiled(schema: unknown): { made: number; make: Expressions; value: Expression } {
  const make = new Expressions();
  const json = new JsonText(new Texts(make));
  const before = make.size;
  const document = new SchemaDocument(schema, 'the schema');
  const value = document.within(make.work, () => {
    const compiler = new SchemaCompiler(json, document, { inOrder: false });
    const value = compiler.value([document.root]);
    compiler.finish();
    return value;
  });
  return { made: make.size - before, make, value };
}

describe('what large schemas are compiled to', () => {
  test('ranges take some expressions for each digit of a bound', () => {
    for (const type of ['number', 'integer']) {
      const { made, make, value } = compiled({ type, minimum: -1.2e300, maximum: 9.8e300 });
      expect(made).toBeLessThan(10 * 301);
      const digits = (n: number) => '9'.repeat(n);
      expect(make.accepts(value, digits(300))).toBe(true);
      expect(make.accepts(value, `-${digits(300)}`)).toBe(true);
      expect(make.accepts(value, digits(301))).toBe(false);
      expect(make.accepts(value, `-${digits(301)}`)).toBe(false);
    }
  });

  test('values of an enum are one expression', () => {
    const { made, make, value } = compiled({ enum: count(5000).map((i) => `value ${i * 7}`) });
    // The rest is the memory that their texts take.
    expect(made).toBeLessThan(10 + (5000 * 13) / 64);
    expect(make.accepts(value, '"value 34993"')).toBe(true);
    for (const other of ['"value 34994"', '"value 3499"', '"value 349930"', '"value']) {
      expect(make.accepts(value, other)).toBe(false);
    }
  });

  test('so are constants of alternatives, wherever they stand', () => {
    for (const keyword of ['oneOf', 'anyOf']) {
      const values = count(500).map((i) => ({ const: `v${i}`, title: `${i}` }));
      const { made, make, value } = compiled({ [keyword]: [...values, { const: 'v7' }] });
      expect(made).toBeLessThan(10 + (500 * 6) / 64);
      expect(make.accepts(value, '"v499"')).toBe(true);
      // One of two that allow it is not one.
      expect(make.accepts(value, '"v7"')).toBe(keyword === 'anyOf');
    }
  });

  test('twice as many members, objects or properties make twice as many expressions', () => {
    const kinds: ((n: number) => unknown)[] = [
      (n) => ({ type: 'object', properties: named(n, () => ({ type: 'string' })) }),
      (n) => ({ type: 'object', required: Object.keys(named(n, () => 0)) }),
      (n) => ({
        oneOf: count(n).map((i) => ({
          type: 'object',
          properties: { kind: { const: `kind ${i}` }, text: { type: 'string' } },
          required: ['kind'],
        })),
      }),
      (n) => ({ type: 'array', prefixItems: count(n).map(() => ({ type: 'integer' })) }),
    ];
    for (const kind of kinds) {
      const [one, two] = [compiled(kind(80)).made, compiled(kind(160)).made];
      expect(two, JSON.stringify(kind(1))).toBeLessThan(2.3 * one);
    }
  });

  test('walking from member to member makes what is walked, and not each that could follow', () => {
    const { make, value } = compiled({
      type: 'object',
      properties: named(1000, () => ({ type: 'null' })),
      minProperties: 3,
    });
    const before = make.size;
    const text = '{"name_7":null,"name_77":null,"name_777":null';
    expect(make.accepts(value, `${text}}`)).toBe(true);
    expect(make.accepts(value, `${text.slice(0, 30)}}`)).toBe(false);
    expect(make.accepts(value, `${text},"name_77":null}`)).toBe(false);
    expect(make.size - before).toBeLessThan(4 * text.length);
  });
});

test('work that is granted is not exceeded, and what is left of it is left', () => {
  const work = new Work();
  work.spend(1e9);
  const done: number[] = [];
  const steps = (units: number) => {
    for (let i = 0; i < units; i++) {
      work.spend(1);
      done.push(i);
    }
  };
  expect(() => work.within(10, () => steps(11))).toThrow(TooMuchWork);
  expect(done).toHaveLength(10);
  work.within(10, () => {
    expect(() => work.within(20, () => steps(100))).toThrow(TooMuchWork);
    expect(() => work.spend(1)).toThrow(TooMuchWork);
  });
  expect(done).toHaveLength(20);
  work.within(10, () => {
    expect(() => work.within(4, () => work.spend(1000))).toThrow(TooMuchWork);
    steps(6);
  });
  expect(done).toHaveLength(26);
});
