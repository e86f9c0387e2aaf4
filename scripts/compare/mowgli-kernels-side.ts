/** This project's products, as the engine runs them: the variants that are the fastest here. */
import type { BufferSlice } from '../../src/gpu/buffer.ts';
import { BufferSet } from '../../src/gpu/buffer-set.ts';
import type { Gpu } from '../../src/gpu/device.ts';
import { Tuning } from '../../src/gpu/tuning.ts';
import { int8Suffix } from '../../src/kernels/kernel-class.ts';
import { linear, matvecRows } from '../../src/kernels/linear.ts';
import {
  type ActivationType,
  type Matrix,
  q8RowBytes,
  type Rows,
} from '../../src/kernels/matrix.ts';
import { quantize } from '../../src/kernels/quantize.ts';
import { measureClasses, unmeasured } from '../../src/kernels/tune.ts';
import { type AdapterChoice, openGpuInNode } from '../../src/node.ts';
import { divided, type Timing, timed } from './measure.ts';
import { inputOf, isChained, type Products, weightsOf } from './products.ts';
import { serve } from './side.ts';

interface Step {
  readonly weight: Matrix;
  readonly x: Rows;
  readonly y: Rows;
}

interface Prepared {
  readonly buffers: BufferSet;
  readonly run: () => Promise<ArrayBuffer[]>;
  readonly count: number;
}

let gpu: Gpu;
const prepared = new Map<ActivationType, Prepared>();

/** Milliseconds for the measurement of the variants, which is no part of the comparison. */
const tuningMs = 60_000;

const methods = {
  async open(adapter?: AdapterChoice): Promise<void> {
    gpu = await openGpuInNode(adapter ? { adapter } : {});
    gpu.tuning = new Tuning();
  },

  /** Makes the products ready to be timed; answers x times the first matrix, [tokens, rows]. */
  async prepare(products: Products, activations: ActivationType): Promise<Float32Array> {
    prepared.get(activations)?.buffers.destroy();
    await tune(products, activations);
    const buffers = new BufferSet(gpu);
    const { rows, columns, tokens, count } = products;
    const chained = isChained(products);
    const input = inputOf(products);
    const x = await newRows(buffers, tokens, columns, activations);
    const steps: Step[] = [];
    for (const bytes of weightsOf(products)) {
      const slice = (await buffers.upload('weights', new Uint8Array(bytes))).all();
      const weight: Matrix = {
        type: 'Q4_0',
        rows,
        columns,
        parts: [{ slice, firstRow: 0, rows }],
      };
      const last = steps.at(-1);
      const y = await newRows(buffers, tokens, rows, activations);
      steps.push({ weight, x: chained && last ? last.y : x, y });
    }
    const call = (some: readonly Step[], results: readonly BufferSlice[]) => {
      gpu.write(x.slice.buffer, 0, input);
      const rec = gpu.record();
      for (const step of some) {
        quantize(rec, step.x, tokens); // each for itself, as `MatMulNBits` does
        linear(rec, { ...step, rows: tokens });
      }
      rec.submit();
      return gpu.read(results);
    };
    const results = (chained ? steps.slice(-1) : steps).map(({ y }) => y.slice);
    const run = () => call(steps, results);
    prepared.set(activations, { buffers, run, count });
    const [y] = await call(steps.slice(0, 1), [steps[0].y.slice]);
    await run();
    return new Float32Array(y);
  },

  /** One call: x to the GPU, all products, results back. Answers the time per product. */
  async sample(activations: ActivationType): Promise<Timing> {
    const { run, count } = prepared.get(activations)!;
    return divided(await timed(run), count);
  },
};

export type MowgliKernelsSide = typeof methods;
serve(methods);

/** Finds the fastest variants, as loading a model does. */
async function tune({ rows, columns, tokens }: Products, activations: ActivationType) {
  const kernelClass = {
    kernel: tokens <= matvecRows(gpu.record()) ? 'matvec' : 'matmul',
    format: activations === 'int8' ? `Q4_0${int8Suffix}` : 'Q4_0',
    rows,
    columns,
    tokens,
  } as const;
  const tuning = gpu.tuning!;
  await measureClasses(gpu, tuning, unmeasured(gpu, tuning, [kernelClass]), {
    classBudgetMs: tuningMs,
    budgetMs: tuningMs,
  });
}

/** Shapes here are multiples of 32, so that rows need no padding. */
async function newRows(
  buffers: BufferSet,
  rows: number,
  columns: number,
  activations: ActivationType,
): Promise<Rows> {
  const allocate = async (bytes: number) => (await buffers.allocate('activations', bytes)).all();
  return {
    slice: await allocate(4 * rows * columns),
    stride: columns,
    ...(activations === 'int8' && { q8: await allocate(rows * q8RowBytes(columns)) }),
  };
}
