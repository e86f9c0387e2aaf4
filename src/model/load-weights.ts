import { commonType, loadRows, tensorInfo, type WeightLoader } from '../experts/tensor-upload.ts';
import type { BufferSlice } from '../gpu/buffer.ts';
import { type Matrix, type MatrixPart, padded, rowBytes } from '../kernels/matrix.ts';
import { formats } from '../quant/index.ts';

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
    formats[type].decode(bytes, values.subarray(i * stride, i * stride + shape[0]));
    loader.onBytes(bytes.length);
  }
  return (await loader.buffers.upload('weights', values)).all();
}

/**
 * The matrices of several tensors [rows, columns] stacked into one, so that one product serves
 * them all. It is cut into parts of whole rows that fit a binding.
 */
export async function loadMatrix(loader: WeightLoader, names: readonly string[]): Promise<Matrix> {
  const type = commonType(loader, names);
  const tensors = names.map((name) => tensorInfo(loader, name));
  const columns = tensors[0].shape[1];
  const rows = tensors.reduce((sum, tensor) => sum + tensor.shape[0], 0);
  const stride = rowBytes(type, columns);
  const { maxBindingBytes } = loader.buffers.gpu.capabilities;
  const rowsPerPart = Math.min(rows, Math.floor(maxBindingBytes / stride));
  const parts: MatrixPart[] = [];
  for (let firstRow = 0; firstRow < rows; firstRow += rowsPerPart) {
    const partRows = Math.min(rowsPerPart, rows - firstRow);
    const buffer = await loader.buffers.allocate('weights', partRows * stride);
    parts.push({ slice: buffer.slice(0, partRows * stride), firstRow, rows: partRows });
  }
  let row = 0;
  for (const tensor of tensors) {
    await loadRows(loader, tensor.name, type, (tensorRow, count) => {
      const at = row + tensorRow;
      const part = parts[Math.floor(at / rowsPerPart)];
      return {
        buffer: part.slice.buffer,
        offset: (at - part.firstRow) * stride,
        rows: Math.min(count, part.firstRow + part.rows - at),
      };
    });
    row += tensor.shape[0];
  }
  return { type, rows, columns, parts };
}
