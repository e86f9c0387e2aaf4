import { MowgliError } from '../errors.ts';
import {
  type ByteFolder,
  type ByteSource,
  isPlainFileName,
  type OpenOptions,
} from './byte-source.ts';
import { closeAll, mapConcurrent } from './concurrent.ts';
import { isJsonObject, readJson, show } from './json.ts';
import { readSafetensorsHeader, type TensorPlace } from './safetensors-header.ts';
import {
  noSuchTensor,
  type TensorInfo,
  type TensorReadOptions,
  type TensorStore,
  tensorRange,
} from './tensors.ts';

/** Weights in one file. */
export const singleFile = 'model.safetensors';
/** Says which tensor is in which file when there are several. */
export const indexFile = 'model.safetensors.index.json';

/** Files opened and headers read at a time: enough to hide latency, far below a limit on open files. */
const openAtOnce = 16;

/**
 * Opens the weights of a Hugging Face folder: `model.safetensors`, or else the shards that
 * `model.safetensors.index.json` names. Only headers are read; the bytes of a tensor are read when
 * asked for. Every shard is opened once and stays open until `close`.
 *
 * @throws MowgliError `FILE_NOT_FOUND` when there are no weights or a shard is absent,
 * `TENSOR_MISSING` when a shard lacks a tensor that the index puts there, `FILE_INVALID` when the
 * index is malformed or two shards have a tensor of the same name, and what
 * `readSafetensorsHeader` throws. Nothing stays open after a failure.
 */
export async function openSafetensors(
  folder: ByteFolder,
  { signal }: OpenOptions = {},
): Promise<TensorStore> {
  const opened: Shard[] = [];
  try {
    // The order of Hugging Face's loader: a single file wins over an index.
    const single = await openShard(folder, singleFile, opened, signal);
    if (single !== undefined) return new SafetensorsStore(opened);

    const index = await readIndex(folder, signal);
    if (index === undefined) {
      throw new MowgliError(
        'FILE_NOT_FOUND',
        `${folder.name} has neither ${singleFile} nor ${indexFile}; point to a folder with a model's safetensors files`,
      );
    }
    const shards = await mapConcurrent([...index.shards], openAtOnce, async (file) => {
      const shard = await openShard(folder, file, opened, signal);
      if (shard !== undefined) return shard;
      throw new MowgliError(
        'FILE_NOT_FOUND',
        `${folder.name} lacks ${file}, which ${indexFile} names; download that file too`,
      );
    });
    checkIndex(folder, index, shards);
    return new SafetensorsStore(shards);
  } catch (error) {
    // What went wrong first is what the caller needs to hear, so failures to close are not.
    await closeAll(opened.map((shard) => shard.source)).catch(() => {});
    throw error;
  }
}

interface Shard {
  readonly file: string;
  readonly source: ByteSource;
  tensors: ReadonlyMap<string, TensorPlace>;
}

/** Opens one file and reads its header. The file is in `opened` as soon as it is open. */
async function openShard(
  folder: ByteFolder,
  file: string,
  opened: Shard[],
  signal: AbortSignal | undefined,
): Promise<Shard | undefined> {
  const source = await folder.open(file);
  if (source === undefined) return undefined;
  const shard: Shard = { file, source, tensors: new Map() };
  opened.push(shard);
  shard.tensors = (await readSafetensorsHeader(source, { signal })).tensors;
  return shard;
}

interface Index {
  /** Tensor name to file name. */
  readonly weightMap: ReadonlyMap<string, string>;
  /** The files named, each once, in the order of their first tensor. */
  readonly shards: ReadonlySet<string>;
}

async function readIndex(
  folder: ByteFolder,
  signal: AbortSignal | undefined,
): Promise<Index | undefined> {
  const json = await readJson(folder, indexFile, { signal });
  if (json === undefined) return undefined;
  const fail = (problem: string) =>
    new MowgliError('FILE_INVALID', `${folder.name}/${indexFile}: ${problem}; download it again`);
  const map = isJsonObject(json) && Object.hasOwn(json, 'weight_map') ? json.weight_map : undefined;
  if (!isJsonObject(map)) throw fail(`weight_map must be an object, not ${show(map)}`);
  const weightMap = new Map<string, string>();
  for (const [name, file] of Object.entries(map)) {
    if (typeof file !== 'string' || !isPlainFileName(file)) {
      throw fail(`tensor ${show(name)} is said to be in ${show(file)}, which is not a file name`);
    }
    weightMap.set(name, file);
  }
  if (weightMap.size === 0) throw fail('weight_map names no tensor');
  return { weightMap, shards: new Set(weightMap.values()) };
}

function checkIndex(folder: ByteFolder, index: Index, shards: readonly Shard[]): void {
  const holder = new Map<string, string>();
  for (const { file, tensors } of shards) {
    for (const name of tensors.keys()) {
      const other = holder.get(name);
      if (other !== undefined) {
        throw new MowgliError(
          'FILE_INVALID',
          `${folder.name}: tensor ${show(name)} is in ${other} and in ${file}; download the model again`,
        );
      }
      holder.set(name, file);
    }
  }
  const missing = [...index.weightMap].filter(([name, file]) => holder.get(name) !== file);
  if (missing.length > 0) {
    const [name, file] = missing[0];
    const more = missing.length > 1 ? ` (and ${missing.length - 1} more like it)` : '';
    throw new MowgliError(
      'TENSOR_MISSING',
      `${folder.name}: ${indexFile} puts tensor ${show(name)} into ${file}, which lacks it${more}; the files are not of one model: download them again`,
    );
  }
}

class SafetensorsStore implements TensorStore {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly #places = new Map<string, { source: ByteSource; place: TensorPlace }>();
  readonly #sources: readonly ByteSource[];

  constructor(shards: readonly Shard[]) {
    const tensors = new Map<string, TensorInfo>();
    for (const { source, tensors: places } of shards) {
      for (const place of places.values()) {
        const { name, type, shape, bytes } = place;
        tensors.set(name, { name, type, shape, bytes });
        this.#places.set(name, { source, place });
      }
    }
    this.tensors = tensors;
    this.#sources = shards.map((shard) => shard.source);
  }

  async read(name: string, options?: TensorReadOptions): Promise<Uint8Array> {
    const found = this.#places.get(name);
    if (found === undefined) throw noSuchTensor(name);
    const { offset, length } = tensorRange(found.place, options);
    return found.source.read(found.place.offset + offset, length, options);
  }

  close(): Promise<void> {
    return closeAll(this.#sources);
  }
}
