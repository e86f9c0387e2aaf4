import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { OwnTurns } from '../../src/generate/own-turns.ts';
import { Tokenizer } from '../../src/text/tokenizer.ts';
import { FakeModel, until } from './fake-model.ts';
import { listen } from './fake-server.ts';

const tokenizer = Tokenizer.parse(readFileSync('models/tiny-coder/tokenizer.json', 'utf8'));
const turns = new OwnTurns(tokenizer, [tokenizer.idOf('<|im_end|>')!], 1000);
const megabyte = 'if x:\n    return the_value  # and so on\n'.repeat(26_000);

/** A model with room for a megabyte, which cuts what it is told into tokens as a real one does. */
function reader() {
  const model: FakeModel = Object.assign(new FakeModel(), { context: 2 ** 21 });
  const read = { begun: 0, done: 0 };
  model.script = async function* ({ messages }, { signal }) {
    read.begun++;
    const tokens = await turns.encodeInSlices(messages!.at(-1)!.content!, signal);
    read.done++;
    yield { type: 'text', text: `${tokens.length}` };
  };
  return { model, read };
}

const long = { messages: [{ role: 'user', content: megabyte }] };

test('others are answered while a megabyte is cut into tokens', async () => {
  const { model, read } = reader();
  const { ask, get } = await listen({}, model);
  const answer = ask(long).then((response) => response.text());
  await until(() => read.begun === 1);
  let answered = 0;
  while (read.done === 0) {
    expect((await get('/health')).status).toBe(200);
    answered++;
  }
  expect(answered).toBeGreaterThan(2);
  expect(await answer).toMatch(/"content":"\d{6}"/);
});

test('a client that leaves meanwhile leaves its place to the next one', async () => {
  const { model, read } = reader();
  const { ask } = await listen({}, model);
  const leaving = new AbortController();
  const answer = ask(long, { signal: leaving.signal });
  const left = expect(answer).rejects.toThrow(/abort/);
  await until(() => read.begun === 1);
  const next = ask({});
  leaving.abort();
  await left;
  expect((await next).status).toBe(200);
  expect(read).toEqual({ begun: 2, done: 1 });
});
