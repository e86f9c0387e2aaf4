import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect } from 'vitest';
import { compareLogits } from '../../kernels-test/reference/compare.ts';
import { type LayerTrace, ReferenceModel } from '../../kernels-test/reference/model.ts';
import { uniform } from '../../kernels-test/reference/random.ts';
import type { Checkpoint } from '../../src/files/checkpoint.ts';
import {
  exportGguf,
  type GgufExport,
  type GgufExportOptions,
} from '../../src/files/gguf-export.ts';
import { splitParts } from '../../src/files/gguf-split.ts';
import { writeGguf } from '../../src/files/gguf-write.ts';
import { parseModelConfig } from '../../src/files/model-config.ts';
import { openModel } from '../../src/files/open-model.ts';
import { SyntheticStore } from '../../src/files/synthetic.ts';
import type { Gpu, GpuCapabilities } from '../../src/gpu/device.ts';
import { NodeFolderSink } from '../../src/node/folder-sink.ts';
import { findModel, loadModelOn, type Model, openGpuInNode } from '../../src/node.ts';
import { complete, greedy } from './complete.ts';
import { toyConfig } from './folders.ts';

/** Largest difference of logits that an implementation in float32 may have. */
const tolerance = 1e-3;

/** A folder that is there while the tests of one file run. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'mowgli-quantized-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  return folder;
}

/**
 * One device for all the models of a test file, so that they share their kernels, which take a
 * software GPU longer to compile than to run. Models think that they own it.
 * @param capabilities what to pretend about the device
 */
export async function sharedGpu(capabilities: Partial<GpuCapabilities> = {}): Promise<Gpu> {
  const gpu = await openGpuInNode({ capabilities });
  const dispose = gpu.dispose.bind(gpu);
  gpu.dispose = () => {};
  afterAll(dispose);
  return gpu;
}

/** A model of random weights without a tokenizer, as if it came from a Hugging Face folder. */
export function randomModel(config: object = {}, seed = 0): Checkpoint {
  const parsed = parseModelConfig({ ...toyConfig, ...config });
  const tensors = new SyntheticStore(parsed, { type: 'F32', seed });
  return {
    name: 'random',
    config: parsed,
    generationDefaults: {},
    tensors,
    tokenizerJson: undefined,
    tokenizerConfig: undefined,
    chatTemplateFile: undefined,
    close: () => tensors.close(),
  };
}

/** Writes a model as GGUF. Returns the path of its (first) file. */
export async function writeModel(
  folder: string,
  checkpoint: Checkpoint,
  options: Omit<GgufExportOptions, 'name'> & {
    /** Bytes of tensors per file; default: all in one. */
    maxBytes?: number;
    change?: (exported: GgufExport) => GgufExport;
  },
): Promise<string> {
  const { maxBytes = Number.POSITIVE_INFINITY, change = (exported) => exported } = options;
  const { metadata, tensors } = change(exportGguf(checkpoint, { ...options, name: 'Test' }));
  // A folder for each: many models share a name.
  const path = mkdtempSync(join(folder, 'model-'));
  const sink = new NodeFolderSink(path);
  const parts = splitParts('model.gguf', metadata, tensors, maxBytes);
  for (const part of parts) await writeGguf(await sink.create(part.file), part);
  return join(path, parts[0].file);
}

/** A model's own tokens, the same for the same seed. */
export function randomTokens(vocabSize: number, count: number, seed = 1): number[] {
  const random = uniform(seed);
  return Array.from({ length: count }, () => Math.floor(random() * vocabSize));
}

/**
 * Loads a GGUF file on a GPU and expects the logits of every position, and the greedy continuation,
 * that the float64 reference computes with the same file's weights.
 * @returns the largest difference of logits
 */
export async function expectAgreement(
  gpu: Gpu,
  path: string,
  options: { tokens: readonly number[]; chunk: number; greedyTokens?: number },
): Promise<number> {
  const { tokens, chunk, greedyTokens = 6 } = options;
  const source = await findModel(path);
  const checkpoint = await openModel(source);
  const { config } = checkpoint;
  const reference = new ReferenceModel(config, checkpoint.tensors);
  const trace: LayerTrace[] = [];
  const expected = await reference.forward(tokens, { trace });
  // Otherwise float32 may rightly choose other experts, and all that follows differs.
  expect(routerMargin(trace, config.numExperts), 'a clear choice of experts').toBeGreaterThan(1e-4);
  reference.rewind();
  const continuation = await reference.greedy(tokens, greedyTokens);
  await checkpoint.close();

  const context = Math.ceil((tokens.length + greedyTokens) / 8) * 8;
  const exact = { context, chunk, activations: 'f32' } as const;
  await using model: Model = await loadModelOn(async () => gpu, source, exact);
  const actual = await model.logits(tokens, { every: true });
  const { maxAbs } = compareLogits(expected, actual, config.vocabSize);
  expect(maxAbs).toBeLessThan(tolerance);
  const { end } = await complete(model, { tokens }, { ...greedy, maxTokens: greedyTokens });
  const stop = continuation.findIndex((id) => config.eosTokenIds.includes(id));
  expect(end?.tokens).toEqual(stop < 0 ? continuation : continuation.slice(0, stop));
  return maxAbs;
}

/** Smallest gap between the router logits of the last expert chosen and the first one not. */
function routerMargin(trace: readonly LayerTrace[], experts: number): number {
  let margin = Number.POSITIVE_INFINITY;
  for (const { routerLogits, routing } of trace) {
    if (!routerLogits || !routing || routing.k === experts) continue;
    for (let at = 0; at < routerLogits.length; at += experts) {
      const row = [...routerLogits.subarray(at, at + experts)].sort((a, b) => b - a);
      margin = Math.min(margin, row[routing.k - 1] - row[routing.k]);
    }
  }
  return margin;
}
