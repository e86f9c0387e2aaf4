import { type Fp8Config, fp8Block } from './fp8-config.ts';
import { showShape, type TensorInfo } from './tensors.ts';

/** The name of the tensor with the scales of an FP8 weight. */
export function scaleName(weight: string): string {
  return `${weight}_scale_inv`;
}

/** Scales of a weight of this shape: one for each block of 128 x 128, the last ones for what is left. */
export function scaleShape(weight: readonly number[]): number[] {
  return weight.map((size) => Math.ceil(size / fp8Block));
}

/** What is wrong with the FP8 tensors of a checkpoint; each entry begins with a tensor's name. */
export interface Fp8Problems {
  readonly missing: string[];
  readonly misshapen: string[];
  readonly mistyped: string[];
}

/**
 * Checks an FP8 weight and its scales. The type in the file decides whether a weight is FP8: one that
 * the configuration would convert and the file has as a float is simply that float.
 *
 * @param config `undefined` when the configuration says nothing of FP8
 * @returns the name of its scales when they are there
 */
export function checkFp8(
  weight: TensorInfo,
  tensors: ReadonlyMap<string, TensorInfo>,
  config: Fp8Config | undefined,
  problems: Fp8Problems,
): string | undefined {
  const { name, shape } = weight;
  if (config === undefined) {
    problems.mistyped.push(`${name} (F8_E4M3, and config.json has no quantization_config)`);
    return undefined;
  }
  if (isListed(name, config)) {
    problems.mistyped.push(`${name} (F8_E4M3, and modules_to_not_convert lists it)`);
  } else if (shape.length !== 2) {
    problems.mistyped.push(`${name} (F8_E4M3, which only matrices can be)`);
    return undefined;
  }
  const scales = tensors.get(scaleName(name));
  if (scales === undefined) {
    problems.missing.push(scaleName(name));
    return undefined;
  }
  const expected = scaleShape(shape);
  if (showShape(scales.shape) !== showShape(expected)) {
    problems.misshapen.push(
      `${scales.name} (${showShape(scales.shape)} instead of ${showShape(expected)})`,
    );
  }
  if (scales.type !== 'F32' && scales.type !== 'BF16') {
    problems.mistyped.push(`${scales.name} (${scales.type} instead of F32 or BF16)`);
  }
  return scales.name;
}

/** Whole names of modules only: `mlp.gate` is the router, and not `mlp.gate_proj`. */
function isListed(tensor: string, { notConverted }: Fp8Config): boolean {
  const inDots = `.${tensor}`;
  return notConverted.some((module) => inDots.includes(`.${module}.`));
}
