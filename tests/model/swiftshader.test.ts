import { expect, test } from 'vitest';
import { loadModel, type Model, MowgliError } from '../../src/node.ts';
import { complete, greedy } from './complete.ts';
import { endless, referencePrompts, tinyCoder } from './folders.ts';

/** The driver is an optional package, and there is none for every platform. */
async function load(): Promise<Model | undefined> {
  try {
    return await loadModel(await endless(tinyCoder), {
      adapter: 'swiftshader',
      context: 64,
      chunk: 16,
    });
  } catch (error) {
    if (error instanceof MowgliError && error.code === 'NO_ADAPTER') return undefined;
    throw error;
  }
}

test('SwiftShader gives what PyTorch gives', async ({ skip }) => {
  const model = await load();
  if (!model) return skip('there is no SwiftShader here');
  try {
    for (const prompt of await referencePrompts()) {
      if (prompt.ids.length > 12) continue;
      const logits = await model.logits(prompt.ids);
      const gaps = prompt.top20_ids.map((id, i) => Math.abs(logits[id] - prompt.top20_logits[i]));
      expect(Math.max(...gaps), prompt.name).toBeLessThan(1e-3);
      const { end } = await complete(model, { tokens: prompt.ids }, { ...greedy, maxTokens: 16 });
      expect(end?.tokens, prompt.name).toEqual(prompt.greedy_ids.slice(0, 16));
    }
  } finally {
    await model.dispose();
  }
});
