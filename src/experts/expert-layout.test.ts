import { describe, expect, test } from 'vitest';
import { parseModelConfig } from '../files/model-config.ts';
import { presets } from '../files/presets.ts';
import { SyntheticStore, type SyntheticTypes } from '../files/synthetic.ts';
import type { TensorInfo, TensorStore } from '../files/tensors.ts';
import { formatBytes, type NumberType } from '../quant/index.ts';
import {
  expertLayout,
  expertTensor,
  imageOffset,
  type Projection,
  projections,
  sameLayout,
} from './expert-layout.ts';

const config = parseModelConfig({ ...presets.tiny.configJson, moe_intermediate_size: 96 });
const noLimit = Number.POSITIVE_INFINITY;

/** The tensors of a model whose types `typeOf` changes. */
function store(
  types: SyntheticTypes,
  typeOf: (layer: number, expert: number, projection: Projection) => NumberType | undefined = () =>
    undefined,
): TensorStore {
  const below = new SyntheticStore(config, types);
  const tensors = new Map<string, TensorInfo>(below.tensors);
  for (let layer = 0; layer < config.numHiddenLayers; layer++) {
    for (let expert = 0; expert < config.numExperts; expert++) {
      for (const projection of projections) {
        const name = expertTensor(layer, expert, projection);
        const type = typeOf(layer, expert, projection);
        if (type) tensors.set(name, { ...tensors.get(name)!, type });
      }
    }
  }
  return { tensors, read: below.read.bind(below), close: () => below.close() };
}

describe.each<[string, TensorStore, number]>([
  ['one type', store({ type: 'BF16' }), 2],
  ['blocks that end within a word', store({ type: 'Q4_0' }), 2],
  ['down in another type', store({ type: 'Q8_0', downType: 'F16' }), 2],
  [
    'up in another type',
    store({ type: 'Q8_0' }, (_, __, p) => (p === 'up' ? 'F32' : undefined)),
    3,
  ],
])('%s', (_, tensors, regions) => {
  const layout = expertLayout(config, tensors, 1, noLimit);

  test('matrices lie one after the other, each aligned, and none in another', () => {
    expect(layout.regions).toHaveLength(regions);
    for (const bytes of layout.regions) expect(bytes % 256).toBe(0);
    expect(layout.bytes).toBe(layout.regions.reduce((sum, bytes) => sum + bytes, 0));
    const ranges = projections.map((projection) => {
      const { type, rows, columns, region, offset } = layout[projection];
      const { shape } = tensors.tensors.get(expertTensor(1, 0, projection))!;
      expect([rows, columns]).toEqual(shape);
      const bytes = rows * formatBytes(type, columns);
      expect(offset % 16).toBe(0);
      expect(offset + bytes).toBeLessThanOrEqual(layout.regions[region]);
      return [imageOffset(layout, projection), imageOffset(layout, projection) + bytes];
    });
    ranges.sort((a, b) => a[0] - b[0]);
    for (let i = 1; i < ranges.length; i++) {
      expect(ranges[i][0]).toBeGreaterThanOrEqual(ranges[i - 1][1]);
    }
    expect(ranges.at(-1)![1]).toBeLessThanOrEqual(layout.bytes);
  });
});

test('gate and up share a region exactly when they have one type', () => {
  const mixed = store({ type: 'F16' }, (layer, _, p) =>
    layer === 1 && p === 'gate' ? 'BF16' : undefined,
  );
  const [one, other] = [0, 1].map((layer) => expertLayout(config, mixed, layer, noLimit));
  expect(one.gate.region).toBe(one.up.region);
  expect(other.gate.region).not.toBe(other.up.region);
  expect(sameLayout(one, other)).toBe(false);
  expect(sameLayout(one, expertLayout(config, mixed, 2, noLimit))).toBe(true);
});

test('experts of one layer whose types differ are kept as F32', () => {
  const odd = store({ type: 'F16' }, (layer, expert, p) =>
    layer === 2 && expert === 7 && p === 'down' ? 'BF16' : undefined,
  );
  const { gate, up, down } = expertLayout(config, odd, 2, noLimit);
  expect([gate.type, up.type, down.type]).toEqual(['F16', 'F16', 'F32']);
});

test('a matrix that no binding holds is refused', () => {
  const tensors = store({ type: 'BF16' });
  const { regions } = expertLayout(config, tensors, 0, noLimit);
  const largest = Math.max(...regions);
  expect(() => expertLayout(config, tensors, 0, largest)).not.toThrow();
  expect(() => expertLayout(config, tensors, 0, largest - 1)).toThrow(
    expect.objectContaining({ code: 'OUT_OF_MEMORY' }),
  );
});
