import type { BufferSlice } from '../gpu/buffer.ts';
import type { Recorder } from '../gpu/recorder.ts';
import { adjustLogits } from '../kernels/adjust-logits.ts';
import { maskLogits, maskWords } from '../kernels/mask-logits.ts';
import { maxTopK, noId, topK } from '../kernels/topk.ts';
import type { Workspace } from '../model/workspace.ts';
import type { Adjustment } from './sampler.ts';

/** Which tokens to find. */
export interface LikeliestOptions {
  /** How many. */
  k: number;
  /** Tokens from here on are padding. */
  vocab: number;
  adjustments?: readonly Adjustment[] | undefined;
  /** The only tokens to find, a bit each (see `TokenConstraint`); at least `maskWords(vocab)` words. */
  allowed?: Uint32Array | undefined;
}

/** The most likely tokens, likeliest first. Shorter than asked for when fewer logits were numbers. */
export interface Candidates {
  readonly ids: Uint32Array;
  readonly logits: Float32Array;
}

/** Records how the most likely tokens are found among the last token's logits, which it adjusts. */
export function recordLikeliest(
  rec: Recorder,
  ws: Workspace,
  { k, vocab, adjustments = [], allowed }: LikeliestOptions,
): void {
  if (adjustments.length) {
    const entries = new DataView(new ArrayBuffer(16 * adjustments.length));
    adjustments.forEach(({ id, repetition, add }, i) => {
      entries.setUint32(16 * i, id, true);
      entries.setFloat32(16 * i + 4, repetition, true);
      entries.setFloat32(16 * i + 8, add, true);
    });
    rec.gpu.write(ws.adjustments.buffer, 0, entries);
    adjustLogits(rec, {
      logits: ws.logits.slice,
      entries: ws.adjustments,
      n: adjustments.length,
    });
  }
  if (allowed) {
    rec.gpu.write(ws.allowed.buffer, 0, allowed.subarray(0, maskWords(vocab)));
    maskLogits(rec, { logits: ws.logits.slice, allowed: ws.allowed, n: vocab });
  }
  topK(rec, {
    logits: ws.logits.slice,
    n: vocab,
    k: Math.min(k, maxTopK),
    scratchValues: ws.topKScratchValues,
    scratchIds: ws.topKScratchIds,
    values: ws.topValues,
    ids: ws.topIds,
  });
}

/** What has to be read back to know `k` of them. */
export function likeliestReads(ws: Workspace, k: number): readonly BufferSlice[] {
  const bytes = 4 * Math.min(k, maxTopK);
  return [ws.topValues.buffer.slice(0, bytes), ws.topIds.buffer.slice(0, bytes)];
}

/** What was read back, as tokens. */
export function toCandidates([values, ids]: readonly ArrayBuffer[]): Candidates {
  const found = new Uint32Array(ids!);
  const end = found.indexOf(noId);
  const count = end < 0 ? found.length : end;
  return { ids: found.subarray(0, count), logits: new Float32Array(values!).subarray(0, count) };
}
