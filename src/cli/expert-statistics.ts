import type { ExpertUsage, LayerWaits, Model } from '../node.ts';
import { markdownTable } from './table.ts';
import { formatBytes, formatDuration } from './units.ts';

/** What a run needed of experts that are not all on the GPU, in a few lines. */
export function expertStatistics(usage: ExpertUsage, tokens: number): string {
  const { slots, experts, hits, misses, hitRate, readAhead, waitMs } = usage;
  if (slots === experts) return `experts: all ${experts} on the GPU`;
  const perToken = tokens > 0 ? `, ${formatBytes(usage.bytesUploaded / tokens)} per token` : '';
  return [
    `experts: ${slots} of ${experts} fit the GPU; ${hits} hits, ${misses} misses (${(100 * hitRate).toFixed(1)} %), ${usage.evictions} evicted`,
    `moved: ${formatBytes(usage.bytesFromFiles)} from files, ${formatBytes(usage.bytesFromHost)} from host memory, ${formatBytes(usage.bytesUploaded)} to the GPU${perToken}`,
    `read ahead: ${readAhead.useful} useful, ${readAhead.wasted} wasted`,
    `waited: ${formatDuration(waitMs.gpu)} for the GPU (computing and routing), ${formatDuration(waitMs.read)} for reads, ${formatDuration(waitMs.upload)} for uploads`,
  ].join('\n');
}

/** The waits of each layer, as a table. */
export function layerStatistics(waits: readonly LayerWaits[]): string {
  return markdownTable(
    ['layer', 'GPU, ms', 'reads, ms', 'uploads, ms'],
    waits.map(({ gpu, read, upload }, layer) => [
      String(layer),
      gpu.toFixed(1),
      read.toFixed(1),
      upload.toFixed(1),
    ]),
    ['right', 'right', 'right', 'right'],
  );
}

/** `waits` since some moment. */
export function waitsSince(before: readonly LayerWaits[], model: Model): LayerWaits[] {
  return model.expertWaits().map(({ gpu, read, upload }, i) => ({
    gpu: gpu - before[i].gpu,
    read: read - before[i].read,
    upload: upload - before[i].upload,
  }));
}
