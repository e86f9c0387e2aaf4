import type { Driver } from '../../src/node/dawn.ts';
import { type AdapterChoice, MowgliError } from '../../src/node.ts';
import { median, type Timing } from './measure.ts';
import type { MowgliKernelsSide } from './mowgli-kernels-side.ts';
import type { OnnxRuntimeSide } from './onnxruntime-side.ts';
import { driverEnvironment } from './peers.ts';
import { exactProduct, type Products, productShapes, shapeName } from './products.ts';
import { Side } from './side.ts';

/** How one side multiplied matrices of one shape. */
export interface ProductResult {
  readonly shape: string;
  readonly side: string;
  readonly isOurs: boolean;
  /** Of one product: the median over the rounds. */
  readonly ms: number;
  readonly cpuMs: number;
  readonly gigaflops: number;
  /** The largest difference from the exact product, relative to the root mean square of that. */
  readonly error: number;
}

export interface ProductsReport {
  readonly results: readonly ProductResult[];
}

/** One way to multiply, wherever it runs. */
interface Way {
  readonly name: string;
  readonly isOurs: boolean;
  prepare(products: Products): Promise<Float32Array>;
  /** One call; the time is per product. */
  sample(): Promise<Timing>;
}

/** Calls of a side, one after the other, take at least so long. */
const sampleMs = 300;

/** Compares 4-bit products, in alternation. */
export async function compareProducts(options: {
  peers: string;
  rounds: number;
  driver: Driver;
  adapter: AdapterChoice | undefined;
  say: (text: string) => void;
}): Promise<ProductsReport> {
  const { peers, rounds, driver, adapter, say } = options;
  const mowgli = new Side<MowgliKernelsSide>('mowgli', 'mowgli-kernels-side.ts');
  let onnx: Side<OnnxRuntimeSide> | undefined;
  try {
    await mowgli.call('open', adapter);
    onnx = new Side('onnxruntime', 'onnxruntime-side.ts', driverEnvironment(driver));
    await onnx.call('open', peers);
    const ways = [...mowgliWays(mowgli), ...onnxWays(onnx)];
    const results: ProductResult[] = [];
    for (const products of productShapes(driver.isSoftware)) {
      say(`${shapeName(products)}: preparing`);
      const exact = exactProduct(products);
      const errors: number[] = [];
      for (const way of ways) errors.push(largestError(await way.prepare(products), exact));
      const timings: Timing[][] = ways.map(() => []);
      for (let round = 1; round <= rounds; round++) {
        say(`${shapeName(products)}: round ${round} of ${rounds}`);
        for (const [i, way] of ways.entries()) timings[i].push(await sample(way));
      }
      const { rows, columns, tokens } = products;
      for (const [i, { name, isOurs }] of ways.entries()) {
        const timing = median(timings[i]);
        results.push({
          shape: shapeName(products),
          side: name,
          isOurs,
          ...timing,
          gigaflops: (2 * rows * columns * tokens) / timing.ms / 1e6,
          error: errors[i],
        });
      }
    }
    return { results };
  } finally {
    await mowgli.end();
    await onnx?.end();
  }
}

function mowgliWays(side: Side<MowgliKernelsSide>): Way[] {
  return (['f32', 'int8'] as const).map((activations) => ({
    name: `mowgli ${activations}`,
    isOurs: true,
    prepare: (products) => side.call('prepare', products, activations),
    sample: () => side.call('sample', activations),
  }));
}

function onnxWays(side: Side<OnnxRuntimeSide>): Way[] {
  return ([0, 4] as const).map((level) => ({
    name: `onnxruntime accuracy_level ${level}`,
    isOurs: false,
    prepare: (products) => side.call('prepare', products, level),
    sample: () => side.call('sample', level),
  }));
}

/** The median of calls in a row, after one that brings the process back to the CPU. */
async function sample(way: Way): Promise<Timing> {
  await way.sample();
  const timings: Timing[] = [];
  const start = performance.now();
  do timings.push(await way.sample());
  while (performance.now() - start < sampleMs);
  return median(timings);
}

function largestError(values: Float32Array, exact: Float64Array): number {
  if (values.length !== exact.length) {
    throw new MowgliError(
      'OPTION_INVALID',
      `a product has ${values.length} values instead of ${exact.length}; mend the side that made it`,
    );
  }
  let largest = 0;
  let squares = 0;
  for (const [i, value] of exact.entries()) {
    largest = Math.max(largest, Math.abs(values[i] - value));
    squares += value * value;
  }
  return largest / Math.sqrt(squares / exact.length);
}
