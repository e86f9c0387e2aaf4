import { loadRows, tensorInfo, type WeightLoader } from '../experts/tensor-upload.ts';
import type { TensorInfo } from '../files/tensors.ts';
import type { BufferSlice } from '../gpu/buffer.ts';
import { type Matrix, type MatrixPart, padded, rowBytes } from '../kernels/matrix.ts';
import { type NumberType, numberFormats } from '../quant/index.ts';

/** A one-dimensional tensor as f32, padded with zeros to a multiple of eight. */
export async function loadVector(loader: WeightLoader, name: string): Promise<BufferSlice> {
  return loadVectors(loader, [name], padded(tensorInfo(loader, name).shape[0]));
}

/** One-dimensional tensors as f32, one after the other, each padded with zeros to `stride` values. */
export async function loadVectors(
  loader: WeightLoader,
  names: readonly string[],
  stride: number,
): Promise<BufferSlice> {
  const values = new Float32Array(names.length * stride);
  for (const [i, name] of names.entries()) {
    const { type, shape } = tensorInfo(loader, name);
    const bytes = await loader.tensors.read(name, { signal: loader.signal });
    numberFormats[type].decode(bytes, values.subarray(i * stride, i * stride + shape[0]));
    loader.onBytes(bytes.length);
  }
  return (await loader.buffers.upload('weights', values)).all();
}

/**
 * Tensors [rows, columns] stacked into one matrix, so that one product serves them all; where their
 * types differ, into a matrix for each run of one type, each with its place among the outputs.
 */
export async function loadStacked(
  loader: WeightLoader,
  names: readonly string[],
): Promise<Matrix[]> {
  const matrices: Matrix[] = [];
  for (const run of stackedRuns(names.map((name) => tensorInfo(loader, name)))) {
    matrices.push(await loadRun(loader, run.names, run.type, run.firstRow));
  }
  return matrices;
}

/** Tensors that become one matrix when they are stacked. */
export interface StackedRun {
  readonly names: string[];
  readonly type: NumberType;
  readonly firstRow: number;
  rows: number;
}

/** How tensors [rows, columns] that follow one another are stacked. */
export function stackedRuns(tensors: readonly TensorInfo[]): StackedRun[] {
  const runs: StackedRun[] = [];
  let row = 0;
  for (const { name, type, shape } of tensors) {
    const run = runs.at(-1);
    // A tensor that ends within a word cannot be followed by another.
    if (run?.type === type && (run.rows * rowBytes(type, shape[1])) % 4 === 0) {
      run.names.push(name);
      run.rows += shape[0];
    } else {
      runs.push({ names: [name], type, firstRow: row, rows: shape[0] });
    }
    row += shape[0];
  }
  return runs;
}

/** One tensor [rows, columns], cut into parts of whole rows that fit a binding. */
export function loadMatrix(loader: WeightLoader, name: string): Promise<Matrix> {
  return loadRun(loader, [name], tensorInfo(loader, name).type, 0);
}

async function loadRun(
  loader: WeightLoader,
  names: readonly string[],
  type: NumberType,
  firstOutput: number,
): Promise<Matrix> {
  const tensors = names.map((name) => tensorInfo(loader, name));
  const columns = tensors[0].shape[1];
  const rows = tensors.reduce((sum, tensor) => sum + tensor.shape[0], 0);
  const stride = rowBytes(type, columns);
  const { maxBindingBytes } = loader.buffers.gpu.capabilities;
  // Parts of four rows are whole words.
  const rowsPerPart = Math.min(rows, Math.max(4, Math.floor(maxBindingBytes / stride / 4) * 4));
  const parts: MatrixPart[] = [];
  for (let first = 0; first < rows; first += rowsPerPart) {
    const partRows = Math.min(rowsPerPart, rows - first);
    const buffer = await loader.buffers.allocate('weights', partRows * stride);
    parts.push({ slice: buffer.all(), firstRow: firstOutput + first, rows: partRows });
  }
  let row = 0;
  for (const tensor of tensors) {
    await loadRows(loader, tensor.name, type, (tensorRow, count) => {
      const at = row + tensorRow;
      const index = Math.floor(at / rowsPerPart);
      const withinPart = at - index * rowsPerPart;
      return {
        buffer: parts[index].slice.buffer,
        offset: withinPart * stride,
        rows: Math.min(count, parts[index].rows - withinPart),
      };
    });
    row += tensor.shape[0];
  }
  return { type, rows, columns, parts };
}
