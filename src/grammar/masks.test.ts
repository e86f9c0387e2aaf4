import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { baseSeed, Random } from '../../kernels-test/random.ts';
import { idsOf, randomWalk } from '../../tests/constrained-walk.ts';
import { RandomSchemas } from '../../tests/random-schemas.ts';
import { Tokenizer } from '../text/tokenizer.ts';
import { Expressions } from './expressions.ts';
import { JsonText, Texts } from './json-text.ts';
import { Masks } from './masks.ts';
import { SchemaCompiler } from './schema/compiler.ts';
import { SchemaDocument } from './schema/document.ts';
import type { State } from './state.ts';
import { GrammarConstraint } from './token-constraint.ts';
import { Vocabulary } from './vocabulary.ts';

const tokenizer = Tokenizer.parse(readFileSync('models/tiny-coder/tokenizer.json', 'utf8'));
const endToken = tokenizer.idOf('<|im_end|>')!;
const vocabulary = new Vocabulary(tokenizer, [endToken]);
const make = new Expressions((bytes) => vocabulary.spelling(bytes));
const json = new JsonText(new Texts(make));
const masks = new Masks(make, vocabulary, [endToken]);

function stateAfter(state: State, token: number): State {
  let next = state;
  for (const byte of tokenizer.tokenBytes(token)) next = make.next(next, byte);
  return next;
}

/** Each token tried by itself. */
function tried(state: State, budget: number): number[] {
  const ids: number[] = [];
  for (let id = 0; id < tokenizer.vocabSize; id++) {
    const isText = !tokenizer.isSpecial(id) && tokenizer.tokenBytes(id).length > 0;
    if (isText && make.completionOf(stateAfter(state, id)) <= budget) ids.push(id);
    else if (id === endToken && state.nullable) ids.push(id);
  }
  return ids;
}

test('texts are whole when nearly nothing is kept from token to token', () => {
  const make = new Expressions((bytes) => vocabulary.spelling(bytes));
  const text = new JsonText(new Texts(make));
  make.endSetup();
  const masks = new Masks(make, vocabulary, [endToken]);
  const automaton = { make, vocabulary, masks, maxGathered: 20 };
  const random = new Random('forgetting');
  const most = make.size + 1000;
  for (let run = 0; run < 10; run++) {
    const constraint = new GrammarConstraint(automaton, text.any, 'any JSON', true);
    const tokens = randomWalk(constraint, tokenizer, [endToken], random, 60);
    expect(() => JSON.parse(tokenizer.decode(tokens)), tokenizer.decode(tokens)).not.toThrow();
    expect(make.size).toBeLessThan(most);
  }
});

test('masks have the tokens that are allowed one by one, whatever is left', () => {
  const random = new Random('masks');
  const schemas = new RandomSchemas(random);
  const fixed = [
    { type: 'string', minLength: 100, maxLength: 200 },
    { type: 'string', maxLength: 40 },
    { type: 'array', items: { type: 'string', minLength: 40 }, minItems: 2, maxItems: 50 },
    { type: 'array', items: { type: 'integer' }, minItems: 60 },
    { anyOf: [{ type: 'string' }, { const: 'x'.repeat(300) }] },
  ];
  for (let run = 0; run < 60; run++) {
    const schema = fixed[run] ?? schemas.root().schema;
    const document = new SchemaDocument(schema, 'schema');
    const compiler = new SchemaCompiler(json, document, { inOrder: run % 2 === 0 });
    const root = compiler.value([document.root]);
    compiler.finish();
    let state = make.stateOf(root);
    for (let step = 0; step < 12; step++) {
      const needed = make.completionOf(state);
      for (const budget of [needed - 1, needed, needed + 1, needed + random.below(40), 10_000]) {
        if (budget < 0) continue;
        const where = `seed ${baseSeed}, run ${run}, step ${step}, budget ${budget} of ${needed}: ${JSON.stringify(schema)}`;
        expect(idsOf(masks.allowed(state, budget)), where).toEqual(tried(state, budget));
      }
      const ids = idsOf(masks.allowed(state, 10_000)).filter((id) => id !== endToken);
      if (ids.length === 0) break;
      state = stateAfter(state, ids[random.below(ids.length)]!);
    }
  }
});
