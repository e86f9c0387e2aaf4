import type { Gpu } from '../gpu/device.ts';
import type { Recorder } from '../gpu/recorder.ts';
import type { NumberType } from '../quant/index.ts';
import { attention, attentionScratch, attentionVariant, attentionVariants } from './attention.ts';
import { int8Suffix, type KernelClass } from './kernel-class.ts';
import { type KvType, kvPositionBytes } from './kv-cache.ts';
import {
  expertMatmul,
  groupByExpert,
  matmul,
  matmulVariant,
  matmulVariants,
  tileCapacity,
} from './matmul.ts';
import { expertGateUp, expertMatvec, matvec, matvecVariant, matvecVariants } from './matvec.ts';
import { activationBytes, type TuneScratch } from './tune-scratch.ts';

/** Records the i-th run of a variant, one of those that `variantsOf` lists. */
export type RecordRun = (rec: Recorder, variant: string, i: number) => void;

/** Pairs of a token with its experts. Models differ, and their variants are the same. */
const pairs = 8;

/** WebGPU's usage of buffers that hold the workgroup counts of a dispatch. */
const indirectUsage = 0x100;

/** What a device may run for a kernel, and what it would without a measurement. */
export function variantsOf(
  gpu: Gpu,
  kernelClass: KernelClass,
): { variants: string[]; rule: string } {
  switch (kernelClass.kernel) {
    case 'attention':
      return { variants: attentionVariants(gpu), rule: attentionVariant(gpu) };
    case 'matmul':
    case 'expert matmul':
      return { variants: matmulVariants(gpu), rule: matmulVariant(gpu) };
    default:
      return {
        variants: matvecVariants(gpu),
        rule: matvecVariant(gpu, weightsOf(kernelClass).type),
      };
  }
}

/**
 * Buffers for runs of a class. Of a large matrix there are only some rows: what a variant gains does
 * not depend on how many times its workgroups come, once there are many.
 *
 * @throws MowgliError `OUT_OF_MEMORY`
 */
export function prepare(scratch: TuneScratch, kernelClass: KernelClass): Promise<RecordRun> {
  switch (kernelClass.kernel) {
    case 'attention':
      return prepareAttention(scratch, kernelClass);
    case 'matvec':
    case 'matmul':
      return prepareLinear(scratch, kernelClass);
    case 'expert matmul':
      return prepareExpertMatmul(scratch, kernelClass);
    default:
      return prepareExpertMatvec(scratch, kernelClass);
  }
}

/** Number format of the weights, and whether they meet activations in int8. */
function weightsOf({ format }: KernelClass): { type: NumberType; int8: boolean } {
  const int8 = format.endsWith(int8Suffix);
  const type = int8 ? format.slice(0, -int8Suffix.length) : format;
  return { type: type as NumberType, int8 };
}

/** Rows of the weights that a run of some milliseconds takes on, with so many vectors for each row. */
function someRows(scratch: TuneScratch, kernelClass: KernelClass, vectors: number): number {
  const { rows, columns, tokens } = kernelClass;
  const { software } = scratch.gpu.capabilities;
  const products = software ? (tokens > 1 ? 2 ** 26 : 2 ** 24) : 2 ** 32;
  const byWork = Math.floor(products / (columns * vectors));
  const byOutput = Math.floor(activationBytes / 2 / (4 * vectors));
  const most = Math.max(64, Math.min(byWork, byOutput));
  return scratch.rowsThatFit(weightsOf(kernelClass).type, Math.min(rows, most), columns);
}

async function prepareLinear(scratch: TuneScratch, kernelClass: KernelClass): Promise<RecordRun> {
  const { kernel, columns, tokens } = kernelClass;
  const { type, int8 } = weightsOf(kernelClass);
  const rows = someRows(scratch, kernelClass, tokens);
  scratch.fill(type);
  const weights = scratch.matrices(type, rows, columns);
  const x = await scratch.rows(tokens, columns, int8);
  const y = await scratch.rows(tokens, rows);
  if (kernel === 'matvec') {
    const variants = matvecVariants(scratch.gpu);
    return (rec, name, i) => {
      const variant = named(variants, name);
      matvec(rec, { weight: weights[i % weights.length], x, y, tokens, variant });
    };
  }
  const variants = matmulVariants(scratch.gpu);
  return (rec, name, i) => {
    const variant = named(variants, name);
    matmul(rec, { weight: weights[i % weights.length], x, y, rows: tokens, variant });
  };
}

async function prepareExpertMatvec(
  scratch: TuneScratch,
  kernelClass: KernelClass,
): Promise<RecordRun> {
  const { kernel, columns } = kernelClass;
  const { type, int8 } = weightsOf(kernelClass);
  const count = kernel === 'expert gate-up' ? 2 : 1;
  const some = someRows(scratch, kernelClass, pairs * count);
  const rows = Math.max(1, Math.floor(scratch.rowsThatFit(type, count * some, columns) / count));
  scratch.fill(type);
  const { matrices, slots } = await scratch.experts(type, count, rows, columns);
  const x = await scratch.rows(pairs, columns, int8);
  const y = await scratch.rows(pairs, rows, int8 && kernel === 'expert gate-up');
  const chosen: Awaited<ReturnType<TuneScratch['integers']>>[] = [];
  for (let first = 0; first === 0 || first < slots; first += pairs) {
    const ids = Array.from({ length: pairs }, (_, s) => (first + s) % slots);
    chosen.push(await scratch.integers(ids));
  }
  const variants = matvecVariants(scratch.gpu);
  return (rec, name, i) => {
    const variant = named(variants, name);
    const shared = { ids: chosen[i % chosen.length], pairs, x, y, variant };
    if (count === 1) expertMatvec(rec, { ...shared, weight: matrices[0], divisor: 1, topK: 1 });
    else expertGateUp(rec, { ...shared, gate: matrices[0], up: matrices[1], topK: pairs });
  };
}

async function prepareExpertMatmul(
  scratch: TuneScratch,
  kernelClass: KernelClass,
): Promise<RecordRun> {
  const { columns, tokens } = kernelClass;
  const { type, int8 } = weightsOf(kernelClass);
  const perExpert = Math.ceil(tokens);
  const most = 8;
  const rows = someRows(scratch, kernelClass, most * perExpert);
  scratch.fill(type);
  const { matrices, slots } = await scratch.experts(type, 1, rows, columns);
  const experts = Math.min(most, slots);
  const total = experts * perExpert;
  const x = await scratch.rows(total, columns, int8);
  const y = await scratch.rows(total, rows);
  const ids = await scratch.integers(Array.from({ length: total }, (_, q) => (q * 37) % experts));
  const groups = {
    order: await scratch.words(total),
    tiles: await scratch.words(4 * tileCapacity(total, experts)),
    counts: await scratch.words(8, indirectUsage),
  };
  const [weight] = matrices;
  const { slotOf, table } = weight;
  const variants = matmulVariants(scratch.gpu);
  return (rec, name) => {
    const shared = { pairs: total, experts, groups, variant: named(variants, name) };
    groupByExpert(rec, { ids, slotOf, table, columns1: rows, columns2: rows, ...shared });
    expertMatmul(rec, { weight, x, y, divisor: 1, product: 0, ...shared });
  };
}

async function prepareAttention(
  scratch: TuneScratch,
  kernelClass: KernelClass,
): Promise<RecordRun> {
  const { format, rows: qHeads, columns: headDim, tokens } = kernelClass;
  const [type, group] = format.split(/[ :]/) as [KvType, string];
  const kvHeads = qHeads / Number(group);
  const positionBytes = kvHeads * kvPositionBytes(type, headDim);
  const capacity = Math.min(1024, 64 * Math.max(1, Math.floor(4e6 / positionBytes / 64)));
  const words = (capacity * positionBytes) / 4;
  const part = {
    keys: await scratch.words(words),
    values: await scratch.words(words),
    firstHead: 0,
    heads: kvHeads,
  };
  const kv = { type, capacity, headDim, parts: [part] };
  const { sums, partial } = attentionScratch(qHeads, headDim);
  const at = {
    q: await scratch.floats(tokens * qHeads * 4 * Math.ceil(headDim / 4)),
    kv,
    out: await scratch.rows(tokens, qHeads * headDim),
    sums: await scratch.words(sums),
    partial: await scratch.words(partial),
    qHeads,
    kvHeads,
    position: capacity - tokens,
    tokens,
  };
  const variants = attentionVariants(scratch.gpu);
  return (rec, name) => attention(rec, { ...at, variant: named(variants, name) });
}

/** A name that came from `variantsOf` is one of the kernel's. */
function named<Variant extends string>(variants: readonly Variant[], name: string): Variant {
  return variants.find((variant) => variant === name) ?? variants[0];
}
