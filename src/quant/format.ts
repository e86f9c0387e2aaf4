/**
 * A number format: how weights are stored, as blocks of `blockElements` values in `blockBytes`
 * bytes. The decoder here is the reference for the WGSL decoder `shaders/quant/<shader>.wgsl`.
 */
export interface NumberFormat {
  readonly name: TensorType;
  readonly blockElements: number;
  readonly blockBytes: number;
  /** File name, without extension, in `shaders/quant/`. */
  readonly shader: string;
  /** Decodes whole blocks; `out.length` values are written. */
  decode(bytes: Uint8Array, out: Float32Array): void;
  /** Encodes, rounding to nearest even where the format is a float. */
  encode(values: Float32Array): Uint8Array;
}

export type TensorType = 'F32' | 'F16' | 'BF16';
