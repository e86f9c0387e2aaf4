import { describe, expect, it } from 'vitest';
import { Random } from '../../kernels-test/random.ts';
import { MowgliError } from '../../src/errors.ts';
import { simulate } from '../../src/experts/simulate.ts';
import {
  encodeTraceHeader,
  encodeTraceStep,
  readTrace,
  type TracedStep,
  type TraceModel,
} from '../../src/experts/trace-file.ts';
import type { ByteSource } from '../../src/files/byte-source.ts';
import { MemorySource } from '../../src/files/memory.ts';
import { asTrace, randomModel, randomSteps } from './random-trace.ts';

const read = (bytes: Uint8Array) => readTrace(new MemorySource('run.trace', bytes));

function encode(model: TraceModel, steps: readonly TracedStep[]): Uint8Array {
  const parts = [encodeTraceHeader(model), ...steps.map((step) => encodeTraceStep(model, step))];
  return Uint8Array.from(parts.flatMap((part) => Array.from(part)));
}

function withHeader(change: object): Uint8Array {
  const model = { name: 'm', layers: 2, sparseLayers: [0, 1], experts: 8, expertsPerToken: 2 };
  return encodeTraceHeader({ ...model, ...change } as TraceModel);
}

describe('trace files', () => {
  it.each([12, 256, 257, 400])('give back what was written, up to %i experts', async (experts) => {
    const random = new Random(`round trip ${experts}`);
    for (let round = 0; round < 20; round++) {
      const model = { ...randomModel(random), ...(experts > 12 && { experts }) };
      const depths = random.below(model.sparseLayers.length);
      const steps = randomSteps(model, random, random.below(20), depths);
      if (experts > 12 && steps[0]) (steps[0].chosen[0] as number[])[0] = experts - 1;
      expect(await read(encode(model, steps))).toEqual(asTrace(model, steps));
    }
  });

  it('give back all whole steps when cut anywhere', async () => {
    const random = new Random('cut');
    const model = randomModel(random);
    const steps = randomSteps(model, random, 5, model.sparseLayers.length - 1);
    const whole = encode(model, steps);
    const ends = steps.map((_, i) => encode(model, steps.slice(0, i + 1)).length);
    for (let bytes = encodeTraceHeader(model).length; bytes <= whole.length; bytes++) {
      const count = ends.filter((end) => end <= bytes).length;
      const cut = bytes !== encode(model, steps.slice(0, count)).length;
      expect(await read(whole.slice(0, bytes))).toEqual({
        ...asTrace(model, steps.slice(0, count)),
        truncated: cut,
      });
    }
  });

  it('are read from a buffer at any alignment', async () => {
    const random = new Random('alignment');
    const model = { ...randomModel(random), experts: 300 };
    const steps = randomSteps(model, random, 3);
    const bytes = encode(model, steps);
    const shifted = new Uint8Array(bytes.length + 1);
    shifted.set(bytes, 1);
    expect(await read(shifted.subarray(1))).toEqual(asTrace(model, steps));
  });

  it.each<[string, Uint8Array, RegExp]>([
    ['an empty file', new Uint8Array(), /no trace of mowgli/],
    ['another file', new TextEncoder().encode('GGUF'.repeat(20)), /no trace of mowgli/],
    ['half a preamble', withHeader({}).slice(0, 20), /no trace of mowgli/],
    ['half a header', withHeader({}).slice(0, 40), /its header has/],
    ['no experts', withHeader({ experts: 0 }), /experts must be/],
    ['more per token than there are', withHeader({ expertsPerToken: 9 }), /expertsPerToken must/],
    ['layers out of order', withHeader({ sparseLayers: [1, 0] }), /sparseLayers must be/],
    ['layers beyond the last', withHeader({ sparseLayers: [0, 2] }), /sparseLayers must be/],
    ['layers that are no list', withHeader({ sparseLayers: 2 }), /sparseLayers must be/],
    ['no sparse layer', withHeader({ sparseLayers: [] }), /sparseLayers must be/],
    ['a huge model', withHeader({ layers: 4096, experts: 65536 }), /more than any model has/],
  ])('refuse %s', async (_, bytes, message) => {
    const error = await read(bytes).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(MowgliError);
    expect((error as Error).message).toMatch(message);
    expect((error as Error).message).toMatch(/^run\.trace/);
  });

  it('refuse another version, and an expert that there is not', async () => {
    const model = randomModel(new Random('refuse'));
    const bytes = encode(model, randomSteps(model, new Random('refuse'), 1));
    const newer = bytes.slice();
    newer[16] = 2;
    await expect(read(newer)).rejects.toThrow(/version 2, and only 1/);
    bytes[bytes.length - 1] = model.experts;
    await expect(read(bytes)).rejects.toThrow(/names an expert beyond/);
  });

  it('are not read at all when they are too large', async () => {
    const huge: ByteSource = {
      name: 'run.trace',
      size: 2 ** 40,
      read: () => expect.fail('nothing should be read'),
      close: async () => {},
    };
    await expect(readTrace(huge)).rejects.toMatchObject({ code: 'OPTION_INVALID' });
  });

  it('survive 2000 mutations: a typed error, or a trace that can be simulated', async () => {
    const random = new Random('mutations');
    const outcomes = { refused: 0, read: 0 };
    for (let round = 0; round < 2000; round++) {
      const model = randomModel(random);
      const steps = randomSteps(model, random, 4, random.below(model.sparseLayers.length));
      const bytes = encode(model, steps);
      for (let i = random.below(4); i >= 0; i--) bytes[random.below(bytes.length)] = random.word();
      try {
        const trace = await read(bytes.subarray(0, bytes.length - random.below(3)));
        expect(trace.steps.length).toBeLessThanOrEqual(bytes.length);
        if (round % 20 === 0) await simulate(trace, { slots: [3], policies: ['cyclic'] });
        outcomes.read++;
      } catch (error) {
        if (!(error instanceof MowgliError)) throw error;
        outcomes.refused++;
      }
    }
    expect(outcomes.refused).toBeGreaterThan(100);
    expect(outcomes.read).toBeGreaterThan(100);
  });

  it('are not written in another shape than the model has', () => {
    const model = { name: '', layers: 2, sparseLayers: [0, 1], experts: 8, expertsPerToken: 2 };
    const step = { kind: 'decode', tokens: 1, chosen: [[0, 1], [2]] } as const;
    expect(() => encodeTraceStep(model, step)).toThrow(RangeError);
    expect(() => encodeTraceStep(model, { ...step, chosen: [[0, 1]] })).toThrow(RangeError);
  });
});
