import type { BufferSlice } from '../src/gpu/buffer.ts';
import type { Gpu } from '../src/gpu/device.ts';
import { f32, type Recorder } from '../src/gpu/recorder.ts';
import { attention, attentionScratch, attentionVariants } from '../src/kernels/attention.ts';
import { embedding } from '../src/kernels/embedding.ts';
import { type KvType, kvPositionBytes, type LayerKv } from '../src/kernels/kv-cache.ts';
import { fewRowsVariant, lanesVariants, manyRowsVariant } from '../src/kernels/lanes.ts';
import {
  expertMatmul,
  groupByExpert,
  matmul,
  matmulVariant,
  matmulVariants,
  tileCapacity,
} from '../src/kernels/matmul.ts';
import { rowBytes } from '../src/kernels/matrix.ts';
import {
  expertDown,
  expertGateUp,
  matvec,
  matvecVariant,
  matvecVariants,
} from '../src/kernels/matvec.ts';
import { qkNormRope } from '../src/kernels/qk-norm-rope.ts';
import { rmsNorm } from '../src/kernels/rmsnorm.ts';
import { router } from '../src/kernels/router.ts';
import { swiglu } from '../src/kernels/swiglu.ts';
import { maxTopK, topK, topKScratch } from '../src/kernels/topk.ts';
import { type NumberType, numberFormats } from '../src/quant/index.ts';
import { type Arithmetic, type BenchBuffers, indirectUsage } from './bench-buffers.ts';

/** One row of the benchmark. */
export interface Case {
  readonly kernel: string;
  readonly format: string;
  readonly shape: string;
  readonly variant: string;
  /** Whether it is what the engine would run on this device. */
  readonly chosen: boolean;
  /** Bytes that have to be read and written, each once. */
  readonly bytes: number;
  /** Multiplications and additions, where they are what the kernel is for. */
  readonly operations: number;
  /** Makes the buffers; the result records the i-th run. */
  readonly prepare: (buffers: BenchBuffers) => Promise<(rec: Recorder, i: number) => void>;
}

interface Model {
  readonly name: string;
  readonly hidden: number;
  readonly qHeads: number;
  readonly kvHeads: number;
  readonly experts: number;
  readonly inner: number;
}

const models: readonly Model[] = [
  { name: '30B', hidden: 2048, qHeads: 32, kvHeads: 4, experts: 128, inner: 768 },
  { name: '480B', hidden: 6144, qHeads: 96, kvHeads: 8, experts: 160, inner: 2560 },
];
const headDim = 128;
const topExperts = 8;
const vocab = 151_936;

/** Formats of the weights in files, besides BF16, that people run. */
const otherFormats = [
  'F32',
  'F16',
  'Q8_0',
  'Q4_0',
  'Q4_K',
  'Q5_K',
  'Q6_K',
  'Q2_K',
  'IQ4_XS',
  'IQ3_S',
  'MXFP4',
  'F8_B128',
] as const;

/** Places in the pool that a case goes through. */
const places = 8;

/** The kernels that set the limits: memory and arithmetic. */
export function roofCases(): Case[] {
  const copied = 64 << 20;
  const [invocations, chains, steps] = [1 << 15, 8, 512];
  const shared = { format: '', variant: '', chosen: true };
  return [
    {
      ...shared,
      kernel: 'copy',
      shape: '64 MiB',
      bytes: 2 * copied,
      operations: 0,
      prepare: async (buffers) => {
        const from = await buffers.floats(copied / 4);
        const to = await buffers.words(copied / 4);
        return (rec) => {
          const pipeline = rec.gpu.pipelines.get('bench/copy', { WORKGROUP: 256 });
          rec.dispatch(pipeline, [copied / 16], [from, to], copied / 16 / 256);
        };
      },
    },
    {
      ...shared,
      kernel: 'fma',
      shape: `${chains} chains`,
      bytes: 4 * invocations,
      operations: invocations * chains * 4 * 2 * steps,
      prepare: async (buffers) => {
        const to = await buffers.words(invocations);
        return (rec) => {
          const pipeline = rec.gpu.pipelines.get('bench/fma', { WORKGROUP: 64, CHAINS: chains });
          rec.dispatch(pipeline, [steps, f32(0.999), f32(0.001)], [to], invocations / 64);
        };
      },
    },
  ];
}

/** Every case, with each variant that this device can run. */
export function kernelCases(gpu: Gpu): Case[] {
  const cases: Case[] = [
    ...linearCases(gpu, 'square', 'BF16', 2048, 2048, 1),
    ...linearCases(gpu, 'square', 'BF16', 2048, 2048, 128),
  ];
  for (const format of otherFormats) {
    for (const arithmetic of arithmeticsOf(format)) {
      for (const tokens of [1, 128]) {
        cases.push(...linearCases(gpu, 'square', format, 2048, 2048, tokens, arithmetic));
      }
      if (format === 'Q4_0' || format === 'Q4_K') {
        cases.push(...linearCases(gpu, 'wide', format, 6144, 2560, 1, arithmetic));
      }
    }
  }
  for (const model of models) {
    const { name, hidden, qHeads, kvHeads, experts } = model;
    const qkv = (qHeads + 2 * kvHeads) * headDim;
    cases.push(
      ...linearCases(gpu, `${name} qkv`, 'BF16', qkv, hidden, 1),
      ...linearCases(gpu, `${name} o`, 'BF16', hidden, qHeads * headDim, 1),
      ...linearCases(gpu, `${name} router`, 'BF16', experts, hidden, 1),
      ...linearCases(gpu, `${name} lm_head/10`, 'BF16', Math.floor(vocab / 10), hidden, 1),
      ...linearCases(gpu, `${name} qkv`, 'BF16', qkv, hidden, 128),
      ...expertCases(gpu, model, 'BF16'),
      ...expertCases(gpu, model, 'Q4_K'),
      ...expertCases(gpu, model, 'Q4_K', 'int8'),
      ...expertMatmulCases(gpu, model, 'BF16'),
      ...expertMatmulCases(gpu, model, 'Q4_K'),
      ...expertMatmulCases(gpu, model, 'Q4_K', 'int8'),
      ...attentionCases(gpu, model, 'f32', 1, 1024),
      ...attentionCases(gpu, model, 'f32', 1, 8192),
      ...attentionCases(gpu, model, 'f16', 1, 8192),
      ...attentionCases(gpu, model, 'f32', 128, 1024),
      ...smallCases(gpu, model, 1),
      ...smallCases(gpu, model, 128),
    );
  }
  return [...cases, ...topKCases(gpu, 1), ...topKCases(gpu, maxTopK)];
}

function arithmeticsOf(type: NumberType): readonly Arithmetic[] {
  return numberFormats[type].hasIntegers ? ['f32', 'int8'] : ['f32'];
}

/** What the column "format" says. */
function formatName(type: NumberType, arithmetic: Arithmetic): string {
  return arithmetic === 'int8' ? `${type} int8` : type;
}

/** A linear layer [rows, columns] applied to some tokens, by the kernel for so many. */
function linearCases(
  gpu: Gpu,
  name: string,
  type: NumberType,
  rows: number,
  columns: number,
  tokens: number,
  arithmetic: Arithmetic = 'f32',
): Case[] {
  const shared = {
    format: formatName(type, arithmetic),
    shape: `${name} ${rows}x${columns}${tokens > 1 ? ` M=${tokens}` : ''}`,
    bytes: rows * rowBytes(type, columns) + 4 * tokens * (rows + columns),
    operations: 2 * rows * columns * tokens,
  };
  const buffersOf = async (buffers: BenchBuffers) => {
    const weights = Array.from({ length: places }, () => buffers.matrix(type, rows, columns));
    const x = await buffers.rows(tokens, columns, arithmetic);
    const y = await buffers.rows(tokens, rows);
    return { weight: (i: number) => weights[i % places], x, y };
  };
  if (tokens === 1) {
    return matvecVariants(gpu).map((variant) => ({
      ...shared,
      kernel: 'matvec',
      variant,
      chosen: variant === matvecVariant(gpu, type),
      prepare: async (buffers) => {
        const { weight, x, y } = await buffersOf(buffers);
        return (rec, i) => matvec(rec, { weight: weight(i), x, y, tokens, variant });
      },
    }));
  }
  return matmulVariants(gpu).map((variant) => ({
    ...shared,
    kernel: 'matmul',
    variant,
    chosen: variant === matmulVariant(gpu),
    prepare: async (buffers) => {
      const { weight, x, y } = await buffersOf(buffers);
      return (rec, i) => matmul(rec, { weight: weight(i), x, y, rows: tokens, variant });
    },
  }));
}

/** The experts of one token. */
function expertCases(
  gpu: Gpu,
  model: Model,
  type: NumberType,
  arithmetic: Arithmetic = 'f32',
): Case[] {
  const { name, hidden, inner, experts } = model;
  const shared = { format: formatName(type, arithmetic), operations: 0, bytes: 0 };
  const prepareIds = async (buffers: BenchBuffers) => {
    const ids: BufferSlice[] = [];
    for (let i = 0; i < places; i++) {
      const chosen = Array.from({ length: topExperts }, (_, s) => (i * topExperts + s) % experts);
      ids.push(await buffers.integers(chosen));
    }
    return (i: number) => ({ ids: ids[i % places], pairs: topExperts, topK: topExperts });
  };
  const size = (matrices: number, rows: number, columns: number) => ({
    bytes: topExperts * matrices * rows * rowBytes(type, columns),
    operations: topExperts * matrices * 2 * rows * columns,
  });
  return matvecVariants(gpu).flatMap((variant): Case[] => {
    const chosen = variant === matvecVariant(gpu, type);
    return [
      {
        ...shared,
        ...size(2, inner, hidden),
        kernel: 'expert gate-up',
        shape: `${name} 8x2x${inner}x${hidden}`,
        variant,
        chosen,
        prepare: async (buffers) => {
          const shapes = [
            [inner, hidden],
            [inner, hidden],
          ] as const;
          const [gate, up] = await buffers.experts(type, experts, shapes);
          const x = await buffers.rows(1, hidden, arithmetic);
          const y = await buffers.rows(topExperts, inner);
          const pairs = await prepareIds(buffers);
          return (rec, i) => expertGateUp(rec, { gate, up, x, y, variant, ...pairs(i) });
        },
      },
      {
        ...shared,
        ...size(1, hidden, inner),
        kernel: 'expert down',
        shape: `${name} 8x${hidden}x${inner}`,
        variant,
        chosen,
        prepare: async (buffers) => {
          const [down] = await buffers.experts(type, experts, [[hidden, inner]]);
          const x = await buffers.rows(topExperts, inner, arithmetic);
          const y = await buffers.rows(topExperts, hidden);
          const pairs = await prepareIds(buffers);
          return (rec, i) => expertDown(rec, { down, x, y, variant, ...pairs(i) });
        },
      },
    ];
  });
}

/** The experts of a prompt's chunk: the down product. */
function expertMatmulCases(
  gpu: Gpu,
  model: Model,
  type: NumberType,
  arithmetic: Arithmetic = 'f32',
): Case[] {
  const { name, hidden, inner, experts } = model;
  const tokens = 128;
  const pairs = tokens * topExperts;
  return matmulVariants(gpu).map((variant) => ({
    kernel: 'expert matmul',
    format: formatName(type, arithmetic),
    shape: `${name} down ${hidden}x${inner} ${pairs} pairs`,
    variant,
    chosen: variant === matmulVariant(gpu),
    bytes: experts * hidden * rowBytes(type, inner) + 4 * pairs * (hidden + inner),
    operations: 2 * pairs * hidden * inner,
    prepare: async (buffers) => {
      const [weight] = await buffers.experts(type, experts, [[hidden, inner]]);
      const x = await buffers.rows(pairs, inner, arithmetic);
      const y = await buffers.rows(pairs, hidden);
      // Every expert gets about as many pairs, in no particular order.
      const ids = await buffers.integers(
        Array.from({ length: pairs }, (_, q) => (q * 37) % experts),
      );
      const groups = {
        order: await buffers.words(pairs),
        tiles: await buffers.words(4 * tileCapacity(pairs, experts)),
        counts: await buffers.words(8, indirectUsage),
      };
      const shared = { pairs, experts, groups, variant };
      const rec = gpu.record();
      const { slotOf, table } = weight;
      groupByExpert(rec, { ids, slotOf, table, columns1: inner, columns2: hidden, ...shared });
      rec.submit();
      return (rec) => expertMatmul(rec, { weight, x, y, divisor: 1, product: 1, ...shared });
    },
  }));
}

async function cache(buffers: BenchBuffers, model: Model, type: KvType, capacity: number) {
  const { kvHeads } = model;
  const words = (kvHeads * capacity * kvPositionBytes(type, headDim)) / 4;
  const [keys, values] = [await buffers.floats(words), await buffers.floats(words)];
  const part = { keys, values, firstHead: 0, heads: kvHeads };
  return { type, capacity, headDim, parts: [part] } satisfies LayerKv;
}

/** Attention of the last `tokens` of a context. */
function attentionCases(
  gpu: Gpu,
  model: Model,
  type: KvType,
  tokens: number,
  context: number,
): Case[] {
  const { name, qHeads, kvHeads } = model;
  const position = context - tokens;
  const seen = tokens * position + (tokens * (tokens + 1)) / 2;
  const [chosen] = attentionVariants(gpu);
  return attentionVariants(gpu).map((variant) => ({
    kernel: 'attention',
    format: type,
    shape: `${name} ${tokens} of ${context}`,
    variant,
    chosen: variant === chosen,
    bytes: 2 * kvHeads * context * kvPositionBytes(type, headDim) + 8 * tokens * qHeads * headDim,
    operations: 4 * qHeads * headDim * seen,
    prepare: async (buffers) => {
      const kv = await cache(buffers, model, type, context);
      const q = await buffers.floats(tokens * qHeads * headDim);
      const out = await buffers.rows(tokens, qHeads * headDim);
      const scratch = attentionScratch(qHeads, headDim);
      const sums = await buffers.words(scratch.sums);
      const partial = await buffers.words(scratch.partial);
      const at = { qHeads, kvHeads, position, tokens, variant };
      return (rec) => attention(rec, { q, kv, out, sums, partial, ...at });
    },
  }));
}

/** What is between the products. */
function smallCases(gpu: Gpu, model: Model, tokens: number): Case[] {
  const { name, hidden, qHeads, kvHeads, experts, inner } = model;
  const suffix = tokens > 1 ? ` M=${tokens}` : '';
  const heads = qHeads + 2 * kvHeads;
  const eps = 1e-6;
  const shared = { format: 'f32', operations: 0 };
  const onLanes = lanesVariants(gpu).flatMap((variant): Case[] => [
    {
      ...shared,
      kernel: 'rmsnorm',
      shape: `${name} ${hidden}, 8 experts added${suffix}`,
      variant,
      chosen: variant === fewRowsVariant(gpu),
      bytes: 4 * tokens * hidden * (topExperts + 3),
      prepare: async (buffers) => {
        const [x, out] = [await buffers.rows(tokens, hidden), await buffers.rows(tokens, hidden)];
        const gain = await buffers.floats(hidden);
        const rows = await buffers.rows(tokens * topExperts, hidden);
        const addend = {
          rows,
          scale: await buffers.floats(tokens * topExperts),
          slots: topExperts,
        };
        return (rec) =>
          rmsNorm(rec, { x, gain, out, n: hidden, rows: tokens, eps, addend, variant });
      },
    },
    {
      ...shared,
      kernel: 'qk-norm-rope',
      shape: `${name} ${heads} heads${suffix}`,
      variant,
      chosen: variant === manyRowsVariant(gpu),
      bytes: 8 * tokens * heads * headDim,
      prepare: async (buffers) => {
        const qkv = await buffers.rows(tokens, heads * headDim);
        const rope = await buffers.floats(tokens * headDim);
        const gains = await buffers.floats(2 * headDim);
        const q = await buffers.floats(tokens * qHeads * headDim);
        const kv = await cache(buffers, model, 'f32', 1024);
        const at = { qHeads, kvHeads, position: 0, tokens, eps, variant };
        return (rec) => qkNormRope(rec, { qkv, rope, gains, q, kv, ...at });
      },
    },
    {
      ...shared,
      kernel: 'router',
      shape: `${name} ${experts}${suffix}`,
      variant,
      chosen: variant === manyRowsVariant(gpu),
      bytes: 4 * tokens * (experts + 2 * topExperts),
      prepare: async (buffers) => {
        const logits = await buffers.rows(tokens, experts);
        const ids = await buffers.words(tokens * topExperts);
        const weights = await buffers.words(tokens * topExperts);
        const to = { ids, weights, experts, topK: topExperts, normalise: true, tokens, variant };
        return (rec) => router(rec, { logits, ...to });
      },
    },
  ]);
  if (tokens === 1) return onLanes;
  const pairs = tokens * topExperts;
  return [
    ...onLanes,
    {
      ...shared,
      kernel: 'swiglu',
      shape: `${name} ${pairs}x${inner}`,
      variant: '',
      chosen: true,
      bytes: 12 * pairs * inner,
      prepare: async (buffers) => {
        const gateUp = await buffers.rows(pairs, 2 * inner);
        const out = await buffers.rows(pairs, inner);
        return (rec) => swiglu(rec, { gateUp, out, n: inner, rows: pairs });
      },
    },
    {
      ...shared,
      kernel: 'embedding',
      format: 'BF16',
      shape: `${name} ${hidden}${suffix}`,
      variant: '',
      chosen: true,
      bytes: 6 * tokens * hidden,
      prepare: async (buffers) => {
        const table = buffers.matrix('BF16', 4096, hidden);
        const ids = await buffers.integers(
          Array.from({ length: tokens }, (_, t) => (t * 997) % 4096),
        );
        const out = await buffers.rows(tokens, hidden);
        return (rec) => embedding(rec, { table, ids, out, tokens });
      },
    },
  ];
}

function topKCases(gpu: Gpu, k: number): Case[] {
  return lanesVariants(gpu).map((variant) => ({
    kernel: 'topk',
    format: 'f32',
    shape: `${k} of ${vocab}`,
    variant,
    chosen: variant === fewRowsVariant(gpu),
    bytes: 4 * vocab,
    operations: 0,
    prepare: async (buffers) => {
      const logits = await buffers.floats(vocab);
      const scratchValues = await buffers.words(topKScratch(vocab));
      const scratchIds = await buffers.words(topKScratch(vocab));
      const [values, ids] = [await buffers.words(k), await buffers.words(k)];
      const to = { scratchValues, scratchIds, values, ids, variant };
      return (rec) => topK(rec, { logits, n: vocab, k, ...to });
    },
  }));
}
