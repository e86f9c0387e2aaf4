import type { BufferSlice } from '../gpu/buffer.ts';
import type { Gpu } from '../gpu/device.ts';
import type { Recorder } from '../gpu/recorder.ts';
import type { ShaderDefines } from '../gpu/shader.ts';
import { tuned } from './kernel-class.ts';
import { broadcastLanes } from './lanes.ts';
import {
  decoder,
  type ExpertMatrix,
  type Matrix,
  operand,
  paddedFor,
  type Rows,
  rowBytes,
} from './matrix.ts';

/** How the products of a tile share their loads; see `shaders/matmul.wgsl`. */
export type MatmulVariant = 'broadcast' | 'shared' | 'tile';

/** The variants that this device can run. */
export function matmulVariants(gpu: Gpu): MatmulVariant[] {
  const { maxWorkgroupSize } = gpu.capabilities;
  const variants: MatmulVariant[] = broadcastLanes(gpu) ? ['broadcast', 'tile'] : ['tile'];
  return maxWorkgroupSize >= 256 ? [...variants, 'shared'] : variants;
}

/** The variant this device is expected to run fastest. */
export function matmulVariant(gpu: Gpu): MatmulVariant {
  const { software, maxWorkgroupSize } = gpu.capabilities;
  if (software) return broadcastLanes(gpu) ? 'broadcast' : 'tile';
  return maxWorkgroupSize >= 256 ? 'shared' : 'tile';
}

/** Shape of a tile: its rows and columns, and how many columns one workgroup covers. */
interface TileShape {
  readonly rows: number;
  readonly columnsPerWorkgroup: number;
  readonly defines: ShaderDefines;
}

const workgroup = 64;

/**
 * @param int8 does not change what a workgroup covers: whoever counts workgroups for several
 *   products need not know of it
 */
function tileShape(gpu: Gpu, variant: MatmulVariant, rows: number, int8 = false): TileShape {
  switch (variant) {
    case 'broadcast': {
      const lanes = broadcastLanes(gpu)!;
      const tileRows = rows <= 4 && lanes <= 32 ? 4 : 8;
      // A column in int8 takes twice the registers.
      const columns = int8 ? 2 : 4;
      return {
        rows: tileRows,
        columnsPerWorkgroup: workgroup * 4,
        defines: {
          BROADCAST: true,
          WORKGROUP: (workgroup * 4) / columns,
          LANES: lanes,
          COLUMNS: columns,
          TILE_M: tileRows,
          TOUCH: gpu.capabilities.software,
        },
      };
    }
    case 'shared': {
      const tileRows = rows <= 16 ? 16 : rows <= 32 ? 32 : 64;
      return {
        rows: tileRows,
        columnsPerWorkgroup: 64,
        defines: { SHARED: true, TILE_M: tileRows, TILE_N: 64 },
      };
    }
    case 'tile':
      return {
        rows: 8,
        columnsPerWorkgroup: workgroup * 4,
        defines: { WORKGROUP: workgroup, TILE_M: 8 },
      };
  }
}

/** y[m, n] = W[n] . x[m] for many rows of x (prefill); see `shaders/matmul.wgsl`, mode 0. */
export function matmul(
  rec: Recorder,
  args: { weight: Matrix; x: Rows; y: Rows; rows: number; variant?: MatmulVariant },
): void {
  const { weight, x, y, rows } = args;
  const read = operand(rec.gpu, weight.type, x);
  const kernelClass = {
    kernel: 'matmul',
    format: `${weight.type}${read.suffix}`,
    rows: weight.rows,
    columns: weight.columns,
    tokens: rows,
  } as const;
  const variant = args.variant ?? tuned(rec.gpu, kernelClass, matmulVariants, matmulVariant);
  const tile = tileShape(rec.gpu, variant, rows, read.defines.INT8 === true);
  const { defines, storage } = decoder(rec.gpu, weight.type, 3);
  const pipeline = rec.gpu.pipelines.get('matmul', {
    ...defines,
    ...read.defines,
    ...tile.defines,
    MODE: 0,
  });
  for (const part of weight.parts) {
    rec.dispatch(
      pipeline,
      [
        part.rows,
        paddedFor(weight.type, weight.columns) / 8,
        rows,
        read.stride,
        y.stride,
        part.firstRow,
        rowBytes(weight.type, weight.columns),
        0, // nothing
      ],
      [part.slice, read.slice, y.slice, ...storage],
      Math.ceil(part.rows / tile.columnsPerWorkgroup),
      Math.ceil(rows / tile.rows),
    );
  }
}

/** Buffers that `groupByExpert` fills for the grouped products of one chunk. */
export interface ExpertGroups {
  /** Pairs sorted by expert: u32 each. */
  readonly order: BufferSlice;
  /** Tiles: vec4u each; see `tileCapacity`. */
  readonly tiles: BufferSlice;
  /** Workgroup counts for the product over `columns1` and the one over `columns2`. */
  readonly counts: BufferSlice;
}

/** Tiles that so many pairs can make at most. */
export function tileCapacity(pairs: number, experts: number): number {
  return Math.ceil(pairs / 4) + experts;
}

/**
 * The variant for the experts of a layer. Tiles are cut for one variant, so the caller asks once and
 * hands it to `groupByExpert` and to each `expertMatmul` of the chunk.
 *
 * `gate` stands for all: gate and up are two of the three products, and down is of their shape
 * transposed. `x` is what they read.
 */
export function expertMatmulVariant(
  gpu: Gpu,
  args: { gate: ExpertMatrix; x?: Rows; pairs: number; experts: number },
): MatmulVariant {
  const { gate, x, pairs, experts } = args;
  const kernelClass = {
    kernel: 'expert matmul',
    format: `${gate.type}${x ? operand(gpu, gate.type, x).suffix : ''}`,
    rows: gate.rows,
    columns: gate.columns,
    tokens: pairs / experts,
  } as const;
  return tuned(gpu, kernelClass, matmulVariants, matmulVariant);
}

/** Pairs per tile: about as many as an expert gets, so that few rows of a tile stay empty. */
function expertTile(
  gpu: Gpu,
  variant: MatmulVariant,
  pairs: number,
  experts: number,
  int8?: boolean,
): TileShape {
  return tileShape(gpu, variant, pairs / experts, int8);
}

/**
 * Sorts a chunk's (token, slot) pairs by expert into tiles, and counts the workgroups of two
 * grouped products over `columns1` and `columns2` columns; see `shaders/group_by_expert.wgsl`.
 */
export function groupByExpert(
  rec: Recorder,
  args: {
    ids: BufferSlice;
    pairs: number;
    experts: number;
    slotOf: BufferSlice;
    table: number;
    columns1: number;
    columns2: number;
    groups: ExpertGroups;
    variant?: MatmulVariant;
  },
): void {
  const { ids, pairs, experts, slotOf, table, groups } = args;
  const variant = args.variant ?? matmulVariant(rec.gpu);
  const tile = expertTile(rec.gpu, variant, pairs, experts);
  const { software, maxWorkgroupSize } = rec.gpu.capabilities;
  const pipeline = rec.gpu.pipelines.get('group_by_expert', {
    WORKGROUP: software ? 32 : Math.min(256, maxWorkgroupSize),
    EXPERTS: experts,
    TILE_M: tile.rows,
  });
  const workgroups = (columns: number) => Math.ceil(columns / tile.columnsPerWorkgroup);
  rec.dispatch(
    pipeline,
    [pairs, table, workgroups(args.columns1), workgroups(args.columns2)],
    [ids, slotOf, groups.order, groups.tiles, groups.counts],
    1,
  );
}

/**
 * y[q, n] = W_e[n] . x[q / divisor] for the pairs q of each expert e; see `shaders/matmul.wgsl`,
 * mode 1. `product` says which of the two counts of `groupByExpert` applies.
 */
export function expertMatmul(
  rec: Recorder,
  args: {
    weight: ExpertMatrix;
    x: Rows;
    y: Rows;
    /** First output column within a row of y. */
    first?: number;
    divisor: number;
    pairs: number;
    experts: number;
    groups: ExpertGroups;
    product: 0 | 1;
    variant?: MatmulVariant;
  },
): void {
  const { weight, x, y, first = 0, divisor, pairs, experts, groups, product } = args;
  const variant = args.variant ?? matmulVariant(rec.gpu);
  const read = operand(rec.gpu, weight.type, x);
  const tile = expertTile(rec.gpu, variant, pairs, experts, read.defines.INT8 === true);
  const { defines, storage } = decoder(rec.gpu, weight.type, 5);
  const pipeline = rec.gpu.pipelines.get('matmul', {
    ...defines,
    ...read.defines,
    ...tile.defines,
    MODE: 1,
  });
  const counts = groups.counts.buffer.slice(groups.counts.offset + 12 * product, 12);
  for (const slab of weight.slabs) {
    rec.dispatchIndirect(
      pipeline,
      [
        weight.rows,
        paddedFor(weight.type, weight.columns) / 8,
        pairs,
        read.stride,
        y.stride,
        first,
        rowBytes(weight.type, weight.columns),
        0, // nothing
        divisor,
        slab.firstSlot,
        slab.slots,
        weight.slotBytes / 16,
        weight.offset / 16,
      ],
      [slab.slice, read.slice, y.slice, groups.order, groups.tiles, ...storage],
      counts,
    );
  }
}
