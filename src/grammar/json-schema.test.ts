import { readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, test } from 'vitest';
import { baseSeed, Random } from '../../kernels-test/random.ts';
import { leastTokens, randomWalk } from '../../tests/constrained-walk.ts';
import { formatChecks, RandomSchemas } from '../../tests/random-schemas.ts';
import { Tokenizer } from '../text/tokenizer.ts';
import { Grammars } from './grammars.ts';
import type { ConstraintRequest } from './request.ts';

const tokenizer = Tokenizer.parse(readFileSync('models/tiny-coder/tokenizer.json', 'utf8'));
const endTokens = [tokenizer.idOf('<|im_end|>')!];
const grammars = new Grammars(tokenizer, endTokens);
const ajv = new Ajv2020({ strict: false, formats: formatChecks, allowUnionTypes: true });

const byteToken = (() => {
  const ids = new Map<number, number>();
  for (let id = 0; id < tokenizer.vocabSize; id++) {
    const bytes = tokenizer.tokenBytes(id);
    if (bytes.length === 1) ids.set(bytes[0]!, id);
  }
  return ids;
})();

const jsonSchema = (schema: object | boolean): ConstraintRequest => ({
  responseFormat: { type: 'json_schema', schema },
});

/** Whether a text is one that the constraint allows, and complete. */
function accepts(request: ConstraintRequest, text: string): boolean {
  const constraint = grammars.constraint(request)!;
  for (const byte of new TextEncoder().encode(text)) {
    const id = byteToken.get(byte)!;
    const words = constraint.allowed(5000)!;
    if (!(words[id >> 5]! & (1 << (id & 31)))) return false;
    constraint.accept(id);
  }
  const words = constraint.allowed(5000)!;
  return (words[endTokens[0]! >> 5]! & (1 << (endTokens[0]! & 31))) !== 0;
}

describe('random schemas', () => {
  const random = new Random('schemas');
  const schemas = new RandomSchemas(random);

  test('random walks give texts that parse and validate, however few tokens there are', () => {
    for (let run = 0; run < 150; run++) {
      const { schema } = schemas.root();
      const validate = ajv.compile(schema);
      const request = jsonSchema(schema);
      const least = leastTokens(grammars.constraint(request)!);
      for (const tokens of [least, least + random.below(20), 150]) {
        if (tokens < least) continue;
        const constraint = grammars.constraint(request)!;
        const text = tokenizer.decode(randomWalk(constraint, tokenizer, endTokens, random, tokens));
        const where = `seed ${baseSeed}, run ${run}, ${tokens} tokens: ${text}\n${JSON.stringify(schema)}`;
        expect(() => JSON.parse(text), where).not.toThrow();
        expect(validate(JSON.parse(text)), `${where}\n${ajv.errorsText(validate.errors)}`).toBe(
          true,
        );
      }
    }
  });

  test('valid values are allowed', () => {
    let seen = 0;
    for (let run = 0; run < 200; run++) {
      const { schema, sample } = schemas.root();
      const validate = ajv.compile(schema);
      for (let i = 0; i < 3; i++) {
        const value = sample();
        if (value === undefined || !validate(value)) continue;
        const where = `seed ${baseSeed}, run ${run}: ${JSON.stringify(value)}\n${JSON.stringify(schema)}`;
        seen++;
        expect(accepts(jsonSchema(schema), JSON.stringify(value)), where).toBe(true);
      }
    }
    expect(seen).toBeGreaterThan(300);
  });
});
