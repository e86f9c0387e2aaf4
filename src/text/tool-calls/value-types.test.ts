import { describe, expect, it } from 'vitest';
import { type JsonType, jsonOfText, TypeReader, ValueWriter } from './value-types.ts';

const types = (schema: unknown, root: unknown = {}) =>
  [...new TypeReader(root).read(schema)].sort();

describe('types of a schema', () => {
  it.each([
    [{ type: 'integer' }, ['integer']],
    [{ type: ['string', 'null'] }, ['null', 'string']],
    [{ anyOf: [{ type: 'integer' }, { type: 'null' }] }, ['integer', 'null']],
    [{ oneOf: [{ type: 'array' }, { anyOf: [{ type: 'object' }] }] }, ['array', 'object']],
    [
      { allOf: [{ type: ['string', 'integer'] }, { type: 'integer' }, { minimum: 1 }] },
      ['integer'],
    ],
    [{ type: 'integer', nullable: true }, ['integer', 'null']],
    [{ enum: ['a', 'b'] }, ['string']],
    [{ enum: [1, 2.5, null] }, ['integer', 'null', 'number']],
    [{ const: true }, ['boolean']],
    [{ $ref: '#/$defs/Unit' }, ['string']],
    [{ anyOf: [{ $ref: '#/$defs/N~1a~0me' }, { type: 'null' }] }, ['array', 'null']],
    [{ $ref: '#/$defs/N~1a%7E0m%65' }, ['array']],
    [{ $ref: '#/$defs/List/anyOf/1' }, ['boolean']],
    [{ $ref: '#/$defs/%' }, ['string']],
    [{ $ref: '#/$defs/Loop' }, ['string']],
    [{ $ref: '#/$defs/missing' }, ['string']],
    [{ $ref: 'https://example.com/schema' }, ['string']],
    [{ description: 'any' }, ['string']],
    [{ type: 'varchar' }, ['string']],
    [{ allOf: [{ type: 'string' }, { type: 'integer' }] }, ['string']],
    [{ anyOf: [] }, ['string']],
    [true, ['string']],
    [undefined, ['string']],
  ])('%j', (schema, expected) => {
    const $defs = {
      Unit: { enum: ['celsius'] },
      'N/a~me': { type: 'array' },
      List: { anyOf: [{ type: 'null' }, { type: 'boolean' }] },
      Loop: { $ref: '#/$defs/Loop' },
    };
    expect(types(schema, { $defs })).toEqual(expected);
  });
});

describe('types of a hostile schema', () => {
  const chain = (length: number, link: (next: object) => object) => ({
    $ref: '#/$defs/d0',
    $defs: {
      ...Object.fromEntries(
        Array.from({ length }, (_, i) => [`d${i}`, link({ $ref: `#/$defs/d${i + 1}` })]),
      ),
      [`d${length}`]: { type: ['integer', 'null'] },
    },
  });
  const read = (schema: object) => [...new TypeReader(schema).read(schema)];

  it('are found, though there are 2^40 ways to them', () => {
    for (const keyword of ['anyOf', 'oneOf', 'allOf']) {
      const schema = chain(40, (next) => ({ [keyword]: [next, next] }));
      expect(read(schema)).toEqual(['null', 'integer']);
    }
  });

  it('are text, where they are too far away or nowhere', () => {
    expect(read(chain(50_000, (next) => next))).toEqual(['string']);
    const circle = { anyOf: [{ $ref: '#' }, { $ref: '#/anyOf/0' }] };
    expect(read(circle)).toEqual(['string']);
  });
});

describe('JSON text of a value', () => {
  it.each<[JsonType[], string, string]>([
    [['integer'], '42', '42'],
    [['integer'], ' -7\n', '-7'],
    [['integer'], '+7', '7'],
    [['integer'], '007', '7'],
    [['integer'], '9007199254740993', '9007199254740993'],
    [['integer'], '5.0', '5.0'],
    [['integer'], '5.5', '"5.5"'],
    [['integer'], 'ten', '"ten"'],
    [['integer'], '', '""'],
    [['integer'], 'null', '"null"'],
    [['number'], '1.5e-3', '1.5e-3'],
    [['number'], '.5', '0.5'],
    [['number'], '-5.', '-5.0'],
    [['number'], '1e+16', '1e+16'],
    [['number'], '3.14.15', '"3.14.15"'],
    [['number'], 'nan', '"nan"'],
    [['number'], '-', '"-"'],
    [['number'], '.', '"."'],
    [['boolean'], 'True', 'true'],
    [['boolean'], 'FALSE', 'false'],
    [['boolean'], '1', '"1"'],
    [['null', 'integer'], 'None', 'null'],
    [['null', 'integer'], 'null', 'null'],
    [['null', 'integer'], '3', '3'],
    [['string'], 'null', '"null"'],
    [['string'], ' 1 ', '" 1 "'],
    [['string', 'integer'], '1', '1'],
    [['string', 'integer'], ' a ', '" a "'],
    [['array'], "['a', \"it's\", None, (1)]", '"[\'a\', \\"it\'s\\", None, (1)]"'],
    [['array'], "['a', \"it's\", None]", '["a","it\'s",null]'],
    [['array'], '[1, 2, oops', '"[1, 2, oops"'],
    [['array'], '[1] x', '"[1] x"'],
    [['array'], '{"a": 1}', '"{\\"a\\": 1}"'],
    [['object'], '{"a": NaN}', '"{\\"a\\": NaN}"'],
    [['object'], "{'\\x41\\U0001F600': 'a\\nb'}", '{"\\u0041😀":"a\\nb"}'],
    [['object', 'array'], '[ ]', '[]'],
    [['object'], '{"a": {"b": 1, "b": 2}, "a": 3}', '{"a":{"b":1}}'],
    [['integer'], '-0012', '-12'],
    [['number'], '00.50', '0.50'],
    [['string', 'null'], ' null\n', 'null'],
    [['string', 'null'], 'nu ll', '"nu ll"'],
  ])('%j %j', (allowed, text, expected) => {
    expect(jsonOfText(text, new Set(allowed))).toBe(expected);
    expect(() => JSON.parse(expected)).not.toThrow();
  });
});

describe('a value that is written while it comes', () => {
  const pieces = (allowed: JsonType[], ...texts: string[]) => {
    const emitted: string[] = [];
    const writer = new ValueWriter(new Set(allowed), (json) => emitted.push(json));
    for (const text of texts) writer.write(text);
    writer.end();
    return emitted.filter((x) => x !== '');
  };

  it('is passed on at once when it is text', () => {
    expect(pieces(['string'], 'a\n', '"b')).toEqual(['"', 'a\\n', '\\"b', '"']);
  });

  it('waits until it cannot be null', () => {
    expect(pieces(['string', 'null'], 'n', 'u', 'x', 'y')).toEqual(['"nux', 'y', '"']);
    expect(pieces(['string', 'null'], 'nul', 'l')).toEqual(['null']);
    expect(pieces(['string', 'null'], 'Non', 'e', 'theless')).toEqual(['"Nonetheless', '"']);
    expect(pieces(['string', 'null'])).toEqual(['""']);
    expect(pieces(['string', 'null'], ' ', '\n', 'nu', ' ', ' l', 'l')).toEqual([
      '" \\nnu  l',
      'l',
      '"',
    ]);
    expect(pieces(['string', 'null'], ' ', 'None', ' ', '\n')).toEqual(['null']);
    expect(pieces(['null'], 'a', 'b')).toEqual(['"a', 'b', '"']);
  });

  it('waits for its end when it may be anything else', () => {
    expect(pieces(['string', 'integer'], '1', '2')).toEqual(['12']);
  });
});
