import { readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { baseSeed, Random } from '../../kernels-test/random.ts';
import { thorough } from '../../kernels-test/thorough.ts';
import { Grammars } from '../../src/grammar/grammars.ts';
import { loadModel, type Model, type RespondEnd, type RespondOptions } from '../../src/node.ts';
import { Tokenizer } from '../../src/text/tokenizer.ts';
import { leastTokens } from '../constrained-walk.ts';
import { formatChecks, RandomSchemas } from '../random-schemas.ts';
import { tinyCoder } from './folders.ts';

/**
 * Generations in all, eight in ten of them of random schemas. A few find what matters between model and
 * grammar, which has tests of its own; `MOWGLI_TEST_ALL=1` runs 500.
 */
const runs = thorough ? 500 : 30;
const tokenizer = Tokenizer.parse(readFileSync(`${tinyCoder}/tokenizer.json`, 'utf8'));
const grammars = new Grammars(tokenizer, [tokenizer.idOf('<|im_end|>')!]);
const random = new Random('constrained generations');
const schemas = new RandomSchemas(random);
const ajv = new Ajv2020({ strict: false, formats: formatChecks, allowUnionTypes: true });

let model: Model;
beforeAll(async () => {
  model = await loadModel(tinyCoder, { context: 2048 });
});
afterAll(() => model?.dispose());

/** An answer of as few tokens as may be, or some more, that no stop text cuts. */
async function answer(question: string, wish: RespondOptions): Promise<RespondEnd> {
  const least = leastTokens(grammars.constraint({ ...wish, toolCallFormat: 'xml' })!);
  const options: RespondOptions = {
    ...wish,
    temperature: 1,
    seed: random.below(2 ** 31),
    maxTokens: Math.max(least, 10 + random.below(40)),
    stop: ['"', 'e', '>\n'],
    stopTokenIds: [random.below(4000)],
  };
  for await (const part of model.respond([{ role: 'user', content: question }], options)) {
    if (part.type !== 'end') continue;
    expect(part.finishReason).toBe(wish.tools ? 'tool-calls' : 'stop');
    return part;
  }
  throw new Error('the answer has no end');
}

function expectValid(schema: object | boolean, json: string, where: string): void {
  const validate = ajv.compile(schema);
  expect(() => JSON.parse(json), where).not.toThrow();
  expect(validate(JSON.parse(json)), `${where}\n${ajv.errorsText(validate.errors)}`).toBe(true);
}

test('answers at temperature 1 parse and validate: JSON by random schemas', async () => {
  for (let run = 0; run < runs * 0.8; run++) {
    const { schema } = schemas.root();
    const { message } = await answer('Tell me about the file.', {
      responseFormat: { type: 'json_schema', schema },
    });
    const where = `seed ${baseSeed}, run ${run}: ${message.content}\n${JSON.stringify(schema)}`;
    expectValid(schema, message.content!, where);
  }
});

test('answers at temperature 1 parse and validate: calls of random tools', async () => {
  for (let run = 0; run < runs * 0.12; run++) {
    let parameters = schemas.root('object').schema;
    // The definition is part of the prompt, which has to be evaluated.
    while (JSON.stringify(parameters).length > 600) parameters = schemas.root('object').schema;
    const tools = ['save', 'load'].map((name) => ({
      type: 'function',
      function: { name, description: `Call ${name}`, parameters },
    }));
    const toolChoice = run % 2 === 0 ? 'required' : { name: 'load' };
    const { message, incompleteCalls } = await answer('Read src/app.py', { tools, toolChoice });
    const where = `seed ${baseSeed}, run ${run}: ${JSON.stringify({ message, parameters })}`;
    expect(incompleteCalls, where).toEqual([]);
    expect(message.content, where).toBeNull();
    const calls = message.tool_calls!;
    if (toolChoice !== 'required') expect(calls, where).toHaveLength(1);
    for (const { function: call } of calls) {
      expect(toolChoice === 'required' ? ['save', 'load'] : ['load'], where).toContain(call.name);
      expectValid(parameters, call.arguments, where);
    }
  }
});

test('answers at temperature 1 parse and validate: any JSON object', async () => {
  for (let run = 0; run < runs * 0.08; run++) {
    const { message } = await answer('Hello!', { responseFormat: { type: 'json_object' } });
    expectValid({ type: 'object' }, message.content!, `seed ${baseSeed}: ${message.content}`);
  }
});
