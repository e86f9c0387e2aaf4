import { readFileSync } from 'node:fs';
import { describe, expect, test, vi } from 'vitest';
import { Random } from '../../kernels-test/random.ts';
import { randomWalk } from '../../tests/constrained-walk.ts';
import { MowgliError } from '../errors.ts';
import type { TokenConstraint } from '../generate/constraint.ts';
import { Tokenizer } from '../text/tokenizer.ts';
import { Grammars } from './grammars.ts';
import type { ConstraintRequest } from './request.ts';
import { Work } from './work.ts';

const tokenizer = Tokenizer.parse(readFileSync('models/tiny-coder/tokenizer.json', 'utf8'));
const endTokens = [tokenizer.idOf('<|im_end|>')!];

const count = (n: number) => Array.from({ length: n }, (_, i) => i);
const named = (n: number, schema: (i: number) => unknown) =>
  Object.fromEntries(count(n).map((i) => [`name_${i}`, schema(i)]));
const nested = (depth: number, wrap: (inner: unknown) => unknown): unknown =>
  count(depth).reduce<unknown>((inner) => wrap(inner), {});

const defined = Object.fromEntries(count(60).map((i) => [`p${i}`, { $ref: `#/$defs/d${i}` }]));
const denial = (pattern: string): [string, unknown] => [
  `pattern ${pattern}, denied`,
  { type: 'string', not: { pattern } },
];

/** What must come to an end, with a text or with an error that says why not. */
const schemas: [string, unknown][] = [
  ['50,000 values', { enum: count(50_000).map((i) => `value ${i * 7919}`) }],
  ['a value of a million letters', { const: 'x'.repeat(1e6) }],
  ['a thousand members in any order', { type: 'object', properties: named(1000, () => ({})) }],
  [
    'a thousand members, all required',
    {
      type: 'object',
      properties: named(1000, () => true),
      required: Object.keys(named(1000, () => 0)),
    },
  ],
  ['a thousand alternatives', { anyOf: count(1000).map((i) => ({ const: i })) }],
  [
    'alternatives of alternatives',
    { allOf: count(20).map(() => ({ anyOf: [{ minimum: 1 }, { maximum: 5 }] })) },
  ],
  [
    'objects that begin alike',
    { anyOf: count(100).map((i) => ({ properties: named(i + 1, () => ({})) })) },
  ],
  ['a billion items', { type: 'array', items: {}, minItems: 1e9 }],
  ['a billion letters', { type: 'string', minLength: 1e9 }],
  ['a billion letters of a pattern', { type: 'string', minLength: 1e9, pattern: '^[ab]*$' }],
  ['many letters of a pattern', { type: 'string', minLength: 3000, pattern: '^[ab]*$' }],
  ['1e308 and more', { type: 'number', exclusiveMinimum: 1e308 }],
  ['half a million values', { enum: count(500_000) }],
  ['values within values', { enum: count(2000).map((i) => 'a'.repeat(i)) }],
  ['properties without end', { type: 'object', properties: named(30_000, () => true) }],
  ['ranges', { type: 'object', properties: named(500, (i) => ({ minimum: -1e300 * (i + 1) })) }],
  ['integers of 60 kinds', { oneOf: count(60).map((i) => ({ multipleOf: i + 2 })) }],
  ['multiples of a large prime', { type: 'integer', minimum: 1, multipleOf: 999_999_937 }],
  ['patterns that must all match', { allOf: count(200).map((i) => ({ pattern: `k${i}` })) }],
  [
    'definitions that all refer to each other',
    {
      $ref: '#/$defs/d0',
      $defs: Object.fromEntries(count(60).map((i) => [`d${i}`, { properties: defined }])),
    },
  ],
  ['schemas within schemas', nested(20_000, (inner) => ({ items: inner }))],
  ['alternatives within alternatives', nested(5000, (inner) => ({ anyOf: [inner] }))],
  ['negations within negations', nested(50, (inner) => ({ not: inner, type: 'string' }))],
  [
    'members within members',
    nested(1000, (inner) => ({ properties: { a: inner }, required: ['a'] })),
  ],
  [
    'references that multiply',
    {
      $ref: '#/$defs/d0',
      $defs: Object.fromEntries(
        count(25)
          .map((i): [string, unknown] => [
            `d${i}`,
            { allOf: [{ $ref: `#/$defs/d${i + 1}` }, { $ref: `#/$defs/d${i + 1}` }] },
          ])
          .concat([['d25', { type: 'null' }]]),
      ),
    },
  ],
  [
    'intersections of recursive schemas',
    {
      allOf: count(12).map((i) => ({ $ref: `#/$defs/d${i}` })),
      $defs: Object.fromEntries(
        count(12).map((i) => [
          `d${i}`,
          {
            properties: {
              a: { $ref: `#/$defs/d${(i * 5 + 1) % 12}` },
              b: { $ref: `#/$defs/d${(i * 7 + 2) % 12}` },
            },
          },
        ]),
      ),
    },
  ],
  ...(
    [
      '(a*)*b',
      '^(a|a)*$',
      '^(a|aa)+$',
      '(a{1000}){1000}',
      '^(([a-z]{0,9}){0,9}){0,9}$',
      '(x+x+)+y',
      '[ab]*a[ab]{12}',
      '^([ab]*a[ab]{12}|[ab]*b[ab]{13})c$',
      '(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)x',
      `${'(a?'.repeat(200)}${')'.repeat(200)}`,
      `${'a?'.repeat(300)}${'a'.repeat(300)}`,
      `${'('.repeat(900)}a${')'.repeat(900)}`,
      '\\p{L}{1,200}\\p{N}{1,200}',
      '^(?:^^^^^^^^^^^^^^^^^^^^^^^^^^^^a)$',
    ] as const
  ).flatMap((pattern, i): [string, unknown][] => [
    [`pattern ${pattern.slice(0, 40)}`, { type: 'string', pattern }],
    [`pattern ${pattern.slice(0, 40)}, limited`, { type: 'string', pattern, maxLength: 500 }],
    ...(i < 5 ? [denial(pattern)] : []),
  ]),
  [
    'patterns that exclude each other',
    {
      type: 'string',
      allOf: [{ pattern: '^(aaa)*$' }, { pattern: '^a(aaaaa)*$' }, { pattern: '^aa(a{7})*$' }],
      minLength: 1,
    },
  ],
  [
    'counters of different lengths',
    {
      type: 'string',
      allOf: [7, 11, 13, 17, 19].map((n) => ({ pattern: `^(a{${n}})*$` })),
      minLength: 1,
    },
  ],
];

describe('hostile schemas come to an end', () => {
  const json = (schema: unknown): ConstraintRequest => ({
    responseFormat: { type: 'json_schema', schema: schema as object },
  });
  /** What a tool takes: the parser of calls reads its schema, too. */
  const call = (schema: unknown): ConstraintRequest => ({
    tools: [{ name: 'f', parameters: { ...(schema as object), properties: { v: schema } } }],
    ...{ toolChoice: 'required', toolCallFormat: 'xml' },
  });
  const cases = schemas.flatMap(([name, schema], i): [string, ConstraintRequest][] => [
    [name, json(schema)],
    // The other form of the same, of some.
    ...(i % 4 === 0 ? [[`${name}, as a call`, call(schema)] as [string, ConstraintRequest]] : []),
  ]);

  test.each(cases)('%s', (_, request) => {
    const grammars = new Grammars(tokenizer, endTokens);
    const spend = vi.spyOn(Work.prototype, 'spend');
    const within = <T>(units: number, what: () => T): T => {
      spend.mockClear();
      try {
        return what();
      } finally {
        const { calls, results } = spend.mock;
        const spent = calls.filter((_, i) => results[i]!.type === 'return');
        expect(spent.reduce((sum, [units]) => sum + units, 0)).toBeLessThanOrEqual(units);
      }
    };
    try {
      const random = new Random('hostile');
      for (const tokens of [12, 150]) {
        const constraint = within(90_000, () => grammars.constraint(request))!;
        const limited: TokenConstraint = {
          allowed: (left) => within(40_000, () => constraint.allowed(left)),
          accept: (token) => within(40_000, () => constraint.accept(token)),
          get finished() {
            return within(40_000, () => constraint.finished);
          },
        };
        const text = tokenizer.decode(randomWalk(limited, tokenizer, endTokens, random, tokens));
        if (request.responseFormat) expect(() => JSON.parse(text), text).not.toThrow();
      }
    } catch (error) {
      expect(error).toBeInstanceOf(MowgliError);
      expect(error).toMatchObject({ code: 'OPTION_INVALID' });
    } finally {
      spend.mockRestore();
    }
  });
});
