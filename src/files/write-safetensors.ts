import { MowgliError, throwIfAborted } from '../errors.ts';
import { numberFormats } from '../quant/index.ts';
import { indexFile, singleFile } from './safetensors.ts';
import { maxHeaderBytes } from './safetensors-header.ts';
import type { TensorInfo, TensorStore } from './tensors.ts';

/** A file being written from its beginning to its end. */
export interface FileSink {
  /** Appends. The bytes may be overwritten by the caller once the promise has settled. */
  write(bytes: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

/** A place where files can be made, such as a folder on disk. */
export interface FolderSink {
  /**
   * Begins a file.
   * @throws MowgliError `READ_FAILED` when it cannot be made.
   */
  create(file: string): Promise<FileSink>;
}

export interface WriteOptions {
  /** Bytes of tensors per file at most; a tensor larger than that gets a file of its own. Default 5 GB. */
  maxShardBytes?: number;
  /** Bytes read and written at a time. Default 16 MiB. */
  chunkBytes?: number;
  signal?: AbortSignal | undefined;
  /** Called after each chunk with the bytes of tensors written so far, of all there are. */
  onProgress?: (doneBytes: number, totalBytes: number) => void;
}

/** A Hugging Face model folder to write. */
export interface CheckpointFiles {
  /** What `config.json` shall hold. */
  configJson: unknown;
  /** What `generation_config.json` shall hold; no such file when undefined. */
  generationConfigJson?: unknown;
  tensors: TensorStore;
}

/**
 * Writes a model folder: the weights as `writeSafetensors` does, then the small files, so that a
 * folder that was not finished lacks its `config.json`. There is no tokenizer among them.
 *
 * @throws MowgliError as `writeSafetensors`.
 */
export async function writeCheckpoint(
  sink: FolderSink,
  files: CheckpointFiles,
  options?: WriteOptions,
): Promise<void> {
  await writeSafetensors(sink, files.tensors, options);
  if (files.generationConfigJson !== undefined) {
    await writeJson(sink, 'generation_config.json', files.generationConfigJson);
  }
  await writeJson(sink, 'config.json', files.configJson);
}

/**
 * Writes all tensors of a store as `model.safetensors` or, when they do not fit into one file, as
 * `model-00001-of-000NN.safetensors` and so on with `model.safetensors.index.json`. Holds one chunk
 * in memory at a time.
 *
 * @throws MowgliError `OPTION_INVALID` when an option is not a positive whole number, `ABORTED`, and
 * what the store and the sink throw. Files begun stay behind after a failure, closed.
 */
export async function writeSafetensors(
  sink: FolderSink,
  tensors: TensorStore,
  options: WriteOptions = {},
): Promise<void> {
  const { maxShardBytes = 5e9, chunkBytes = 16 * 1024 * 1024 } = options;
  for (const [name, value] of Object.entries({ maxShardBytes, chunkBytes })) {
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new MowgliError('OPTION_INVALID', `${name} is ${value}; it must be a number of bytes`);
    }
  }
  const infos = [...tensors.tensors.values()];
  const totalBytes = infos.reduce((sum, tensor) => sum + tensor.bytes, 0);
  let doneBytes = 0;
  const progress = (bytes: number) => {
    doneBytes += bytes;
    options.onProgress?.(doneBytes, totalBytes);
  };

  const shards = split(infos, maxShardBytes);
  const chunk = new Uint8Array(chunkBytes);
  const weightMap: [string, string][] = [];
  for (const [i, shard] of shards.entries()) {
    const file = shards.length === 1 ? singleFile : shardFile(i + 1, shards.length);
    for (const { name } of shard) weightMap.push([name, file]);
    await writeShard(await sink.create(file), shard, tensors, chunk, progress, options.signal);
  }
  if (shards.length > 1) {
    await writeJson(sink, indexFile, {
      metadata: { total_size: totalBytes },
      weight_map: Object.fromEntries(weightMap),
    });
  }
}

/** Fills one file after the other, in the order of the tensors. At least one, perhaps empty. */
function split(tensors: readonly TensorInfo[], maxShardBytes: number): TensorInfo[][] {
  const shards: TensorInfo[][] = [[]];
  let bytes = 0;
  for (const tensor of tensors) {
    if (bytes > 0 && bytes + tensor.bytes > maxShardBytes) {
      shards.push([]);
      bytes = 0;
    }
    shards[shards.length - 1].push(tensor);
    bytes += tensor.bytes;
  }
  return shards;
}

/** The name of the nth file, from 1: `model-00001-of-00016.safetensors`. */
function shardFile(n: number, count: number): string {
  const digits = (value: number) => String(value).padStart(5, '0');
  return `model-${digits(n)}-of-${digits(count)}.safetensors`;
}

async function writeShard(
  file: FileSink,
  shard: readonly TensorInfo[],
  store: TensorStore,
  chunk: Uint8Array,
  progress: (bytes: number) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  try {
    // Larger elements first keeps every tensor aligned to its elements, as in the reference writer.
    const size = ({ type }: TensorInfo) => numberFormats[type].blockBytes;
    const ordered = shard.toSorted((a, b) => size(b) - size(a));
    await file.write(encodeHeader(ordered));
    for (const { name, bytes } of ordered) {
      for (let offset = 0; offset < bytes; ) {
        throwIfAborted(signal, `Writing ${name}`);
        const length = Math.min(chunk.length, bytes - offset);
        await file.write(await store.read(name, { offset, length, into: chunk, signal }));
        offset += length;
        progress(length);
      }
    }
  } finally {
    await file.close();
  }
}

/** The length and the JSON, padded with spaces so that the data begins at a multiple of 8 bytes. */
function encodeHeader(tensors: readonly TensorInfo[]): Uint8Array {
  // As a list of entries: an object would take a tensor named "__proto__" for its prototype, and
  // put names that look like numbers first.
  let offset = 0;
  const entries = ['"__metadata__":{"format":"pt"}'];
  for (const { name, type, shape, bytes } of tensors) {
    const entry = { dtype: type, shape, data_offsets: [offset, offset + bytes] };
    entries.push(`${JSON.stringify(name)}:${JSON.stringify(entry)}`);
    offset += bytes;
  }
  const json = new TextEncoder().encode(`{${entries.join(',')}}`);
  const length = Math.ceil(json.length / 8) * 8;
  if (length > maxHeaderBytes) {
    throw new MowgliError(
      'OPTION_INVALID',
      `The header of one file would take ${length} bytes, more than the ${maxHeaderBytes} allowed; lower maxShardBytes`,
    );
  }
  const header = new Uint8Array(8 + length).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  header.set(json, 8);
  return header;
}

async function writeJson(sink: FolderSink, file: string, json: unknown): Promise<void> {
  const target = await sink.create(file);
  try {
    await target.write(new TextEncoder().encode(`${JSON.stringify(json, null, 2)}\n`));
  } finally {
    await target.close();
  }
}
