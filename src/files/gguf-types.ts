import type { NumberType } from '../quant/index.ts';
import { decodeText } from './json.ts';

/**
 * GGUF's numbers for things (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). Tensor types
 * are those of `enum ggml_type`; the gaps are types that were withdrawn.
 */
export const ggmlTypes: ReadonlyMap<number, NumberType> = new Map<number, NumberType>([
  [0, 'F32'],
  [1, 'F16'],
  [2, 'Q4_0'],
  [3, 'Q4_1'],
  [6, 'Q5_0'],
  [7, 'Q5_1'],
  [8, 'Q8_0'],
  [10, 'Q2_K'],
  [11, 'Q3_K'],
  [12, 'Q4_K'],
  [13, 'Q5_K'],
  [14, 'Q6_K'],
  [16, 'IQ2_XXS'],
  [17, 'IQ2_XS'],
  [18, 'IQ3_XXS'],
  [19, 'IQ1_S'],
  [20, 'IQ4_NL'],
  [21, 'IQ3_S'],
  [22, 'IQ2_S'],
  [23, 'IQ4_XS'],
  [29, 'IQ1_M'],
  [30, 'BF16'],
  [39, 'MXFP4'],
]);

/** Types that ggml has and that no decoder here reads, for messages. */
const otherGgmlTypes: ReadonlyMap<number, string> = new Map([
  [4, 'Q4_2 (withdrawn)'],
  [5, 'Q4_3 (withdrawn)'],
  [9, 'Q8_1'],
  [15, 'Q8_K'],
  [24, 'I8'],
  [25, 'I16'],
  [26, 'I32'],
  [27, 'I64'],
  [28, 'F64'],
  [31, 'Q4_0_4_4 (withdrawn)'],
  [32, 'Q4_0_4_8 (withdrawn)'],
  [33, 'Q4_0_8_8 (withdrawn)'],
  [34, 'TQ1_0'],
  [35, 'TQ2_0'],
  [36, 'IQ4_NL_4_4 (withdrawn)'],
  [37, 'IQ4_NL_4_8 (withdrawn)'],
  [38, 'IQ4_NL_8_8 (withdrawn)'],
  [40, 'NVFP4'],
  [41, 'Q1_0'],
  [42, 'Q2_0'],
]);

/** A tensor type as it is shown in a message. */
export function ggmlTypeName(type: number): string {
  return ggmlTypes.get(type) ?? otherGgmlTypes.get(type) ?? `number ${type}`;
}

/** Types of metadata values, at the place of their number. */
export const ggufValueTypes = [
  'u8',
  'i8',
  'u16',
  'i16',
  'u32',
  'i32',
  'f32',
  'bool',
  'string',
  'array',
  'u64',
  'i64',
  'f64',
] as const;

export type GgufValueType = (typeof ggufValueTypes)[number];

/** Numbers of one type; bools are 0 and 1, 64-bit integers bigints. */
export type GgufNumbers =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array
  | BigUint64Array
  | BigInt64Array;

/** Elements of an array. */
export type GgufElements = GgufNumbers | GgufStrings | readonly GgufArray[];

/** An array in the metadata. */
export class GgufArray {
  /** Type of the elements. */
  readonly type: GgufValueType;
  readonly elements: GgufElements;

  constructor(type: GgufValueType, elements: GgufElements) {
    this.type = type;
    this.elements = elements;
  }

  get length(): number {
    return this.elements.length;
  }

  /** For messages: arrays are as long as a stranger's file wants them to be. */
  toJSON(): string {
    return `an array of ${this.length} ${this.type}`;
  }
}

/**
 * Strings as they lie in a file, decoded when asked for: a vocabulary takes twice its bytes and a
 * good part of a second as JavaScript strings, and who only looks at a file has no use for it.
 */
export class GgufStrings implements Iterable<string> {
  readonly #header: { readonly bytes: Uint8Array };
  readonly #places: Uint32Array;
  readonly #name: string;

  /**
   * @param header what they lie in
   * @param places where string i begins, `places[2 i]`, and ends, `places[2 i + 1]`
   * @param name what to call them in messages
   */
  constructor(header: { readonly bytes: Uint8Array }, places: Uint32Array, name: string) {
    this.#header = header;
    this.#places = places;
    this.#name = name;
  }

  get length(): number {
    return this.#places.length / 2;
  }

  /** @throws MowgliError `FILE_INVALID` when it is not UTF-8. */
  at(i: number): string {
    const bytes = this.#header.bytes.subarray(this.#places[2 * i], this.#places[2 * i + 1]);
    return asciiText(bytes) ?? decodeText(bytes, `${this.#name}[${i}]`);
  }

  /** The first place of a string; -1 when it is not among them. Decodes nothing. */
  indexOf(text: string): number {
    const wanted = new TextEncoder().encode(text);
    const { bytes } = this.#header;
    for (let i = 0; i < this.length; i++) {
      const begin = this.#places[2 * i];
      if (this.#places[2 * i + 1] - begin !== wanted.length) continue;
      let j = 0;
      while (j < wanted.length && bytes[begin + j] === wanted[j]) j++;
      if (j === wanted.length) return i;
    }
    return -1;
  }

  *[Symbol.iterator](): Generator<string> {
    for (let i = 0; i < this.length; i++) yield this.at(i);
  }
}

/** A metadata value. Integers beyond 2^53 are bigints, all other numbers are numbers. */
export type GgufValue = number | bigint | boolean | string | GgufArray;

/** The metadata of a file, by key. */
export type GgufMetadata = ReadonlyMap<string, GgufValue>;

/** Most tokens are short and plain, and then this takes a quarter of a TextDecoder's time. */
function asciiText(bytes: Uint8Array): string | undefined {
  if (bytes.length > 24) return undefined;
  let text = '';
  for (const byte of bytes) {
    if (byte > 0x7f) return undefined;
    text += String.fromCharCode(byte);
  }
  return text;
}
