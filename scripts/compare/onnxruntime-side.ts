/** onnxruntime's WebGPU execution provider, which brings its own Dawn: products by `MatMulNBits`. */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { halfAt } from '../../src/quant/f16.ts';
import { numberFormats } from '../../src/quant/index.ts';
import { divided, type Timing, timed } from './measure.ts';
import { type NBitsWeight, nBitsModel } from './onnx.ts';
import { inputOf, isChained, type Products, weightsOf } from './products.ts';
import { serve } from './side.ts';

/** The part of onnxruntime-node used here. */
interface OnnxRuntime {
  readonly Tensor: new (type: 'float32', data: Float32Array, dims: readonly number[]) => Tensor;
  readonly InferenceSession: {
    create(model: Uint8Array, options: object): Promise<Session>;
  };
}

interface Tensor {
  readonly data: Float32Array;
}

interface Session {
  run(feeds: Record<string, Tensor>): Promise<Record<string, Tensor>>;
  release(): Promise<void>;
}

type AccuracyLevel = 0 | 4;

let runtime: OnnxRuntime;
const prepared = new Map<AccuracyLevel, { session: Session; x: Tensor; count: number }>();

const methods = {
  /** @param peers folder in which onnxruntime-node is installed */
  async open(peers: string): Promise<void> {
    runtime = createRequire(join(peers, 'package.json'))('onnxruntime-node');
  },

  /** Makes the products ready to be timed; answers x times the first matrix, [tokens, rows]. */
  async prepare(products: Products, accuracyLevel: AccuracyLevel): Promise<Float32Array> {
    await prepared.get(accuracyLevel)?.session.release();
    const weights = weightsOf(products).map(toNBits);
    const { tokens, columns, count } = products;
    const chained = isChained(products);
    const sessionOf = (some: readonly NBitsWeight[]) =>
      runtime.InferenceSession.create(
        nBitsModel({ ...products, weights: some, accuracyLevel, chained }),
        { executionProviders: ['webgpu'], logSeverityLevel: 3 },
      );
    const x = new runtime.Tensor('float32', inputOf(products), [tokens, columns]);
    const one = await sessionOf(weights.slice(0, 1));
    const [y] = Object.values(await one.run({ x }));
    await one.release();
    const session = await sessionOf(weights);
    prepared.set(accuracyLevel, { session, x, count });
    await session.run({ x });
    return y.data;
  },

  /** One call: x to the GPU, all products, results back. Answers the time per product. */
  async sample(accuracyLevel: AccuracyLevel): Promise<Timing> {
    const { session, x, count } = prepared.get(accuracyLevel)!;
    return divided(await timed(() => session.run({ x })), count);
  },
};

export type OnnxRuntimeSide = typeof methods;
serve(methods);

/** Q4_0 has value j of a block beside value j + 16, `MatMulNBits` beside value j + 1. */
function toNBits(q40: Uint8Array): NBitsWeight {
  const { blockElements, blockBytes } = numberFormats.Q4_0;
  const blocks = q40.length / blockBytes;
  const half = blockElements / 2;
  const nibbles = new Uint8Array(blocks * half);
  const scales = new Float32Array(blocks);
  for (let block = 0; block < blocks; block++) {
    const from = block * blockBytes;
    scales[block] = halfAt(q40, from);
    const nibble = (j: number) => (q40[from + 2 + (j % half)] >> (j < half ? 0 : 4)) & 15;
    for (let j = 0; j < half; j++) {
      nibbles[block * half + j] = nibble(2 * j) | (nibble(2 * j + 1) << 4);
    }
  }
  return { nibbles, scales };
}
