import { expect, test } from 'vitest';
import { fingerprint } from '../../src/files/fingerprint.ts';
import { openModel } from '../../src/files/open-model.ts';
import { type Making, madeModel } from './folders.ts';

/** Of a model, under a name of its own. */
async function of(making: Making = {}): Promise<string> {
  const checkpoint = await openModel(await madeModel(making));
  const print = await fingerprint({ ...checkpoint, name: `${Math.random()}` });
  await checkpoint.close();
  return print;
}

/** What a fine-tuning does to all values of some tensors. */
const tuned = (pattern: RegExp): Making => ({
  edit: (tensor, values) => {
    if (pattern.test(tensor)) for (const i of values.keys()) values[i] *= 1.05;
  },
});

test('a model is the same under any name, and with other limits', async () => {
  const print = await of();
  expect(print).toMatch(/^[0-9a-f]{64}$/);
  expect(await of()).toBe(print);
  expect(await of({ config: { eos_token_id: [1, 2], max_position_embeddings: 1000 } })).toBe(print);
});

test.each<[string, Making]>([
  ['another training', { seed: 1 }],
  ['a fine-tuning of everything', tuned(/./)],
  ['a fine-tuning of the attention alone', tuned(/self_attn\.[qv]_proj/)],
  ['a fine-tuning of the experts alone', tuned(/experts/)],
  ['another number format', { type: () => 'F16' }],
  [
    'another number format of one tensor',
    { type: (name) => (/lm_head/.test(name) ? 'F32' : undefined) },
  ],
  ['other arithmetic', { config: { rope_theta: 10_000 } }],
  ['experts weighted in another way', { config: { norm_topk_prob: false } }],
  ['another shape', { config: { num_hidden_layers: 3 } }],
])('%s is another model', async (_, making) => {
  expect(await of(making)).not.toBe(await of());
});
