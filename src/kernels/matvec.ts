import type { BufferSlice } from '../gpu/buffer.ts';
import type { Gpu } from '../gpu/device.ts';
import type { Recorder } from '../gpu/recorder.ts';
import type { ShaderDefines } from '../gpu/shader.ts';
import { type NumberType, numberFormats } from '../quant/index.ts';
import { tuned } from './kernel-class.ts';
import {
  broadcastLanes,
  type LanesVariant,
  lanesLayout,
  lanesVariants,
  lanesWorkgroups,
  manyRowsVariant,
} from './lanes.ts';
import {
  decoder,
  type ExpertMatrix,
  type Matrix,
  operand,
  paddedFor,
  type Rows,
  rowBytes,
} from './matrix.ts';
import { quantize } from './quantize.ts';

/** How lanes share a product: they split k (`shaders/matvec.wgsl`), or each owns rows and they `broadcast` x. */
export type MatvecVariant = LanesVariant | 'broadcast';

/** The variants that this device can run. */
export function matvecVariants(gpu: Gpu): MatvecVariant[] {
  return broadcastLanes(gpu) ? [...lanesVariants(gpu), 'broadcast'] : lanesVariants(gpu);
}

/**
 * The variant this device is expected to run fastest. On a software GPU loads are what costs: where
 * weights are packed, most of them are those of x, which a broadcast shares best.
 */
export function matvecVariant(gpu: Gpu, type: NumberType): MatvecVariant {
  const isPacked = numberFormats[type].hasIntegers;
  return gpu.capabilities.software && isPacked && broadcastLanes(gpu)
    ? 'broadcast'
    : manyRowsVariant(gpu);
}

/** Rows of weights per group of lanes: loads of x are shared by so many. */
const rowsPerGroup = 4;

/**
 * Rows of weights that a lane walks along at a time, where lanes broadcast x. To decode a super-block
 * takes so many loads, each of them a hundred instructions on a CPU, that the code for two rows does
 * not fit its instruction cache.
 */
function columnsPerLane(type: NumberType): number {
  return numberFormats[type].blockElements === 256 ? 1 : 2;
}

/** The kernel of a variant, and how many rows one workgroup of it covers at least. */
function kernelOf(
  gpu: Gpu,
  variant: MatvecVariant,
  choice: { type: NumberType; mode: 0 | 1 | 2; tokens: number; storesQ8?: boolean },
) {
  const { type, mode, tokens, storesQ8 = false } = choice;
  if (variant === 'broadcast') {
    const lanes = broadcastLanes(gpu)!;
    const columns = columnsPerLane(type);
    const rows = mode === 1 ? 1 : columns;
    const workgroup = 64;
    return {
      shader: 'matvec_broadcast',
      defines: {
        WORKGROUP: workgroup,
        LANES: lanes,
        COLUMNS: columns,
        TOKENS: tokens,
        MODE: mode,
        TOUCH: gpu.capabilities.software,
        Q8: storesQ8,
      },
      workgroups: (outputs: number) =>
        lanesWorkgroups(Math.ceil(outputs / (storesQ8 ? 32 : lanes * rows)), workgroup / lanes),
    };
  }
  const { defines, groupsPerWorkgroup } = lanesLayout(gpu, variant);
  // Gate and up are two products each: half the rows for the same number of sums.
  const rows = mode === 1 ? rowsPerGroup / 2 : rowsPerGroup;
  return {
    shader: 'matvec',
    defines: {
      ...defines,
      ROWS: rows,
      SUMS: rowsPerGroup * tokens,
      TOKENS: tokens,
      MODE: mode,
    } as ShaderDefines,
    workgroups: (outputs: number) => lanesWorkgroups(Math.ceil(outputs / rows), groupsPerWorkgroup),
  };
}

/**
 * y[t, n] = W[n] . x[t] for few tokens (decode); see `shaders/matvec_params.wgsl`, mode 0. Weights
 * are read once per four tokens.
 */
export function matvec(
  rec: Recorder,
  args: { weight: Matrix; x: Rows; y: Rows; tokens: number; variant?: MatvecVariant },
): void {
  const { weight, x, y, tokens } = args;
  const { type, rows, columns } = weight;
  const read = operand(rec.gpu, type, x);
  const format = `${type}${read.suffix}`;
  const kernelClass = { kernel: 'matvec', format, rows, columns, tokens: 1 } as const;
  const rule = (gpu: Gpu) => matvecVariant(gpu, type);
  const variant = args.variant ?? tuned(rec.gpu, kernelClass, matvecVariants, rule);
  const tokensPerGroup = tokens === 1 ? 1 : tokens === 2 ? 2 : 4;
  const kernel = { type, mode: 0, tokens: tokensPerGroup } as const;
  const { shader, defines, workgroups } = kernelOf(rec.gpu, variant, kernel);
  const { defines: decoding, storage } = decoder(rec.gpu, type, 3);
  const pipeline = rec.gpu.pipelines.get(shader, { ...decoding, ...read.defines, ...defines });
  for (const part of weight.parts) {
    rec.dispatch(
      pipeline,
      [
        part.rows,
        paddedFor(type, columns) / 8,
        tokens,
        read.stride,
        y.stride,
        part.firstRow,
        rowBytes(type, columns),
        0, // nothing
      ],
      [part.slice, read.slice, y.slice, ...storage],
      workgroups(part.rows),
      Math.ceil(tokens / tokensPerGroup),
    );
  }
}

/** The chosen experts of some tokens: pair q = token * topK + slot has expert `ids[q]`. */
export interface ExpertPairs {
  readonly ids: BufferSlice;
  readonly pairs: number;
  readonly topK: number;
}

/**
 * y[q] = silu(G x[q / topK]) * (U x[q / topK]) for each pair's expert; see `shaders/matvec_params.wgsl`,
 * mode 1. `gate` and `up` share a type and slabs.
 */
export function expertGateUp(
  rec: Recorder,
  args: ExpertPairs & {
    gate: ExpertMatrix;
    up: ExpertMatrix;
    x: Rows;
    y: Rows;
    variant?: MatvecVariant;
  },
): void {
  recordPairs(rec, 1, { ...args, weight: args.gate, upOffset: args.up.offset });
}

/** y[q] = D x[q] for each pair's expert. */
export function expertDown(
  rec: Recorder,
  args: ExpertPairs & { down: ExpertMatrix; x: Rows; y: Rows; variant?: MatvecVariant },
): void {
  expertMatvec(rec, { ...args, weight: args.down, divisor: 1 });
}

/**
 * y[q] = W x[q / divisor] for each pair's expert, from column `first` of y on; see
 * `shaders/matvec_params.wgsl`, mode 2.
 */
export function expertMatvec(
  rec: Recorder,
  args: ExpertPairs & {
    weight: ExpertMatrix;
    x: Rows;
    y: Rows;
    first?: number;
    divisor: number;
    variant?: MatvecVariant;
  },
): void {
  recordPairs(rec, 2, { ...args, topK: args.divisor, upOffset: 0 });
}

function recordPairs(
  rec: Recorder,
  mode: 1 | 2,
  args: ExpertPairs & {
    weight: ExpertMatrix;
    upOffset: number;
    x: Rows;
    y: Rows;
    first?: number;
    variant?: MatvecVariant;
  },
): void {
  const { weight, x, y, ids, pairs, topK } = args;
  const { type, rows, columns } = weight;
  const read = operand(rec.gpu, type, x);
  const kernelClass = {
    kernel: mode === 1 ? 'expert gate-up' : 'expert matvec',
    format: `${type}${read.suffix}`,
    rows,
    columns,
    tokens: 1,
  } as const;
  const rule = (gpu: Gpu) => matvecVariant(gpu, type);
  const variant = args.variant ?? tuned(rec.gpu, kernelClass, matvecVariants, rule);
  // Lanes that own rows can store the int8 image of a gate-up's outputs at once.
  const q8 = mode === 1 && variant === 'broadcast' ? y.q8 : undefined;
  const kernel = { type, mode, tokens: 1, storesQ8: q8 !== undefined };
  const { shader, defines, workgroups } = kernelOf(rec.gpu, variant, kernel);
  const { defines: decoding, storage } = decoder(rec.gpu, type, q8 ? 6 : 5);
  const pipeline = rec.gpu.pipelines.get(shader, { ...decoding, ...read.defines, ...defines });
  for (const slab of weight.slabs) {
    rec.dispatch(
      pipeline,
      [
        rows,
        paddedFor(type, columns) / 8,
        pairs,
        read.stride,
        y.stride,
        args.first ?? 0,
        rowBytes(type, columns),
        0, // nothing
        topK,
        weight.table,
        slab.firstSlot,
        slab.slots,
        weight.slotBytes / 16,
        weight.offset / 16,
        args.upOffset / 16,
      ],
      [slab.slice, read.slice, y.slice, ids, weight.slotOf, ...(q8 ? [q8] : []), ...storage],
      workgroups(rows),
      pairs,
    );
  }
  if (mode === 1 && !q8) quantize(rec, y, pairs);
}
