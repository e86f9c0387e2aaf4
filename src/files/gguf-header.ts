import { MowgliError } from '../errors.ts';
import { formatBytes, type NumberType, numberFormats } from '../quant/index.ts';
import { type ByteSource, isCount, type OpenOptions } from './byte-source.ts';
import { GgufBytes } from './gguf-bytes.ts';
import { numberCodecs } from './gguf-numbers.ts';
import {
  GgufArray,
  type GgufElements,
  type GgufMetadata,
  GgufStrings,
  type GgufValue,
  type GgufValueType,
  ggmlTypeName,
  ggmlTypes,
  ggufValueTypes,
} from './gguf-types.ts';
import { show } from './json.ts';
import { elementCount, showShape } from './tensors.ts';

/** A tensor of a GGUF file. `shape` is row-major, the reverse of GGUF's order. */
export interface GgufTensor {
  readonly name: string;
  readonly type: NumberType;
  readonly shape: readonly number[];
  readonly bytes: number;
  /** Where it begins, in bytes from the beginning of the file. */
  readonly offset: number;
}

/** What the header of one GGUF file says. */
export interface GgufHeader {
  readonly version: number;
  /** Tensors begin at multiples of this many bytes. */
  readonly alignment: number;
  readonly metadata: GgufMetadata;
  /** In the order of the header. */
  readonly tensors: ReadonlyMap<string, GgufTensor>;
}

/** "GGUF", read as a little-endian number. */
const magic = 0x46554747;
/** Magic, version, and the two counts. */
const smallestFile = 24;
const defaultAlignment = 32;
const largestAlignment = 65536;

/**
 * Far above any model there is: 62 layers of 160 experts with three tensors each, had they not been
 * merged, are 30,000 tensors. They keep a hostile header from becoming millions of objects.
 */
const maxTensors = 65536;
const maxKeys = 65536;
const maxArrays = 65536;
/** Arrays in arrays in arrays; no file is known to hold any. */
const maxArrayDepth = 4;

/** Limits of the format. */
const maxKeyBytes = 65535;
const maxNameBytes = 64;
const maxDimensions = 4;

/** Fewest bytes that a key with its value and a tensor's description take. */
const leastKeyBytes = 8 + 4 + 1;
const leastTensorBytes = 8 + 4 + 8 + 4 + 8;

/**
 * Reads and checks the header of one GGUF file, version 2 or 3
 * (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): metadata, then descriptions of tensors,
 * then, aligned, their bytes. Reads no more than the header and a few megabytes after it.
 *
 * More lenient than ggml in one thing: there may be gaps between tensors, and they may lie in any order.
 *
 * @throws MowgliError `FILE_TRUNCATED` when the file is shorter than its header demands,
 * `FILE_INVALID` when the header breaks a rule of the format or claims absurd sizes, `TENSOR_TYPE`
 * when a tensor has a number type that is not read, and what `ByteSource.read` throws.
 */
export async function readGgufHeader(
  source: ByteSource,
  { signal }: OpenOptions = {},
): Promise<GgufHeader> {
  return new Parser(source, signal).parse();
}

class Parser {
  readonly #source: ByteSource;
  readonly #bytes: GgufBytes;
  #arrays = 0;

  constructor(source: ByteSource, signal: AbortSignal | undefined) {
    this.#source = source;
    this.#bytes = new GgufBytes(source, signal);
  }

  async parse(): Promise<GgufHeader> {
    const version = await this.#version();
    const tensorCount = await this.#bytes.countOf('tensors', leastTensorBytes, maxTensors);
    const keyCount = await this.#bytes.countOf('metadata keys', leastKeyBytes, maxKeys);
    const metadata = await this.#metadata(keyCount);
    const alignment = this.#alignment(metadata);
    const descriptions = new Map<string, GgufTensor>();
    for (let i = 0; i < tensorCount; i++) {
      const tensor = await this.#tensor(alignment);
      if (descriptions.has(tensor.name)) {
        throw this.#invalid(`it has two tensors with the name ${show(tensor.name)}`);
      }
      descriptions.set(tensor.name, tensor);
    }
    // Offsets count from the end of the header, which is only known now.
    const dataOffset = Math.ceil(this.#bytes.position / alignment) * alignment;
    const tensors = new Map<string, GgufTensor>();
    for (const tensor of descriptions.values()) {
      tensors.set(tensor.name, { ...tensor, offset: dataOffset + tensor.offset });
    }
    this.#checkPlaces([...tensors.values()]);
    return { version, alignment, metadata, tensors };
  }

  async #version(): Promise<number> {
    await this.#bytes.need(smallestFile, 'the beginning of a GGUF file');
    const found = this.#bytes.u32();
    if (found !== magic) {
      // "version https://git-lfs..." stands in place of a file that was not fetched.
      throw this.#invalid(
        'it does not begin with "GGUF"',
        found === 0x73726576
          ? 'it looks like a Git LFS pointer; fetch the file itself with `git lfs pull`'
          : 'this is not a GGUF file, or it is damaged',
      );
    }
    const version = this.#bytes.u32();
    if (version === 2 || version === 3) return version;
    const isSwapped = version !== 0 && (version & 0xffff) === 0;
    throw this.#invalid(
      isSwapped ? 'it is a big-endian GGUF file' : `it is a GGUF file of version ${version}`,
      'versions 2 and 3, little-endian, can be read; download a newer or another file',
    );
  }

  async #metadata(count: number): Promise<Map<string, GgufValue>> {
    const metadata = new Map<string, GgufValue>();
    for (let i = 0; i < count; i++) {
      const key = await this.#bytes.string('a metadata key', maxKeyBytes);
      if (metadata.has(key)) throw this.#invalid(`it has the metadata key ${show(key)} twice`);
      metadata.set(key, await this.#value(await this.#valueType(key), key, 0));
    }
    return metadata;
  }

  async #valueType(key: string): Promise<GgufValueType> {
    await this.#bytes.need(4, `the type of ${show(key)}`);
    const type = this.#bytes.u32();
    if (type < ggufValueTypes.length) return ggufValueTypes[type];
    throw this.#invalid(`metadata key ${show(key)} has a value of unknown type ${type}`);
  }

  async #value(type: GgufValueType, key: string, depth: number): Promise<GgufValue> {
    if (type === 'string') return this.#bytes.string(show(key));
    if (type === 'array') return this.#array(key, depth + 1);
    const { bytes, read } = numberCodecs[type];
    await this.#bytes.need(bytes, show(key));
    const value = this.#bytes.number(bytes, read);
    if (type === 'bool') return this.#bool(value, key);
    if (typeof value === 'number') return value;
    return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  }

  #bool(value: number | bigint, key: string): boolean {
    if (value === 0 || value === 1) return value === 1;
    throw this.#invalid(`metadata key ${show(key)} has the bool ${value}, which must be 0 or 1`);
  }

  async #array(key: string, depth: number): Promise<GgufArray> {
    if (depth > maxArrayDepth || ++this.#arrays > maxArrays) {
      throw this.#invalid(`metadata key ${show(key)} has too many arrays in arrays`);
    }
    const type = await this.#valueType(key);
    return new GgufArray(type, await this.#elements(type, key, depth));
  }

  async #elements(type: GgufValueType, key: string, depth: number): Promise<GgufElements> {
    const what = `elements of ${show(key)}`;
    if (type === 'array') {
      const count = await this.#bytes.countOf(what, 4 + 8, maxArrays);
      const arrays: GgufArray[] = [];
      for (let i = 0; i < count; i++) arrays.push(await this.#array(key, depth + 1));
      return arrays;
    }
    if (type === 'string') {
      const count = await this.#bytes.countOf(what, 8, Number.MAX_SAFE_INTEGER);
      const places = await this.#bytes.skipStrings(count, what);
      return new GgufStrings(this.#bytes, places, `${this.#source.name}: ${show(key)}`);
    }
    const { bytes, array } = numberCodecs[type];
    const count = await this.#bytes.countOf(what, bytes, Number.MAX_SAFE_INTEGER);
    await this.#bytes.need(count * bytes, what);
    const elements = array(this.#bytes.take(count * bytes).slice().buffer);
    if (type === 'bool') for (const value of elements) this.#bool(value, key);
    return elements;
  }

  #alignment(metadata: GgufMetadata): number {
    const alignment = metadata.get('general.alignment') ?? defaultAlignment;
    const isPower = isCount(alignment) && alignment > 0 && Number.isInteger(Math.log2(alignment));
    if (isPower && alignment <= largestAlignment) return alignment;
    throw this.#invalid(
      `general.alignment is ${show(alignment)}, not a power of two up to ${largestAlignment}`,
    );
  }

  /** `offset` is still that of the header: from where the tensors begin. */
  async #tensor(alignment: number): Promise<GgufTensor> {
    const name = await this.#bytes.string("a tensor's name", maxNameBytes);
    const fail = (problem: string) => this.#invalid(`tensor ${show(name)} ${problem}`);
    await this.#bytes.need(4, `tensor ${show(name)}`);
    const dimensions = this.#bytes.u32();
    if (dimensions < 1 || dimensions > maxDimensions) {
      throw fail(`has ${dimensions} dimensions, not 1 to ${maxDimensions}`);
    }
    await this.#bytes.need(8 * dimensions + 4 + 8, `tensor ${show(name)}`);
    const sizes = Array.from({ length: dimensions }, () => this.#bytes.count());
    const type = this.#tensorType(name, this.#bytes.u32());
    const offset = this.#bytes.count();

    const shape = sizes.toReversed();
    const bytes = formatBytes(type, elementCount(shape));
    if (!sizes.every((size) => isCount(size) && size > 0) || !isCount(bytes)) {
      throw fail(`has the impossible shape ${showShape(shape)}`);
    }
    const { blockElements } = numberFormats[type];
    if (sizes[0] % blockElements !== 0) {
      throw fail(
        `of shape ${showShape(shape)} has rows that are not whole blocks of ${blockElements} values, which ${type} is made of`,
      );
    }
    if (!isCount(offset) || offset % alignment !== 0) {
      throw fail(`begins at ${offset}, which is not a multiple of the alignment ${alignment}`);
    }
    return { name, type, shape, bytes, offset };
  }

  #tensorType(name: string, type: number): NumberType {
    const known = ggmlTypes.get(type);
    if (known !== undefined) return known;
    throw new MowgliError(
      'TENSOR_TYPE',
      `${this.#source.name}: tensor ${show(name)} has number type ${ggmlTypeName(type)}, which cannot be read; use a file quantised to other types, such as Q4_K_M`,
    );
  }

  #checkPlaces(tensors: readonly GgufTensor[]): void {
    const sorted = tensors.toSorted((a, b) => a.offset - b.offset);
    for (const [i, { name, offset, bytes }] of sorted.entries()) {
      if (offset + bytes > this.#source.size) {
        throw new MowgliError(
          'FILE_TRUNCATED',
          `${this.#source.name}: tensor ${show(name)} ends at byte ${offset + bytes}, but the file has only ${this.#source.size}; download it again`,
        );
      }
      const next = sorted[i + 1];
      if (next !== undefined && offset + bytes > next.offset) {
        throw this.#invalid(`tensors ${show(name)} and ${show(next.name)} overlap`);
      }
    }
  }

  #invalid(problem: string, cure = 'the file is damaged; download it again'): MowgliError {
    return new MowgliError('FILE_INVALID', `${this.#source.name}: ${problem}; ${cure}`);
  }
}
