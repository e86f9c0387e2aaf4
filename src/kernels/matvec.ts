import type { BufferSlice } from '../gpu/buffer.ts';
import type { Recorder } from '../gpu/recorder.ts';
import { type LanesVariant, lanesLayout, lanesWorkgroups, manyRowsVariant } from './lanes.ts';
import { type ExpertMatrix, formatDefines, type Matrix, padded, type Rows } from './matrix.ts';

/** Output rows per group of lanes: loads of x are shared by so many rows of weights. */
const rowsPerGroup = 4;

/**
 * y[t, n] = W[n] . x[t] for few tokens (decode); see `shaders/matvec.wgsl`, mode 0. Weights are
 * read once per four tokens.
 */
export function matvec(
  rec: Recorder,
  args: { weight: Matrix; x: Rows; y: Rows; tokens: number; variant?: LanesVariant },
): void {
  const { weight, x, y, tokens } = args;
  const variant = args.variant ?? manyRowsVariant(rec.gpu);
  const { defines, groupsPerWorkgroup } = lanesLayout(rec.gpu, variant);
  const tokensPerGroup = tokens === 1 ? 1 : tokens === 2 ? 2 : 4;
  const pipeline = rec.gpu.pipelines.get('matvec', {
    ...formatDefines(weight.type, rec.gpu.capabilities.f16),
    ...defines,
    MODE: 0,
    ROWS: rowsPerGroup,
    TOKENS: tokensPerGroup,
    SUMS: rowsPerGroup * tokensPerGroup,
  });
  for (const part of weight.parts) {
    rec.dispatch(
      pipeline,
      [part.rows, padded(weight.columns) / 8, tokens, y.stride, part.firstRow],
      [part.slice, x.slice, y.slice],
      lanesWorkgroups(Math.ceil(part.rows / rowsPerGroup), groupsPerWorkgroup),
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
 * y[q] = silu(G x[q / topK]) * (U x[q / topK]) for each pair's expert; see `shaders/matvec.wgsl`,
 * mode 1. `gate` and `up` share a type and slabs.
 */
export function expertGateUp(
  rec: Recorder,
  args: ExpertPairs & {
    gate: ExpertMatrix;
    up: ExpertMatrix;
    x: Rows;
    y: Rows;
    variant?: LanesVariant;
  },
): void {
  const upGroups = args.up.matrixGroups - args.gate.matrixGroups;
  expertMatvec(rec, 1, { ...args, weight: args.gate, upGroups });
}

/** y[q] = D x[q] for each pair's expert; see `shaders/matvec.wgsl`, mode 2. */
export function expertDown(
  rec: Recorder,
  args: ExpertPairs & { down: ExpertMatrix; x: Rows; y: Rows; variant?: LanesVariant },
): void {
  expertMatvec(rec, 2, { ...args, weight: args.down, upGroups: 0 });
}

function expertMatvec(
  rec: Recorder,
  mode: 1 | 2,
  args: ExpertPairs & {
    weight: ExpertMatrix;
    upGroups: number;
    x: Rows;
    y: Rows;
    variant?: LanesVariant;
  },
): void {
  const { weight, x, y, ids, pairs, topK } = args;
  const variant = args.variant ?? manyRowsVariant(rec.gpu);
  const { defines, groupsPerWorkgroup } = lanesLayout(rec.gpu, variant);
  // Gate and up are two products each: half the rows for the same number of sums.
  const rows = mode === 1 ? rowsPerGroup / 2 : rowsPerGroup;
  const pipeline = rec.gpu.pipelines.get('matvec', {
    ...formatDefines(weight.type, rec.gpu.capabilities.f16),
    ...defines,
    MODE: mode,
    ROWS: rows,
    TOKENS: 1,
    SUMS: rowsPerGroup,
  });
  for (const slab of weight.slabs) {
    rec.dispatch(
      pipeline,
      [
        weight.rows,
        padded(weight.columns) / 8,
        pairs,
        y.stride,
        0,
        topK,
        weight.table,
        slab.firstSlot,
        slab.slots,
        weight.slotGroups,
        weight.matrixGroups,
        args.upGroups,
      ],
      [slab.slice, x.slice, y.slice, ids, weight.slotOf],
      lanesWorkgroups(Math.ceil(weight.rows / rows), groupsPerWorkgroup),
      pairs,
    );
  }
}
