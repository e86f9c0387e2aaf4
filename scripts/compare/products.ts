import { Random } from '../../kernels-test/random.ts';
import { numberFormats } from '../../src/quant/index.ts';
import { randomBlocks } from '../../src/quant/random-blocks.ts';

/**
 * y = W x, 4-bit weights. A call multiplies by several matrices of one shape: the overhead of a call
 * is shared, and a matrix is not in a cache because it was used a moment ago.
 */
export interface Products {
  /** Of each matrix. */
  readonly rows: number;
  readonly columns: number;
  /** Rows of x: 1 as in decoding, many as in a prompt. */
  readonly tokens: number;
  /** Matrices. */
  readonly count: number;
}

/** The shapes compared: what an attention projection of the 30B and an expert of the 480B are like. */
export function productShapes(isSoftware: boolean): Products[] {
  // A real GPU takes microseconds for one of these, and more than that for a call.
  const count = isSoftware ? 8 : 32;
  return [
    { rows: 2048, columns: 2048, tokens: 1, count },
    { rows: 6144, columns: 2560, tokens: 1, count },
    { rows: 2048, columns: 2048, tokens: 128, count },
  ];
}

export function shapeName({ rows, columns, tokens }: Products): string {
  return `${rows}x${columns} M=${tokens}`;
}

/** Each product's result is the next one's x; otherwise all have the same x, and all y are results. */
export function isChained({ rows, columns }: Products): boolean {
  return rows === columns;
}

/** [tokens, columns]; the same in every process. */
export function inputOf({ tokens, columns }: Products): Float32Array<ArrayBuffer> {
  return new Random(`input ${tokens}x${columns}`).normal(tokens * columns);
}

/** The matrices, as Q4_0 blocks; the same in every process. */
export function weightsOf({ rows, columns, count }: Products): Uint8Array[] {
  const { blockElements, blockBytes } = numberFormats.Q4_0;
  const random = new Random(`weights ${rows}x${columns}`);
  // Results are about as large as inputs, so that a chain neither grows nor fades.
  const largest = 2.3 / Math.sqrt(columns);
  const blocks = (rows * columns) / blockElements;
  const first = randomBlocks('Q4_0', blocks, () => random.unit(), largest);
  // The others have the rows of the first in another order: as good, and much quicker to make.
  const rowBytes = (columns / blockElements) * blockBytes;
  return Array.from({ length: count }, (_, i) => {
    const from = Math.floor((i * rows) / count) * rowBytes;
    const turned = new Uint8Array(first.length);
    turned.set(first.subarray(from));
    turned.set(first.subarray(0, from), first.length - from);
    return turned;
  });
}

/** [tokens, rows]: x times the first of the matrices, in double precision. */
export function exactProduct(products: Products): Float64Array {
  const { rows, columns, tokens } = products;
  const values = new Float32Array(rows * columns);
  numberFormats.Q4_0.decode(weightsOf({ ...products, count: 1 })[0], values);
  const x = Float64Array.from(inputOf(products));
  const y = new Float64Array(tokens * rows);
  for (let row = 0; row < rows; row++) {
    const weights = Float64Array.from(values.subarray(row * columns, (row + 1) * columns));
    for (let token = 0; token < tokens; token++) {
      let sum = 0;
      const at = token * columns;
      for (let k = 0; k < columns; k++) sum += weights[k] * x[at + k];
      y[token * rows + row] = sum;
    }
  }
  return y;
}
