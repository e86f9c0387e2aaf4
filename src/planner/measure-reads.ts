import { throwIfAborted } from '../errors.ts';
import type { ExpertLayout } from '../experts/expert-layout.ts';
import { ExpertReader } from '../experts/expert-reader.ts';
import { mapConcurrent } from '../files/concurrent.ts';
import type { TensorStore } from '../files/tensors.ts';
import type { MoveCosts } from './costs.ts';
import type { ExpertKind } from './memory-plan.ts';

/** Reads in flight, as the engine has them. */
const concurrentReads = 4;

/** Milliseconds and bytes after which no batch is begun with any more. */
const budgetMs = 3000;
const budgetBytes = 1 << 30;

/** Experts of a batch: what a layer of one token may miss. */
const batchExperts = 8;

/** Where the bytes of some reads came from. */
export type ReadOrigin = 'page cache' | 'disk' | 'mixed' | 'made' | 'unknown';

/** How long experts take from the files into the host's memory. */
export interface ReadSpeed {
  readonly from: ReadOrigin;
  /** Of the reads that this is about. */
  readonly experts: number;
  readonly bytes: number;
  readonly bytesPerSecond: number;
  readonly costs: MoveCosts;
}

/** What reading was measured to take. */
export interface MeasuredReads {
  /** Of experts that were not read before. */
  readonly first: ReadSpeed;
  /** Of the same experts once more: what the page cache gives. Nothing for a model without files. */
  readonly again: ReadSpeed | undefined;
}

/**
 * Reads experts from all over a model's files, exactly as the engine does, several at once and one by
 * one, and then once more.
 *
 * @param fetched bytes that this process made the system fetch from storage so far, where it says so
 * @param made the model has no files: its weights are made when they are read
 * @throws MowgliError what `TensorStore.read` throws, `ABORTED`
 */
export async function measureReads(
  tensors: TensorStore,
  kinds: readonly ExpertKind[],
  expertsPerLayer: number,
  options: {
    fetched?: (() => Promise<number | undefined>) | undefined;
    made: boolean;
    signal?: AbortSignal | undefined;
  },
): Promise<MeasuredReads> {
  const { fetched = async () => undefined, made, signal } = options;
  const reader = new ExpertReader(tensors);
  const largest = Math.max(...kinds.map(({ layout }) => layout.bytes));
  const images = Array.from({ length: batchExperts }, () => new Uint8Array(largest));
  const batches = spread(kinds, expertsPerLayer);

  const run = async (list: readonly Batch[]): Promise<{ speed: ReadSpeed; done: Batch[] }> => {
    const done: Batch[] = [];
    const one: number[] = [];
    const several: number[] = [];
    const before = await fetched();
    const deadline = performance.now() + budgetMs;
    let bytes = 0;
    let experts = 0;
    let ms = 0;
    for (const batch of list) {
      throwIfAborted(signal, 'measuring the disk');
      if (done.length >= 4 && (performance.now() > deadline || bytes > budgetBytes)) break;
      const start = performance.now();
      const read = await mapConcurrent(batch.experts, concurrentReads, (expert) =>
        reader.read(
          batch.layout,
          batch.layer,
          expert,
          images[batch.experts.indexOf(expert)],
          signal,
        ),
      );
      const took = performance.now() - start;
      ms += took;
      bytes += read.reduce((sum, each) => sum + each, 0);
      experts += batch.experts.length;
      (batch.experts.length === 1 ? one : several).push(took);
      done.push(batch);
    }
    const after = await fetched();
    const share =
      before === undefined || after === undefined ? undefined : (after - before) / bytes;
    const size = Math.max(...done.map((batch) => batch.experts.length));
    const many = median(several.length > 0 ? several : one);
    const firstMs = Math.max(Math.min(median(one), many), many / size);
    const speed: ReadSpeed = {
      from: made ? 'made' : originOf(share),
      experts,
      bytes,
      bytesPerSecond: bytes / (ms / 1000),
      costs: { firstMs, nextMs: size > 1 ? (many - firstMs) / (size - 1) : firstMs },
    };
    return { speed, done };
  };

  const { speed: first, done } = await run(batches);
  return { first, again: made ? undefined : (await run(done)).speed };
}

interface Batch {
  readonly layout: ExpertLayout;
  readonly layer: number;
  readonly experts: readonly number[];
}

/** Batches of experts of different layers, no expert twice; every other one is of one expert alone. */
function spread(kinds: readonly ExpertKind[], expertsPerLayer: number): Batch[] {
  const layers = kinds.flatMap(({ layout, layers: of }) => of.map((layer) => ({ layout, layer })));
  const size = Math.min(batchExperts, Math.max(1, expertsPerLayer - 1));
  const perLayer = Math.max(1, Math.floor(expertsPerLayer / (size + 1)));
  const batches: Batch[] = [];
  for (let round = 0; round < perLayer; round++) {
    for (const place of layers) {
      // A stride that shares no factor with most numbers of experts scatters them over the file.
      const expert = (i: number) => ((round * (size + 1) + i) * 37) % expertsPerLayer;
      const all = Array.from({ length: size + 1 }, (_, i) => expert(i));
      if (new Set(all).size < all.length) continue;
      batches.push(
        { ...place, experts: all.slice(0, size) },
        { ...place, experts: all.slice(size) },
      );
    }
  }
  // All over the files: neighbours in the list are far from each other.
  const step = Math.floor(batches.length / 2.618) | 1;
  const place = (i: number) => (Math.floor(i / 2) * step * 2 + (i % 2)) % batches.length;
  const order = new Set(batches.map((_, i) => place(i)));
  return [...order].map((i) => batches[i]);
}

function originOf(fetchedShare: number | undefined): ReadOrigin {
  if (fetchedShare === undefined) return 'unknown';
  if (fetchedShare < 0.1) return 'page cache';
  return fetchedShare > 0.9 ? 'disk' : 'mixed';
}

function median(values: readonly number[]): number {
  if (values.length === 0) return Number.POSITIVE_INFINITY;
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}
