import { MowgliError } from '../errors.ts';
import type { ModelConfig } from '../files/model-config.ts';
import type { TensorStore } from '../files/tensors.ts';
import { rowBytes } from '../kernels/matrix.ts';
import type { NumberType } from '../quant/index.ts';
import { commonType } from './tensor-upload.ts';

export const projections = ['gate', 'up', 'down'] as const;
export type Projection = (typeof projections)[number];

/** Slots begin at a multiple of this, which WebGPU asks of bound ranges. */
const slotAlignment = 256;

/** Matrices within a slot begin at a multiple of this, in which kernels count. */
const matrixAlignment = 16;

/** One matrix of an expert: what it is, and where it lies. */
export interface MatrixLayout {
  readonly type: NumberType;
  readonly rows: number;
  readonly columns: number;
  /** Index into `ExpertLayout.regions`. */
  readonly region: number;
  /** From the region's start, in bytes. */
  readonly offset: number;
}

/**
 * How one expert lies on the GPU, and in the memory of the host on its way there. Its matrices are in
 * regions, each of which has slots of its own: gate and up of one type share a region, since one
 * kernel reads both; down has its own, so that the experts of the largest models fit a binding of
 * 128 MiB each. Layers of equal layout share slots.
 */
export interface ExpertLayout {
  readonly gate: MatrixLayout;
  readonly up: MatrixLayout;
  readonly down: MatrixLayout;
  /** Bytes of one slot in each region. */
  readonly regions: readonly number[];
  /** The expert's bytes on the GPU: all regions together. */
  readonly bytes: number;
}

/** The tensor of one expert's matrix. */
export function expertTensor(layer: number, expert: number, projection: Projection): string {
  return `model.layers.${layer}.mlp.experts.${expert}.${projection}_proj.weight`;
}

/**
 * How the experts of a layer lie on the GPU: in their file's type, or in F32 where a layer's experts
 * differ in a projection's type.
 *
 * @throws MowgliError `TENSOR_MISSING`; `OUT_OF_MEMORY` when a region passes what a binding may hold
 */
export function expertLayout(
  config: ModelConfig,
  tensors: TensorStore,
  layer: number,
  maxBindingBytes: number,
): ExpertLayout {
  const { numExperts, hiddenSize: hidden, moeIntermediateSize: inner } = config;
  const typeOf = (projection: Projection) =>
    commonType(
      tensors,
      Array.from({ length: numExperts }, (_, e) => expertTensor(layer, e, projection)),
    );
  const gateType = typeOf('gate');
  const upType = typeOf('up');
  const downType = typeOf('down');
  const gateBytes = matrixBytes(gateType, inner, hidden);
  const upBytes = matrixBytes(upType, inner, hidden);
  const shared = gateType === upType;
  const sizes = [shared ? gateBytes + upBytes : gateBytes, matrixBytes(downType, hidden, inner)];
  if (!shared) sizes.push(upBytes);
  const regions = sizes.map((bytes) => Math.ceil(bytes / slotAlignment) * slotAlignment);
  const largest = Math.max(...regions);
  if (largest > maxBindingBytes) {
    throw new MowgliError(
      'OUT_OF_MEMORY',
      `layer ${layer}: the matrices of one expert take ${largest} bytes in ${gateType}, and this ` +
        `device binds ${maxBindingBytes} at most; use a model in a smaller number format`,
    );
  }
  return {
    gate: { type: gateType, rows: inner, columns: hidden, region: 0, offset: 0 },
    up: {
      type: upType,
      rows: inner,
      columns: hidden,
      region: shared ? 0 : 2,
      offset: shared ? gateBytes : 0,
    },
    down: { type: downType, rows: hidden, columns: inner, region: 1, offset: 0 },
    regions,
    bytes: regions.reduce((sum, bytes) => sum + bytes, 0),
  };
}

/** Where a matrix begins in an expert's image: its regions one after the other. */
export function imageOffset(layout: ExpertLayout, projection: Projection): number {
  const { region, offset } = layout[projection];
  return layout.regions.slice(0, region).reduce((sum, bytes) => sum + bytes, 0) + offset;
}

/** Whether experts of two layouts can take each other's slots. */
export function sameLayout(a: ExpertLayout, b: ExpertLayout): boolean {
  return projections.every((projection) => a[projection].type === b[projection].type);
}

function matrixBytes(type: NumberType, rows: number, columns: number): number {
  return Math.ceil((rows * rowBytes(type, columns)) / matrixAlignment) * matrixAlignment;
}
