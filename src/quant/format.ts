import { MowgliError } from '../errors.ts';

/** Formats in which every value stands alone, as an IEEE 754 float or its upper half. */
export type FloatType = 'F32' | 'F16' | 'BF16';

/**
 * Formats in which values share scales, by the names of ggml; FP8, by that of safetensors; and the
 * two of its tensors as one, which no file holds.
 */
export type BlockType =
  | 'Q8_0'
  | 'Q4_0'
  | 'Q4_1'
  | 'Q5_0'
  | 'Q5_1'
  | 'Q2_K'
  | 'Q3_K'
  | 'Q4_K'
  | 'Q5_K'
  | 'Q6_K'
  | 'IQ4_NL'
  | 'IQ4_XS'
  | 'IQ3_S'
  | 'IQ3_XXS'
  | 'IQ2_S'
  | 'IQ2_XS'
  | 'IQ2_XXS'
  | 'IQ1_S'
  | 'IQ1_M'
  | 'MXFP4'
  | 'F8_E4M3'
  | 'F8_B128';

/** Every number format that a file may hold and that can be decoded here. */
export type NumberType = FloatType | BlockType;

/** The number formats that weights can be made in without a loss to speak of. */
export type TensorType = FloatType;

/**
 * A number format: how weights are stored, as blocks of `blockElements` values in `blockBytes`
 * bytes. The decoder here is the reference for the WGSL decoder `shaders/quant/<shader>.wgsl`.
 */
export interface NumberFormat {
  readonly name: NumberType;
  readonly blockElements: number;
  readonly blockBytes: number;
  /** Values are integers below 2^7 times a scale, plus an offset; the WGSL decoder gives them as such. */
  readonly hasIntegers?: boolean;
  /** File name, without extension, in `shaders/quant/`. */
  readonly shader: string;
  /**
   * Decodes whole blocks; `out.length` values are written.
   * @throws MowgliError `OPTION_INVALID` when that is not a number of whole blocks, all in `bytes`.
   */
  decode(bytes: Uint8Array, out: Float32Array): void;
  /**
   * Encodes whole blocks, rounding to nearest even where the format is a float. Absent where a good
   * encoding takes a search that this library has no use for.
   * @throws MowgliError `OPTION_INVALID` when `values.length` is not a number of whole blocks.
   */
  encode?(values: Float32Array): Uint8Array;
}

/** A format that this library can also write. */
export type EncodableFormat = NumberFormat & Required<Pick<NumberFormat, 'encode'>>;

/** One block: its values from `out[to]`, its bytes from `bytes[at]`. */
type DecodeBlock = (bytes: Uint8Array, at: number, out: Float32Array, to: number) => void;

/** One block: its values from `values[from]`, its bytes (zeros so far) from `bytes[at]`. */
type EncodeBlock = (values: Float32Array, from: number, bytes: Uint8Array, at: number) => void;

interface BlockLayout {
  readonly name: BlockType;
  /** Default: true. */
  readonly hasIntegers?: boolean;
  readonly elements: number;
  readonly bytes: number;
  readonly decode: DecodeBlock;
  readonly encode?: EncodeBlock;
}

/**
 * Makes a format of what happens to one block. Decoders compute in doubles and round once, when a
 * value is stored, and yet agree bit for bit with ggml, which computes in f32: a scale is a half (11
 * significant bits) and all it is multiplied with are small integers, so that every product is exact
 * in f32 too; at most one addition follows, and it is the one that rounds.
 */
export function blockFormat(layout: BlockLayout & { encode: EncodeBlock }): EncodableFormat;
export function blockFormat(layout: BlockLayout): NumberFormat;
export function blockFormat(layout: BlockLayout): NumberFormat {
  const { name, hasIntegers = true, elements, bytes: size, decode, encode } = layout;
  const blocksOf = (values: number) => {
    if (values % elements === 0) return values / elements;
    throw new MowgliError(
      'OPTION_INVALID',
      `${values} values are not whole ${name} blocks of ${elements}; pass whole blocks`,
    );
  };
  return {
    name,
    blockElements: elements,
    blockBytes: size,
    hasIntegers,
    shader: name.toLowerCase(),
    decode(bytes, out) {
      const blocks = blocksOf(out.length);
      if (blocks * size > bytes.length) {
        throw new MowgliError(
          'OPTION_INVALID',
          `${out.length} values of ${name} take ${blocks * size} bytes, but there are ${bytes.length}; pass them all`,
        );
      }
      for (let block = 0; block < blocks; block++) {
        decode(bytes, block * size, out, block * elements);
      }
    },
    ...(encode && {
      encode(values: Float32Array) {
        const blocks = blocksOf(values.length);
        const bytes = new Uint8Array(blocks * size);
        for (let block = 0; block < blocks; block++) {
          encode(values, block * elements, bytes, block * size);
        }
        return bytes;
      },
    }),
  };
}
