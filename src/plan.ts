import { MowgliError } from './errors.ts';
import { defaultPolicy, type PolicyName, policyNames } from './experts/policy.ts';
import type { Trace } from './experts/trace-file.ts';
import type { Checkpoint } from './files/checkpoint.ts';
import { type ModelSource, openModel } from './files/open-model.ts';
import { tuneForModel } from './generate/tuning.ts';
import type { LoadProgress } from './generate/types.ts';
import type { Gpu } from './gpu/device.ts';
import type { KvType } from './kernels/kv-cache.ts';
import type { ActivationType } from './kernels/matrix.ts';
import { defaultActivations, defaultChunk, defaultContext } from './load.ts';
import type { ComputeCosts, LinkCosts, MoveCosts } from './planner/costs.ts';
import {
  type Advice,
  advise,
  type Forecast,
  forecast,
  ladder,
  type Situation,
} from './planner/forecast.ts';
import { measureCompute } from './planner/measure-compute.ts';
import { type MeasuredReads, measureReads, type ReadSpeed } from './planner/measure-reads.ts';
import {
  completeBytes,
  type FixedMemory,
  fixedMemory,
  leastBytes,
  planMemory,
} from './planner/memory-plan.ts';
import { assumedRouting, assumeRouting, routingOfTrace } from './planner/routing-demands.ts';
import {
  type StatedMachine,
  statedCompute,
  statedDefaults,
  statedMove,
} from './planner/stated-machine.ts';

export interface PlanOptions {
  /** As in `LoadOptions`. */
  context?: number;
  chunk?: number;
  kvType?: KvType;
  activations?: ActivationType;
  gpuMemory?: number;
  hostMemory?: number;
  policy?: PolicyName;
  /** The routing of a run, which hit rates are taken from. Without it they rest on an assumption. */
  trace?: Trace;
  /** Tokens of context that decoding is planned at. Default: 512, or half of the context if that is less. */
  depth?: number;
  /** What to take for granted of another machine; what is not given is measured on this one. */
  assume?: StatedMachine;
  onProgress?: (progress: LoadProgress | PlanProgress) => void;
  signal?: AbortSignal;
}

export interface PlanProgress {
  /** Reading experts, timing kernels (by kind of layer), forecasting (by budget). */
  readonly phase: 'reads' | 'layers' | 'forecast';
  readonly done: number;
  readonly total: number;
}

/** What the platform knows of this machine. */
export interface HostFacts {
  /** Bytes of RAM, and of those what programs and the page cache can still take. */
  readonly memory: { readonly totalBytes: number; readonly availableBytes: number };
  /** Bytes that this process made the system fetch from storage so far, where it says so. */
  readonly fetched?: () => Promise<number | undefined>;
}

/** How fast something is, and where that is known from. */
export interface PlannedSpeed {
  readonly bytesPerSecond: number;
  readonly source: 'measured' | 'stated' | 'assumed';
}

export interface Plan {
  readonly model: string;
  /** Where it would run. */
  readonly machine: {
    /** The adapter, or nothing for a machine that is only told of. */
    readonly gpu: string | undefined;
    /** The GPU is the CPU, and its memory is RAM. */
    readonly software: boolean;
    readonly hostBytes: number;
    /** What of it was stated rather than measured. */
    readonly stated: StatedMachine;
    readonly upload: PlannedSpeed;
    /** Reading experts that the page cache has, and that it has not; `from` of the first reads. */
    readonly pageCache: PlannedSpeed;
    readonly disk: PlannedSpeed | undefined;
    readonly reads:
      | { readonly first: ReadSpeed; readonly again: ReadSpeed | undefined }
      | undefined;
    readonly compute: ComputeCosts;
  };
  readonly context: number;
  readonly kvType: KvType;
  readonly depth: number;
  /** Bytes that every budget has to have, and what everything takes. */
  readonly fixed: Omit<FixedMemory, 'kinds'>;
  readonly leastBytes: number;
  readonly completeBytes: number;
  readonly expertBytes: number;
  readonly policy: PolicyName;
  readonly routing: {
    readonly source: 'trace' | 'assumed';
    readonly assumption: typeof assumedRouting | undefined;
    readonly recall: number;
  };
  /** With the memory that was asked for, or that this machine has. */
  readonly planned: Forecast;
  /** The same with more and less memory, the least first; `planned` is among them. */
  readonly budgets: readonly Forecast[];
  readonly advice: readonly Advice[];
}

/** Of a software GPU's RAM and the system's: what a page cache cannot have. */
const reservedBytes = 2 ** 30;

/**
 * Works out what a model's decoding will be like: measures what this machine takes to read, to upload
 * and to compute, and puts a run together from that, for several sizes of GPU memory. The GPU is
 * disposed of.
 *
 * @param openGpu not called when the GPU and the link are stated
 * @throws MowgliError `OUT_OF_MEMORY` when the model cannot run in the memory given,
 * `OPTION_INVALID`, `ABORTED`, and what is wrong with the files or the device
 */
export async function planOn(
  openGpu: () => Promise<Gpu>,
  source: ModelSource,
  facts: HostFacts,
  options: PlanOptions = {},
): Promise<Plan> {
  const checkpoint = await openModel(source, options.signal ? { signal: options.signal } : {});
  try {
    const { assume = {} } = options;
    const needsGpu = assume.gpuBandwidth === undefined || assume.link === undefined;
    const gpu = needsGpu ? await openGpu() : undefined;
    try {
      return await planCheckpoint(gpu, checkpoint, 'synthetic' in source, facts, options);
    } finally {
      gpu?.dispose();
    }
  } finally {
    await checkpoint.close();
  }
}

async function planCheckpoint(
  gpu: Gpu | undefined,
  checkpoint: Checkpoint,
  made: boolean,
  facts: HostFacts,
  options: PlanOptions,
): Promise<Plan> {
  const { config, tensors } = checkpoint;
  const { assume = {}, kvType = 'f32', chunk = defaultChunk } = options;
  const activations = options.activations ?? (gpu ? defaultActivations(gpu) : 'f32');
  const { policy = defaultPolicy, signal, onProgress } = options;
  const context = options.context ?? Math.min(defaultContext, config.maxPositionEmbeddings);
  checkOptions(context, policy, config.maxPositionEmbeddings);
  const depth = options.depth ?? Math.min(512, Math.floor(context / 2));
  const shape = { context, chunk, kvType, activations };
  const maxBindingBytes = gpu?.capabilities.maxBindingBytes ?? 2 ** 31;
  const fixed = await fixedMemory(config, tensors, { ...shape, maxBindingBytes });
  const routing = options.trace ? routingOfTrace(options.trace, config) : assumeRouting(config);
  const expertBytes = fixed.expertsBytes / Math.max(1, fixed.experts);

  const asked = options.gpuMemory ?? assume.gpuMemory ?? gpu?.memory ?? Number.POSITIVE_INFINITY;
  const gpuBytes = Math.min(asked, completeBytes(fixed));
  planMemory(fixed, gpuBytes); // Says what does not fit before anything is measured.

  const streams = fixed.experts > 0;
  let reads: MeasuredReads | undefined;
  if (streams && assume.disk === undefined) {
    onProgress?.({ phase: 'reads', done: 0, total: 1 });
    const { fetched } = facts;
    reads = await measureReads(tensors, fixed.kinds, config.numExperts, { fetched, made, signal });
    onProgress?.({ phase: 'reads', done: 1, total: 1 });
  }
  let measured: Awaited<ReturnType<typeof measureCompute>> | undefined;
  if (gpu) {
    gpu.ledger.limit = gpu.memory; // What is planned for may be less than it takes to measure.
    if (gpu.tuningStore && assume.gpuBandwidth === undefined) {
      const tuning = { ...shape, gpuMemory: options.gpuMemory, signal, onProgress };
      await tuneForModel(gpu, gpu.tuningStore, checkpoint, tuning);
    }
    measured = await measureCompute(gpu, checkpoint, {
      ...{ kvType, activations, signal },
      onProgress: (done, total) => onProgress?.({ phase: 'layers', done, total }),
    });
  }
  const compute =
    assume.gpuBandwidth === undefined
      ? measured!.compute
      : statedCompute(config, tensors.tensors, {
          gpuBandwidth: assume.gpuBandwidth,
          kvLayerBytes: fixed.kvBytes / context / config.numHiddenLayers,
          expertBytes: (layer) =>
            fixed.kinds.find(({ layers }) => layers.includes(layer))?.layout.bytes ?? 0,
        });
  const software = assume.link === undefined && (gpu?.capabilities.software ?? false);
  const paths = readPaths(assume, reads, expertBytes);
  const upload =
    assume.link === undefined ? measured!.upload : statedMove(expertBytes, assume.link);
  const link: LinkCosts = {
    read: {
      'host cache': { firstMs: 0, nextMs: 0 },
      'page cache': paths.pageCache.costs,
      disk: (paths.disk ?? paths.pageCache).costs,
    },
    upload,
    copiesOverlap: !software,
  };

  const hostBytes = assume.hostMemory ?? facts.memory.totalBytes;
  const spare =
    assume.hostMemory === undefined
      ? facts.memory.availableBytes - reservedBytes
      : statedDefaults.pageCache * assume.hostMemory - reservedBytes;
  const cacheBytes = options.hostMemory ?? 0;
  const situation: Situation = {
    fixed,
    compute,
    link,
    host: (onGpu) => ({
      cacheBytes,
      // What is made when it is read is as near as a page cache.
      pageCacheBytes:
        made && assume.disk === undefined
          ? Number.POSITIVE_INFINITY
          : Math.max(0, spare - cacheBytes - (software ? onGpu : 0)),
    }),
    routing,
    policy,
    sparseLayers: config.sparseLayers,
    depth,
  };
  const rungs = ladder(fixed, gpuBytes);
  const budgets: Forecast[] = [];
  for (const bytes of rungs) {
    onProgress?.({ phase: 'forecast', done: budgets.length, total: rungs.length });
    await new Promise((resolve) => setTimeout(resolve)); // Lets a signal arrive.
    if (signal?.aborted) throw new MowgliError('ABORTED', 'planning was aborted');
    budgets.push(forecast(situation, bytes));
  }
  const planned = budgets[rungs.indexOf(gpuBytes)];
  const advice = advise(situation, planned, hostBytes);
  onProgress?.({ phase: 'forecast', done: rungs.length, total: rungs.length });
  const { kinds: _, ...sizes } = fixed;
  const speed = (costs: MoveCosts, source: PlannedSpeed['source']): PlannedSpeed => ({
    bytesPerSecond: (1000 * 8 * expertBytes) / (costs.firstMs + 7 * costs.nextMs),
    source,
  });
  return {
    model: checkpoint.name,
    machine: {
      gpu: assume.gpuBandwidth === undefined ? gpu!.adapter.info.description : undefined,
      software,
      hostBytes,
      stated: assume,
      upload: speed(upload, assume.link === undefined ? 'measured' : 'stated'),
      pageCache: speed(paths.pageCache.costs, paths.pageCache.source),
      disk: paths.disk && speed(paths.disk.costs, paths.disk.source),
      reads,
      compute,
    },
    context,
    kvType,
    depth,
    fixed: sizes,
    leastBytes: leastBytes(fixed),
    completeBytes: completeBytes(fixed),
    expertBytes,
    policy,
    routing: {
      source: routing.source,
      assumption: routing.source === 'assumed' ? assumedRouting : undefined,
      recall: routing.recall,
    },
    planned,
    budgets,
    advice,
  };
}

interface Path {
  readonly costs: MoveCosts;
  readonly source: PlannedSpeed['source'];
}

/** What reads from the page cache and from the disk cost; no disk where nothing tells of one. */
function readPaths(
  { disk, host }: StatedMachine,
  reads: MeasuredReads | undefined,
  expertBytes: number,
): { pageCache: Path; disk: Path | undefined } {
  const stated = (bytesPerSecond: number): Path => ({
    costs: statedMove(expertBytes, bytesPerSecond),
    source: 'stated',
  });
  const again = reads?.again ?? reads?.first;
  const pageCache: Path =
    host !== undefined
      ? stated(host)
      : again
        ? { costs: again.costs, source: 'measured' }
        : { costs: statedMove(expertBytes, statedDefaults.host), source: 'assumed' };
  if (disk !== undefined) return { pageCache, disk: stated(disk) };
  const measured = reads?.first.from === 'disk' || reads?.first.from === 'mixed';
  return {
    pageCache,
    disk: measured ? { costs: reads.first.costs, source: 'measured' } : undefined,
  };
}

function checkOptions(context: number, policy: PolicyName, longest: number): void {
  if (!(Number.isInteger(context) && context > 0 && context <= longest)) {
    throw new MowgliError(
      'OPTION_INVALID',
      `context is ${context}; pass a whole number of tokens from 1 to ${longest}`,
    );
  }
  if (!policyNames.includes(policy)) {
    throw new MowgliError(
      'OPTION_INVALID',
      `policy is ${policy}; it must be one of ${policyNames.join(', ')}`,
    );
  }
}
