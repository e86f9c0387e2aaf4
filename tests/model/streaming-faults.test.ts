import { cp, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { beforeAll, describe, expect, test } from 'vitest';
import { fixtureFolder, openFixture } from '../../kernels-test/reference/fixtures.ts';
import { uniform } from '../../kernels-test/reference/random.ts';
import {
  type ErrorCode,
  type LoadOptions,
  loadModelOn,
  type MemoryFolder,
  type Model,
  MowgliError,
  type ReadAhead,
} from '../../src/node.ts';
import { complete, completion, greedy } from './complete.ts';
import { openFaultyGpu } from './faulty-gpu.ts';
import { endless, madeModel, WatchedFolder } from './folders.ts';
import { randomTokens, sharedGpu, temporaryFolder } from './quantized.ts';
import { askComplete, type Complete, memoryFor } from './streaming.ts';

const options: LoadOptions = { context: 2048, chunk: 8, tuning: 'off' };
const maxTokens = 12;
const sampling = { ...greedy, maxTokens };
const prompt = randomTokens(256, 20);

/** Room for the readbacks of every model here, so that what they take does not depend on the order. */
const readbackBytes = 1 << 20;
const gpu = await sharedGpu();
await gpu.reserveReadback(readbackBytes);
const folder = temporaryFolder();
let made: MemoryFolder;
let expected: Complete;
beforeAll(async () => {
  made = await madeModel({ config: { num_hidden_layers: 4, num_experts: 12 } });
  expected = await askComplete(gpu, made, options, prompt, maxTokens);
});

const failure = (code: ErrorCode, message: RegExp) => ({
  name: 'MowgliError',
  code,
  message: expect.stringMatching(message),
});

const badSector = () => new MowgliError('READ_FAILED', 'the test says so; try again');

/** The model with room for a quarter of its experts, in a folder that can be made to fail. */
async function streaming(readAhead: ReadAhead, on = gpu) {
  const files = new WatchedFolder(made);
  const gpuMemory = memoryFor(expected, 0.25);
  const model = await loadModelOn(async () => on, files, { ...options, readAhead, gpuMemory });
  return { model, files };
}

/** Generates; `fail` is called at a read of the prompt's evaluation, or of the token after some. */
async function generateFailing(
  { model, files }: { model: Model; files: WatchedFolder },
  when: { tokens: number; read: number },
  fail: () => void,
  signal?: AbortSignal,
) {
  let texts = 0;
  let left = when.read;
  files.onRead = () => {
    if (texts >= when.tokens && left-- === 0) fail();
  };
  const done = await completion(
    model,
    { tokens: prompt },
    { ...sampling, ...(signal && { signal }) },
    () => {
      texts++;
    },
  );
  files.onRead = () => {};
  expect(left, 'it failed').toBeLessThan(0);
  return done;
}

async function expectSound(model: Model): Promise<void> {
  const { tokens } = await complete(model, { tokens: prompt }, sampling);
  expect(tokens).toEqual(expected.tokens);
}

async function expectNothingLeft(model: Model, files: WatchedFolder, label = 'experts') {
  await model.dispose();
  expect(files.openFiles).toBe(0);
  expect(gpu.ledger.byLabel()).not.toHaveProperty(label);
}

/** In the first layer of the prompt, later in it, and in the same of a token. */
const moments = [
  { tokens: 0, read: 0 },
  { tokens: 0, read: 40 },
  { tokens: 3, read: 0 },
  { tokens: 3, read: 7 },
];

describe.each<ReadAhead>(['off', 'on'])('with read ahead %s', (readAhead) => {
  test('a read that fails is told, and the next generation is right', async () => {
    const { model, files } = await streaming(readAhead);
    for (const when of moments) {
      const { error, tokens } = await generateFailing({ model, files }, when, () => {
        throw badSector();
      });
      // What was read ahead of need is read again when it is needed.
      if (error === undefined && readAhead === 'on') expect(tokens).toEqual(expected.tokens);
      else {
        expect(error).toMatchObject({ code: 'READ_FAILED' });
        expect(tokens).toEqual(expected.tokens.slice(0, when.tokens));
      }
      await expectSound(model);
    }
    await expectNothingLeft(model, files);
  });

  test('an abort while experts are read ends it, and the next generation is right', async () => {
    const { model, files } = await streaming(readAhead);
    for (const when of moments) {
      const abort = new AbortController();
      const { error, finishReason, tokens } = await generateFailing(
        { model, files },
        when,
        () => abort.abort(),
        abort.signal,
      );
      expect(error).toMatchObject({ code: 'ABORTED' });
      expect(finishReason).toBe('aborted');
      expect(tokens).toEqual(expected.tokens.slice(0, tokens.length));
      expect(tokens.length).toBeLessThan(maxTokens);
      await expectSound(model);
    }
    await expectNothingLeft(model, files);
  });

  test.each(moments)('disposal while experts are read: $tokens, $read', async (when) => {
    const { model, files } = await streaming(readAhead);
    let disposal: Promise<void> | undefined;
    const { error } = await generateFailing({ model, files }, when, () => {
      disposal = model.dispose();
    });
    expect(error).toMatchObject({ code: 'DISPOSED' });
    await disposal;
    await expectNothingLeft(model, files);
  });

  test('the device fails while experts are read', async () => {
    for (const [code, fail] of [
      ['DEVICE_LOST', ({ lose }) => lose('pulled')],
      ['OUT_OF_MEMORY', ({ runOut }) => runOut('no room for the copy')],
      ['DISPOSED', ({ gpu }) => gpu.device.destroy()],
    ] satisfies [ErrorCode, (faulty: Awaited<ReturnType<typeof openFaultyGpu>>) => void][]) {
      const faulty = await openFaultyGpu();
      await faulty.gpu.reserveReadback(readbackBytes);
      const { model, files } = await streaming(readAhead, faulty.gpu);
      const { error } = await generateFailing({ model, files }, { tokens: 2, read: 3 }, () =>
        fail(faulty),
      );
      expect(error).toMatchObject({ code });
      // It stays so, and says so to everybody.
      expect((await completion(model, { tokens: prompt }, sampling)).error).toMatchObject({ code });
      await model.dispose();
      expect(faulty.gpu.ledger.byLabel()).toEqual({});
      expect(files.openFiles).toBe(0);
    }
  });

  test('reads that take their time, fail, or are no longer wanted, in any order', async () => {
    const { model, files } = await streaming(readAhead);
    const random = uniform(11);
    for (let round = 0; round < 12; round++) {
      const abort = new AbortController();
      const [abortAt, failAt] = [Math.floor(400 * random()), Math.floor(400 * random())];
      let reads = 0;
      files.onRead = async () => {
        const read = reads++;
        if (read === abortAt) abort.abort();
        if (random() < 0.1) await setTimeout(2 * random());
        if (read === failAt) throw badSector();
      };
      const { signal } = abort;
      const { error, tokens } = await completion(
        model,
        { tokens: prompt },
        { ...sampling, signal },
      );
      if (error) expect(['ABORTED', 'READ_FAILED']).toContain((error as MowgliError).code);
      expect(tokens).toEqual(expected.tokens.slice(0, tokens.length));
      files.onRead = () => {};
      await expectSound(model);
    }
    // Some are on their way when the model goes.
    files.onRead = () => setTimeout(5);
    const late = completion(model, { tokens: prompt }, sampling);
    await setTimeout(10);
    await expectNothingLeft(model, files);
    expect((await late).error).toMatchObject({ code: 'DISPOSED' });
  });
});

test('a file that is cut off while it is used, and mended', async () => {
  const path = join(folder, 'cut');
  await cp(fixtureFolder('experts-160'), path, { recursive: true });
  const { expected, close } = await openFixture('experts-160');
  await close();
  const source = await endless(path);
  const tokens = { tokens: expected.tokens };
  const all = await askComplete(gpu, source, options, expected.tokens, 4);
  const gpuMemory = memoryFor(all, 0.1);
  await using model = await loadModelOn(async () => gpu, source, { ...options, gpuMemory });

  const file = join(path, 'model.safetensors');
  const whole = await readFile(file);
  for (const cut of [0.3, 0]) {
    await truncate(file, cut * whole.length);
    const { error } = await completion(model, tokens, { ...greedy, maxTokens: 4 });
    expect(error).toMatchObject(failure('FILE_TRUNCATED', /now ends at.*download it again/s));
    await writeFile(file, whole);
    const { tokens: answer } = await complete(model, tokens, { ...greedy, maxTokens: 4 });
    expect(answer).toEqual(all.tokens);
  }
});

test('a router that makes no numbers is an error, as with every expert there', async () => {
  const broken = await madeModel({
    config: { num_hidden_layers: 3 },
    edit: (name, values) => {
      if (name === 'model.layers.1.mlp.gate.weight') values.fill(Number.NaN);
    },
  });
  const errors: unknown[] = [];
  for (const share of [1, 0.5, 0.1]) {
    for (const chunk of [1, 8]) {
      const load = { ...options, chunk, gpuMemory: memoryFor(expected, share) };
      await using model = await loadModelOn(async () => gpu, broken, load);
      errors.push((await completion(model, { tokens: prompt }, sampling)).error);
    }
  }
  for (const error of errors) expect(error).toMatchObject({ code: 'GPU_ERROR' });
});

test('fifty times loaded, streamed and disposed of: nothing stays', async () => {
  const before = gpu.ledger.byLabel();
  const rss: number[] = [];
  let gpuBytes = 0;
  for (let round = 0; round < 50; round++) {
    const { model, files } = await streaming(round % 2 === 0 ? 'on' : 'off');
    const { tokens } = await complete(model, { tokens: prompt }, { ...greedy, maxTokens: 4 });
    expect(tokens).toEqual(expected.tokens.slice(0, 4));
    gpuBytes = model.memory().gpuBytes;
    await model.dispose();
    expect(gpu.ledger.byLabel()).toEqual(before);
    expect(files.openFiles).toBe(0);
    rss.push(process.memoryUsage.rss());
  }
  // A model that stayed, in what is the GPU's memory here, would be seen at its full size.
  const [early, late] = [rss.slice(5, 10), rss.slice(-5)].map((some) => Math.min(...some));
  expect((late - early) / 40).toBeLessThan(gpuBytes / 4);
});
