/** Inputs of the references: what a GPU buffer holds, or what another reference returned. */
export type Values = Float32Array | Float64Array;

/** Throws unless `values` holds the product of `shape` elements. */
export function expectShape(name: string, values: ArrayLike<number>, shape: readonly number[]) {
  const elements = shape.reduce((product, size) => product * size, 1);
  if (values.length !== elements) {
    throw new RangeError(
      `${name} has ${values.length} elements; its shape [${shape}] asks for ${elements}`,
    );
  }
}
