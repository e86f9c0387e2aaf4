import type { PolicyName } from '../experts/policy.ts';
import {
  type ComputeCosts,
  type HostMemory,
  type LayerCosts,
  type LinkCosts,
  type MoveCosts,
  tierNames,
} from './costs.ts';
import { expectMisses, type Misses } from './expected-misses.ts';
import {
  completeBytes,
  type FixedMemory,
  fixedBytes,
  leastBytes,
  type MemoryPlan,
  planMemory,
} from './memory-plan.ts';
import type { ExpectedRouting } from './routing-demands.ts';
import { type TokenTime, tokenTime } from './token-time.ts';

/** All that a forecast depends on, but the GPU memory. */
export interface Situation {
  readonly fixed: FixedMemory;
  readonly compute: ComputeCosts;
  readonly link: LinkCosts;
  /** Bytes of RAM for a GPU with so much memory, which may be part of it. */
  readonly host: (gpuBytes: number) => HostMemory;
  readonly routing: ExpectedRouting;
  readonly policy: PolicyName;
  readonly sparseLayers: readonly boolean[];
  /** Tokens of context that decoding is forecast at. */
  readonly depth: number;
}

/** What decoding is expected to be like with some GPU memory. */
export interface Forecast {
  readonly gpuBytes: number;
  readonly memory: MemoryPlan;
  /** Experts of the model. */
  readonly experts: number;
  readonly hitRate: number;
  /** Experts that a token lacks, by where they are. */
  readonly misses: Misses;
  /** Bytes that one token brings to the GPU, and those of them from the disk. */
  readonly bytesPerToken: number;
  readonly diskBytesPerToken: number;
  readonly time: TokenTime;
}

/** @throws MowgliError `OUT_OF_MEMORY` when the model does not fit */
export function forecast(situation: Situation, gpuBytes: number): Forecast {
  const { fixed, routing, policy, sparseLayers, depth } = situation;
  const memory = planMemory(fixed, gpuBytes);
  const expertBytes = fixed.expertsBytes / Math.max(1, fixed.experts);
  const host = situation.host(memory.totalBytes);
  const misses = expectMisses(routing, memory.slots, policy, host, expertBytes);
  const time = tokenTime(situation.compute, situation.link, misses, {
    complete: memory.slots >= fixed.experts,
    slots: memory.slots,
    expertBytes,
    depth,
    recall: routing.recall,
    sparseLayers,
  });
  const lacking = tierNames.reduce((sum, tier) => sum + misses.perToken[tier], 0);
  return {
    gpuBytes,
    memory,
    experts: fixed.experts,
    hitRate: misses.hitRate,
    misses: misses.perToken,
    bytesPerToken: lacking * expertBytes,
    diskBytesPerToken: misses.perToken.disk * expertBytes,
    time,
  };
}

const gibibytes = [4, 8, 12, 16, 24, 32, 48, 80, 96, 141, 192];

/** Budgets worth showing besides the given one: shares of the experts, and memories that GPUs have. */
export function ladder(fixed: FixedMemory, given: number): number[] {
  const complete = completeBytes(fixed);
  const least = leastBytes(fixed);
  const shares = fixed.experts === 0 ? [] : [0.25, 0.5];
  const budgets = [
    given,
    ...shares.map((share) => Math.ceil(fixedBytes(fixed) + share * fixed.expertsBytes)),
    ...gibibytes.map((size) => size * 2 ** 30),
    complete,
  ];
  return [...new Set(budgets.filter((bytes) => bytes >= least && bytes <= complete))].sort(
    (a, b) => a - b,
  );
}

/** What could be changed. */
export type Change =
  | 'gpu memory'
  | 'host memory'
  | 'disk'
  | 'link'
  | 'gpu'
  | 'number format'
  | 'context';

/** What a change would give. */
export interface Advice {
  readonly change: Change;
  /** Bytes (of GPU memory, of RAM), or a factor (of a speed, of the bytes of an expert, of a context). */
  readonly from: number;
  readonly to: number;
  readonly tokensPerSecond: number;
  /** Against the forecast without the change. */
  readonly gain: number;
}

/** What twice as much of each thing would give, the largest gain first. */
export function advise(situation: Situation, base: Forecast, hostBytes: number): Advice[] {
  const { fixed, link, compute } = situation;
  const advice: Advice[] = [];
  const add = (
    change: Change,
    from: number,
    to: number,
    changed: Situation,
    gpuBytes = base.gpuBytes,
  ) => {
    if (gpuBytes < leastBytes(changed.fixed)) return;
    const { tokensPerSecond } = forecast(changed, gpuBytes).time;
    const gain = tokensPerSecond / base.time.tokensPerSecond;
    advice.push({ change, from, to, tokensPerSecond, gain });
  };
  const complete = completeBytes(fixed);
  if (base.gpuBytes < complete) {
    const more = Math.min(complete, 2 * base.gpuBytes);
    add('gpu memory', base.gpuBytes, more, situation, more);
    const { disk, ...other } = link.read;
    const fasterDisk = { ...link, read: { ...other, disk: faster(disk) } };
    add('disk', 1, 2, { ...situation, link: fasterDisk });
    add('link', 1, 2, { ...situation, link: { ...link, upload: faster(link.upload) } });
    const moreHost = (gpuBytes: number) => {
      const host = situation.host(gpuBytes);
      return { ...host, pageCacheBytes: host.pageCacheBytes + hostBytes };
    };
    add('host memory', hostBytes, 2 * hostBytes, { ...situation, host: moreHost });
    add('number format', 1, 0.5, smallerExperts(situation));
    if (fixed.kvBytes > 0.02 * base.gpuBytes) {
      add('context', 1, 0.5, { ...situation, fixed: { ...fixed, kvBytes: fixed.kvBytes / 2 } });
    }
  }
  add('gpu', 1, 2, { ...situation, compute: fasterGpu(compute) });
  return advice.sort((a, b) => b.gain - a.gain);
}

function faster({ firstMs, nextMs }: MoveCosts): MoveCosts {
  return { firstMs: firstMs / 2, nextMs: nextMs / 2 };
}

function fasterGpu({ tokenMs, layers, ...sync }: ComputeCosts): ComputeCosts {
  const half = (costs: LayerCosts): LayerCosts => ({
    attentionMs: costs.attentionMs / 2,
    contextMs: costs.contextMs / 2,
    expertsMs: costs.expertsMs / 2,
    noExpertsMs: costs.noExpertsMs / 2,
    restoreMs: costs.restoreMs / 2,
  });
  return { tokenMs: tokenMs / 2, layers: layers.map(half), ...sync };
}

/** Experts in half the bytes; how fast kernels decode them is another matter, and left as it is. */
function smallerExperts(situation: Situation): Situation {
  const { fixed, link } = situation;
  const { read } = link;
  return {
    ...situation,
    fixed: {
      ...fixed,
      kinds: fixed.kinds.map(({ layout, layers }) => ({
        layers,
        layout: { ...layout, bytes: layout.bytes / 2 },
      })),
      expertsBytes: fixed.expertsBytes / 2,
    },
    link: {
      ...link,
      read: {
        'host cache': faster(read['host cache']),
        'page cache': faster(read['page cache']),
        disk: faster(read.disk),
      },
      upload: faster(link.upload),
    },
  };
}
