import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Gpu } from '../src/gpu/device.ts';
import { decoder } from '../src/kernels/matrix.ts';
import { type NumberType, numberFormats } from '../src/quant/index.ts';
import { randomBlocks } from '../src/quant/random-blocks.ts';
import { decode, openTestGpu, readFloats, runOnGpu, testBuffers } from './harness.ts';
import { baseSeed, Random } from './random.ts';

// Every WGSL decoder against the CPU's, and both against ggml's own values, bit for bit.

const shaders = new Map([
  ['decode', readFileSync(new URL('./decode.wgsl', import.meta.url), 'utf8')],
]);
const gpu = await openTestGpu({}, shaders);
const withoutF16 = await openTestGpu({ f16: false }, shaders);

/** Formats that the GPU computes with; F8_E4M3 reaches it as F8_B128. */
const types = (Object.keys(numberFormats) as NumberType[]).filter((type) => type !== 'F8_E4M3');
const floats: readonly NumberType[] = ['F32', 'F16', 'BF16'];
const ggmlBlocks = types.filter((type) => !floats.includes(type) && type !== 'F8_B128');

/**
 * Decodes whole units of weights, `base` times 16 bytes into a binding.
 * @param path by what a kernel asks for: single octets, or units of them
 */
async function decodeOnGpu(
  on: Gpu,
  type: NumberType,
  bytes: Uint8Array,
  base: number,
  path: 'octets' | 'units',
): Promise<Float32Array> {
  const { blockBytes, blockElements } = numberFormats[type];
  const octets = ((bytes.length / blockBytes) * blockElements) / 8;
  const binding = new Uint8Array(Math.ceil((16 * base + bytes.length) / 4) * 4).fill(0x7e);
  binding.set(bytes, 16 * base);
  const buffers = testBuffers(on);
  const weights = await buffers.input(new Uint32Array(binding.buffer));
  const out = await buffers.output(8 * octets);
  const { defines, storage } = decoder(on, type, 2);
  const pipeline = on.pipelines.get('decode', { ...defines, UNITS: path === 'units' });
  await runOnGpu(on, (rec) =>
    rec.dispatch(pipeline, [octets, base], [weights, out, ...storage], Math.ceil(octets / 64)),
  );
  return readFloats(on, out, 8 * octets);
}

/** What may be zero: WGSL lets a device flush subnormals, here MXFP4's scale times at most 12. */
const flushable = 12 * 2 ** -126;

function expectSameBits(type: NumberType, what: string, actual: Float32Array, all: Float32Array) {
  expect(actual.length, what).toBe(all.length);
  const words = new Uint32Array(actual.buffer, actual.byteOffset, actual.length);
  const expected = new Uint32Array(all.buffer, all.byteOffset, all.length);
  for (let i = 0; i < words.length; i++) {
    if (words[i] === expected[i] || (actual[i] === 0 && Math.abs(all[i]) < flushable)) continue;
    const { blockElements: n } = numberFormats[type];
    expect.fail(
      `${what}, block ${Math.floor(i / n)}, value ${i % n}: ${actual[i]} instead of ${all[i]} ` +
        `(MOWGLI_SEED=${baseSeed})`,
    );
  }
}

async function check(on: Gpu, type: NumberType, bytes: Uint8Array, expected: Float32Array) {
  for (const path of ['octets', 'units'] as const) {
    // A block of 17 or 34 bytes begins elsewhere in its word when others come before it; the
    // matrix itself begins at any 16 bytes.
    for (const base of [0, 5]) {
      const values = await decodeOnGpu(on, type, bytes, base, path);
      expectSameBits(type, `${type} by ${path} at ${base}`, values, expected);
    }
  }
}

describe('as ggml decodes them', () => {
  it.each(ggmlBlocks)('%s', async (type) => {
    const fixture = (extension: string) =>
      new Uint8Array(
        readFileSync(
          new URL(`../tests/data/gguf/${type.toLowerCase()}.${extension}`, import.meta.url),
        ),
      );
    const expected = new Float32Array(fixture('f32').buffer);
    await check(gpu, type, fixture('blocks'), expected);
  });
});

describe('as the CPU decodes them: blocks of random bits', () => {
  it.each(types)('%s', async (type) => {
    const random = new Random(`decode ${type}`);
    const { blockElements } = numberFormats[type];
    // Many blocks of the small formats and few of the large ones: 33 thousand values, and then some.
    const blocks = Math.ceil(32_776 / blockElements / 8) * 8 + (blockElements === 1 ? 0 : 3);
    const bytes = randomBlocks(type, blocks, () => random.unit(), 3);
    await check(gpu, type, bytes, decode(type, bytes));
  });
});

describe('floats', () => {
  const patterns = {
    F16: Uint16Array.from({ length: 65536 }, (_, i) => i),
    BF16: Uint16Array.from({ length: 65536 }, (_, i) => i),
    F32: Uint32Array.from({ length: 65536 }, (_, i) => Math.imul(i, 0x9e3779b1)),
  };

  // WGSL knows neither infinities nor NaN: what it makes of them is left open.
  it.each(['F32', 'F16', 'BF16'] as const)(
    '%s: every finite pattern, with f16 in shaders and without',
    async (type) => {
      const decoded = decode(type, new Uint8Array(patterns[type].buffer));
      const finite = patterns[type].map((pattern, i) =>
        Number.isFinite(decoded[i]) ? pattern : 0,
      );
      const bytes = new Uint8Array(finite.buffer);
      for (const on of [gpu, withoutF16]) await check(on, type, bytes, decode(type, bytes));
    },
  );

  it('F8_B128: every finite pattern, by scales of any size', async () => {
    const scales = [1, -1, 448, 2 ** -20, -(2 ** 100), 1 / 3, 0, Math.fround(1e-30)];
    const bytes = new Uint8Array(132 * 2 * scales.length);
    const view = new DataView(bytes.buffer);
    for (let block = 0; block < 2 * scales.length; block++) {
      view.setFloat32(132 * block, scales[block >> 1], true);
      for (let i = 0; i < 128; i++) {
        bytes[132 * block + 4 + i] = i === 127 ? 0 : i + 128 * (block % 2);
      }
    }
    await check(gpu, 'F8_B128', bytes, decode('F8_B128', bytes));
  });
});
