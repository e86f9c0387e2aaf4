import { MowgliError, throwIfAborted } from '../errors.ts';
import { mapConcurrent } from '../files/concurrent.ts';
import type { TensorInfo, TensorStore } from '../files/tensors.ts';
import type { GpuBuffer } from '../gpu/buffer.ts';
import type { BufferSet } from '../gpu/buffer-set.ts';
import { paddedFor, rowBytes } from '../kernels/matrix.ts';
import {
  type FloatType,
  formatBytes,
  formats,
  type NumberType,
  numberFormats,
} from '../quant/index.ts';

/** Bytes read at a time: large enough for a disk, small enough to stay in the CPU's cache. */
const pieceBytes = 4 << 20;

/** Reads in flight at once; more gain nothing and delay everything else in the process. */
const concurrentReads = 4;

/** Where weights come from, where they go, and who wants to know. */
export interface WeightLoader {
  readonly tensors: TensorStore;
  readonly buffers: BufferSet;
  readonly signal: AbortSignal | undefined;
  /** Told after each piece how many bytes of the files it was. */
  readonly onBytes: (bytes: number) => void;
}

/** What the file says about a tensor. */
export function tensorInfo({ tensors }: { tensors: TensorStore }, name: string): TensorInfo {
  const tensor = tensors.tensors.get(name);
  if (tensor) return tensor;
  throw new MowgliError('TENSOR_MISSING', `the model has no tensor ${name}; download it again`);
}

/**
 * The type to keep tensors in that must have one: their own where it is the same, else F32, which
 * represents all of them exactly.
 */
export function commonType(tensors: TensorStore, names: readonly string[]): NumberType {
  const types = new Set(names.map((name) => tensorInfo({ tensors }, name).type));
  return types.size === 1 ? [...types][0] : 'F32';
}

/**
 * Reads a tensor [rows, columns] piece by piece into GPU buffers, rows padded to whole groups.
 * `place` says where a run of rows goes, and how many of them fit there.
 */
export async function loadRows(
  loader: WeightLoader,
  name: string,
  type: NumberType,
  place: (row: number, count: number) => { buffer: GpuBuffer; offset: number; rows: number },
): Promise<void> {
  const tensor = tensorInfo(loader, name);
  const [rows, columns] = tensor.shape;
  const fileRow = formatBytes(tensor.type, columns);
  // Four rows of whole blocks are whole words, which is how a GPU buffer is written.
  const rowsPerPiece = Math.max(4, Math.floor(pieceBytes / fileRow / 4) * 4);
  const pieces: { row: number; buffer: GpuBuffer; offset: number; rows: number }[] = [];
  for (let row = 0; row < rows; ) {
    const target = place(row, Math.min(rowsPerPiece, rows - row));
    pieces.push({ row, ...target });
    row += target.rows;
  }
  const asInFile = tensor.type === type && fileRow === rowBytes(type, columns);
  await mapConcurrent(pieces, concurrentReads, async (piece) => {
    throwIfAborted(loader.signal, 'loading the model');
    const bytes = await loader.tensors.read(name, {
      offset: piece.row * fileRow,
      length: piece.rows * fileRow,
      signal: loader.signal,
    });
    const data = asInFile ? bytes : repack(bytes, tensor.type, type, piece.rows, columns);
    loader.buffers.gpu.write(piece.buffer, piece.offset, wholeWords(data));
    loader.onBytes(bytes.length);
  });
}

/** Converts rows to another type and pads them. Only odd shapes and mixed types come this way. */
export function repack(
  bytes: Uint8Array,
  from: NumberType,
  to: NumberType,
  rows: number,
  columns: number,
): Uint8Array {
  const { blockElements } = numberFormats[from];
  const inFile = Math.ceil(columns / blockElements) * blockElements; // F8_B128 fills up its last block
  const values = new Float32Array(rows * inFile);
  numberFormats[from].decode(bytes, values);
  const stride = paddedFor(to, columns);
  const wide = new Float32Array(rows * stride);
  for (let row = 0; row < rows; row++) {
    wide.set(values.subarray(row * inFile, row * inFile + columns), row * stride);
  }
  // Blocks are never padded or converted into: their rows are whole, and mixtures become F32.
  return formats[to as FloatType].encode(wide);
}

/** The same bytes, followed by zeros up to a whole word. */
function wholeWords(bytes: Uint8Array): Uint8Array {
  if (bytes.length % 4 === 0) return bytes;
  const padded = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
  padded.set(bytes);
  return padded;
}
