import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Random } from '../../kernels-test/random.ts';
import { openModel } from '../../src/files/open-model.ts';
import { Engine } from '../../src/generate/engine.ts';
import { PrefixCache } from '../../src/generate/prefix-cache.ts';
import type { Gpu } from '../../src/gpu/device.ts';
import type { KvType } from '../../src/kernels/kv-cache.ts';
import { kvTokenBytes } from '../../src/model/kv-transfer.ts';
import { openGpuInNode } from '../../src/node.ts';
import { madeModel } from './folders.ts';

const context = 192;
const vocab = 256;

/** A head that is no whole number of vec4s, and three heads, so that two parts are not alike. */
const oddHeads = { num_attention_heads: 6, num_key_value_heads: 3, head_dim: 10 };

function randomTokens(name: string, count: number): number[] {
  const random = new Random(name);
  return Array.from({ length: count }, () => random.below(vocab));
}

/** Quicker than comparing values one by one. */
function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

describe.each([
  ['f32', {}, {}, 64],
  ['f16', {}, {}, 64],
  // Two heads fit a binding, and the third one lies in a buffer of its own.
  ['f32', oddHeads, { maxBindingBytes: 18432 }, 64],
  ['f16', oddHeads, { maxBindingBytes: 9216 }, 5],
  // With a few rows of logits, little is reserved for readbacks: a block takes many.
  ['f32', {}, {}, 3],
] as const)('%s %j %j, chunks of %i', (kvType: KvType, config, capabilities, chunk) => {
  let gpu: Gpu;
  let engine: Engine;
  beforeAll(async () => {
    gpu = await openGpuInNode({ capabilities });
    const checkpoint = await openModel(await madeModel({ config }));
    engine = await Engine.load(gpu, checkpoint, { context, chunk, kvType });
    await checkpoint.close();
  });
  afterAll(async () => {
    await engine?.dispose();
    gpu?.dispose();
  });

  test('what was read, written back behind other tokens, is the same to the bit', async () => {
    const tokens = randomTokens('tokens', 150);
    const others = randomTokens('others', 150);
    const next = randomTokens('next', 3);
    engine.rewind(0);
    await engine.logits(tokens);
    const expected = await engine.logits(next);
    engine.rewind(150);
    const { bytes, peakBytes } = gpu.ledger;
    const whole = await engine.readKv(0, 150);
    expect(whole.length).toBe(150 * kvTokenBytes(engine.kvShape));
    expect(new Set(whole).size, 'not all the same').toBeGreaterThan(100);
    const blocks = [await engine.readKv(0, 64), await engine.readKv(64, 150)];
    expect(gpu.ledger.bytes, 'reading takes what is reserved').toBe(bytes);
    expect(gpu.ledger.peakBytes).toBe(peakBytes);

    engine.rewind(0);
    await engine.logits(others);
    expect(same(await engine.readKv(0, 150), whole)).toBe(false);
    engine.rewind(0);
    const counted = engine.evaluatedTokens;
    // Also from the middle of a block, and not to its end.
    await engine.writeKv(tokens.slice(0, 64), blocks[0]);
    await engine.writeKv(tokens.slice(64, 70), blocks[1]);
    await engine.writeKv(tokens.slice(70, 133), blocks[1], 6);
    await engine.writeKv(tokens.slice(133, 150), whole, 133);
    expect(engine.evaluated).toEqual(tokens);
    expect(engine.evaluatedTokens).toBe(counted);
    expect(same(await engine.readKv(0, 150), whole)).toBe(true);
    expect(await engine.logits(next)).toEqual(expected);
  });

  test('sequences in turns answer as each does alone, and are evaluated once', async () => {
    const cache = new PrefixCache(engine, Number.POSITIVE_INFINITY, 16);
    const starts = [randomTokens('a', 41), randomTokens('b', 23)];
    // The third one goes the first one's way into the middle of its second block.
    starts.push([...starts[0].slice(0, 27), ...randomTokens('c', 20)]);
    const turns = 3;
    const answer = async (tokens: number[]) => {
      for (let i = 0; i < 9; i++) {
        const { ids } = await engine.best(tokens.slice(engine.position), { k: 1, vocab });
        tokens.push(ids[0]);
      }
    };
    const says = (turn: number) => randomTokens(`turn ${turn}`, 11);

    const alone = [];
    for (const start of starts) {
      engine.rewind(0);
      const tokens = [...start];
      for (let turn = 0; turn < turns; turn++) {
        tokens.push(...says(turn));
        await answer(tokens);
      }
      alone.push(tokens);
    }

    engine.rewind(0);
    const sequences = starts.map((start) => [...start]);
    const counted = engine.evaluatedTokens;
    for (let turn = 0; turn < turns; turn++) {
      for (const tokens of sequences) {
        tokens.push(...says(turn));
        const before = engine.evaluatedTokens;
        const held = await cache.prepare(tokens);
        await answer(tokens);
        // The last token of an answer was never evaluated: it comes with what is said next.
        if (turn > 0) expect(engine.evaluatedTokens - before).toBe(1 + 11 + 8);
        expect(held).toBe(tokens.length - 9 - (engine.evaluatedTokens - before - 8));
      }
    }
    expect(sequences).toEqual(alone);
    const length = sequences.reduce((sum, tokens) => sum + tokens.length - 1, 0);
    expect(engine.evaluatedTokens - counted, 'but for what two of them share').toBe(length - 27);
  });

  test('what makes no sense is refused', async () => {
    engine.rewind(0);
    await engine.logits(randomTokens('some', 20));
    for (const [from, to] of [
      [0, 21],
      [-1, 5],
      [5, 5],
      [Number.NaN, 5],
    ]) {
      await expect(engine.readKv(from, to)).rejects.toMatchObject({ code: 'OPTION_INVALID' });
    }
    const block = await engine.readKv(0, 20);
    const refused = (code: string, ...args: Parameters<Engine['writeKv']>) =>
      expect(engine.writeKv(...args)).rejects.toMatchObject({ code });
    const tokens = randomTokens('some', 20);
    await refused('OPTION_INVALID', tokens, block.subarray(4));
    await refused('OPTION_INVALID', tokens, block, 1);
    await refused('OPTION_INVALID', [vocab], block);
    await refused('OPTION_INVALID', [], block);
    await refused('CONTEXT_EXCEEDED', new Array(context).fill(0), block);
    expect(engine.evaluated, 'nothing was added').toEqual(tokens);
    expect(same(await engine.readKv(0, 20), block)).toBe(true);
  });
});
