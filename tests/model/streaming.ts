import type { ModelSource } from '../../src/files/open-model.ts';
import type { Gpu } from '../../src/gpu/device.ts';
import { type LoadOptions, loadModelOn, type Model } from '../../src/node.ts';
import { complete, greedy } from './complete.ts';

/** What a model answers to a prompt, and what it takes on the GPU, with every expert there. */
export interface Complete {
  /** Of every position of the prompt, [tokens, vocab]. */
  readonly logits: Float32Array;
  /** The greedy continuation. */
  readonly tokens: readonly number[];
  /** Bytes of everything but experts. */
  readonly otherBytes: number;
  readonly expertBytes: number;
}

/** Loads a model with every expert on the GPU, asks it, and frees it. */
export async function askComplete(
  gpu: Gpu,
  source: ModelSource,
  options: LoadOptions,
  prompt: readonly number[],
  maxTokens: number,
): Promise<Complete> {
  await using model = await loadModelOn(async () => gpu, source, options);
  const { gpuBytes, byLabel } = model.memory();
  return {
    ...(await ask(model, prompt, maxTokens)),
    otherBytes: gpuBytes - byLabel.experts,
    expertBytes: byLabel.experts,
  };
}

/** Logits of every position of a prompt, and what comes after it. */
export async function ask(
  model: Model,
  prompt: readonly number[],
  maxTokens: number,
): Promise<Pick<Complete, 'logits' | 'tokens'>> {
  const logits = await model.logits(prompt, { every: true });
  const { tokens } = await complete(model, { tokens: prompt }, { ...greedy, maxTokens });
  return { logits, tokens };
}

/** The `gpuMemory` with room for a share of a model's experts. */
export function memoryFor({ otherBytes, expertBytes }: Complete, share: number): number {
  return otherBytes + Math.floor(share * expertBytes);
}

/** Position of the first value that is not the same to the last bit; -1 when all are. */
export function firstDifference(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) return Math.min(a.length, b.length);
  const [x, y] = [new Uint32Array(a.slice().buffer), new Uint32Array(b.slice().buffer)];
  return x.findIndex((bits, i) => bits !== y[i]);
}
