import { BF16 } from './bf16.ts';
import { F8_B128 } from './f8_b128.ts';
import { F8_E4M3 } from './f8_e4m3.ts';
import { F16 } from './f16.ts';
import { F32 } from './f32.ts';
import type { BlockType, EncodableFormat, NumberFormat, NumberType, TensorType } from './format.ts';
import { IQ1_M } from './iq1_m.ts';
import { IQ1_S } from './iq1_s.ts';
import { IQ2_S } from './iq2_s.ts';
import { IQ2_XS } from './iq2_xs.ts';
import { IQ2_XXS } from './iq2_xxs.ts';
import { IQ3_S } from './iq3_s.ts';
import { IQ3_XXS } from './iq3_xxs.ts';
import { IQ4_NL } from './iq4_nl.ts';
import { IQ4_XS } from './iq4_xs.ts';
import { MXFP4 } from './mxfp4.ts';
import { Q2_K } from './q2_k.ts';
import { Q3_K } from './q3_k.ts';
import { Q4_0 } from './q4_0.ts';
import { Q4_1 } from './q4_1.ts';
import { Q4_K } from './q4_k.ts';
import { Q5_0 } from './q5_0.ts';
import { Q5_1 } from './q5_1.ts';
import { Q5_K } from './q5_k.ts';
import { Q6_K } from './q6_k.ts';
import { Q8_0 } from './q8_0.ts';

export type {
  BlockType,
  EncodableFormat,
  FloatType,
  NumberFormat,
  NumberType,
  TensorType,
} from './format.ts';

/** The number formats in which every value stands alone as a float, by their name in files. */
export const formats: Readonly<Record<TensorType, EncodableFormat>> = { F32, F16, BF16 };

/** The number formats in which values share scales. */
const blockFormats: Readonly<Record<BlockType, NumberFormat>> = {
  Q8_0,
  Q4_0,
  Q4_1,
  Q5_0,
  Q5_1,
  Q2_K,
  Q3_K,
  Q4_K,
  Q5_K,
  Q6_K,
  IQ4_NL,
  IQ4_XS,
  IQ3_S,
  IQ3_XXS,
  IQ2_S,
  IQ2_XS,
  IQ2_XXS,
  IQ1_S,
  IQ1_M,
  MXFP4,
  F8_E4M3,
  F8_B128,
};

/** Every number format that can be decoded here, by its name in files. */
export const numberFormats: Readonly<Record<NumberType, NumberFormat>> = {
  ...formats,
  ...blockFormats,
};

/** Bytes of `elements` values in this format. */
export function formatBytes(type: NumberType, elements: number): number {
  const { blockElements, blockBytes } = numberFormats[type];
  return Math.ceil(elements / blockElements) * blockBytes;
}
