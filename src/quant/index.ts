import { BF16 } from './bf16.ts';
import { F16 } from './f16.ts';
import { F32 } from './f32.ts';
import type { NumberFormat, TensorType } from './format.ts';

export type { NumberFormat, TensorType } from './format.ts';

/** Every number format the engine reads, by its name in files. */
export const formats: Readonly<Record<TensorType, NumberFormat>> = { F32, F16, BF16 };

/** Bytes of `elements` values in this format. */
export function formatBytes(type: TensorType, elements: number): number {
  const { blockElements, blockBytes } = formats[type];
  return Math.ceil(elements / blockElements) * blockBytes;
}
