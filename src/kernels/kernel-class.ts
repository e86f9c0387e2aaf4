import type { Gpu } from '../gpu/device.ts';

/** Kernels of which a device may run one of several variants, where it matters which. */
export type TunedKernel =
  | 'matvec'
  | 'expert gate-up'
  | 'expert matvec'
  | 'matmul'
  | 'expert matmul'
  | 'attention';

/** What the best variant of a kernel depends on, besides the device. */
export interface KernelClass {
  readonly kernel: TunedKernel;
  /** Number format of the weights, with `int8Suffix` where it applies; for attention, that of the cache and queries per KV head. */
  readonly format: string;
  /** Of the weights; for attention, query heads. */
  readonly rows: number;
  /** Of the weights; for attention, head_dim. */
  readonly columns: number;
  /** Vectors that meet the weights at once; for experts, those of one expert. */
  readonly tokens: number;
}

/** Ends the format of weights whose products take activations in int8. */
export const int8Suffix = ' int8';

/** Names the class: shapes that are alike have the same variant. */
export function classKey({ kernel, format, rows, columns, tokens }: KernelClass): string {
  const shape = `${powerOfTwoNear(rows)}x${powerOfTwoNear(columns)}`;
  return `${kernel} ${format} ${shape} M=${tokenClass(tokens)}`;
}

/** Counts of tokens between which the tiles that kernels use differ; the last stands for all above. */
export const tokenClasses = [1, 4, 16, 64] as const;

export function tokenClass(tokens: number): number {
  return tokenClasses.find((most) => tokens <= most) ?? tokenClasses.at(-1)!;
}

/**
 * The variant to record: the measured choice, if there is one and this device can run it, or else
 * what the rule says.
 */
export function tuned<Variant extends string>(
  gpu: Gpu,
  kernelClass: KernelClass,
  variants: (gpu: Gpu) => readonly Variant[],
  rule: (gpu: Gpu) => Variant,
): Variant {
  const choice = gpu.tuning?.choice(classKey(kernelClass));
  const known = choice && variants(gpu).find((variant) => variant === choice);
  return known || rule(gpu);
}

function powerOfTwoNear(n: number): number {
  return 2 ** Math.round(Math.log2(n));
}
