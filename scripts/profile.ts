/**
 * Where the GPU's time goes: runs a prompt and some tokens of decoding with every dispatch timed by
 * timestamp queries, and prints a table for each, by kernel variant (shader file and defines). Run as
 *
 *     npm run profile -- [--model MODEL] [--prompt TOKENS] [--tokens N] [--activations f32|int8] [--adapter KIND]
 */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { markdownTable } from '../src/cli/table.ts';
import { openModel } from '../src/files/open-model.ts';
import { Engine } from '../src/generate/engine.ts';
import type { KernelTime } from '../src/gpu/profiler.ts';
import { adapterChoices, findModel, openGpuInNode } from '../src/node.ts';

const { values } = parseArgs({
  options: {
    model: {
      type: 'string',
      default: fileURLToPath(new URL('../models/tiny-coder', import.meta.url)),
    },
    prompt: { type: 'string', default: '128' },
    tokens: { type: 'string', default: '8' },
    activations: { type: 'string', default: 'f32' },
    adapter: { type: 'string' },
  },
});
const promptTokens = Number(values.prompt);
const decodedTokens = Number(values.tokens);
const adapter = adapterChoices.find((known) => known === values.adapter);

const gpu = await openGpuInNode(adapter ? { adapter } : {});
if (!gpu.device.features.has('timestamp-query')) {
  throw new Error('this adapter has no timestamp queries: nothing can be timed');
}
const checkpoint = await openModel(await findModel(values.model));
const engine = await Engine.load(gpu, checkpoint, {
  context: promptTokens + decodedTokens,
  chunk: 512,
  kvType: 'f32',
  activations: values.activations === 'int8' ? 'int8' : 'f32',
});
const { vocabSize } = engine.config;
const next = (tokens: number[]) => engine.best(tokens, { k: 1, vocab: vocabSize });

const prompt = Array.from({ length: promptTokens }, (_, i) => (i * 7919) % vocabSize);
let last: number[] = [];
// Once unprofiled: the first dispatch of a variant compiles it.
await next(prompt);
engine.rewind(0);
report(
  `prompt of ${promptTokens} tokens`,
  await engine.profile(async () => {
    last = [...(await next(prompt)).ids];
  }),
  1,
);

const steps: KernelTime[] = [];
for (let i = 0; i < decodedTokens; i++) {
  const times = await engine.profile(async () => {
    last = [...(await next(last)).ids];
  });
  steps.push(...times);
}
report(`decoding, per token (mean of ${decodedTokens})`, steps, decodedTokens);
process.exit(0);

/** Adds up the times by kernel, divides them by `runs`, and prints them, the largest first. */
function report(title: string, times: readonly KernelTime[], runs: number): void {
  const sums = new Map<string, { ms: number; dispatches: number }>();
  for (const { name, ms, dispatches } of times) {
    const sum = sums.get(name) ?? { ms: 0, dispatches: 0 };
    sums.set(name, { ms: sum.ms + ms / runs, dispatches: sum.dispatches + dispatches / runs });
  }
  const rows = [...sums].sort(([, a], [, b]) => b.ms - a.ms);
  const total = rows.reduce((sum, [, { ms }]) => sum + ms, 0);
  const table = markdownTable(
    ['kernel', 'dispatches', 'ms', '%'],
    rows.map(([name, { ms, dispatches }]) => [
      name,
      dispatches.toFixed(0),
      ms.toFixed(3),
      ((100 * ms) / total).toFixed(1),
    ]),
    ['left', 'right', 'right', 'right'],
  );
  console.log(`${title}: ${total.toFixed(2)} ms on the GPU\n\n${table}`);
}
