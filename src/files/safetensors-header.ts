import { MowgliError } from '../errors.ts';
import { formatBytes, formats, type NumberType } from '../quant/index.ts';
import { type ByteSource, isCount, type OpenOptions } from './byte-source.ts';
import { decodeText, isJsonObject, type JsonObject, parseJson, show } from './json.ts';
import { elementCount, showShape, type TensorInfo } from './tensors.ts';

/** The reference implementation's limit. It keeps a hostile length from becoming an allocation. */
export const maxHeaderBytes = 100_000_000;

/** Bytes of the little-endian u64 that a file begins with: the length of the JSON after it. */
const prefixBytes = 8;

/** The number types that are read: floats, and the FP8 whose scales are a tensor of their own. */
const readTypes: readonly NumberType[] = [...(Object.keys(formats) as NumberType[]), 'F8_E4M3'];

/** The number types of the format that no decoder here reads yet. */
const otherTypes = new Set(
  [
    'BOOL U8 I8 U16 I16 U32 I32 U64 I64 F64 C64',
    'F8_E5M2 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ F6_E2M3 F6_E3M2 F4',
  ].flatMap((line) => line.split(' ')),
);

/** A tensor and where it lies: `offset` counts bytes from the beginning of the file. */
export interface TensorPlace extends TensorInfo {
  readonly offset: number;
}

/** What the header of one safetensors file says. Tensors are in the order of their bytes. */
export interface SafetensorsHeader {
  readonly tensors: ReadonlyMap<string, TensorPlace>;
  /** The free text under `__metadata__`. */
  readonly metadata: ReadonlyMap<string, string>;
}

/**
 * Reads and checks the header of one safetensors file (https://huggingface.co/docs/safetensors):
 * a u64 length, that many bytes of JSON `{name: {dtype, shape, data_offsets}}`, then the data, which
 * the tensors must cover exactly: no gap, no overlap, nothing after the last one.
 *
 * @throws MowgliError `FILE_TRUNCATED` when the file is shorter than its header demands,
 * `FILE_INVALID` when the header breaks a rule of the format, `TENSOR_TYPE` when a tensor has a
 * number type that is not read, and what `ByteSource.read` throws.
 */
export async function readSafetensorsHeader(
  source: ByteSource,
  { signal }: OpenOptions = {},
): Promise<SafetensorsHeader> {
  if (source.size < prefixBytes) throw truncated(source, prefixBytes);
  const prefix = await source.read(0, prefixBytes, { signal });
  const view = new DataView(prefix.buffer, prefix.byteOffset, prefixBytes);
  const headerBytes = view.getBigUint64(0, true);
  if (headerBytes > maxHeaderBytes) {
    // "version https://git-lfs..." stands in place of a file that was not fetched.
    const cure =
      String.fromCharCode(...prefix) === 'version '
        ? 'it looks like a Git LFS pointer; fetch the file itself with `git lfs pull`'
        : 'this is not a safetensors file, or it is damaged; download it again';
    throw invalid(source, `its header claims ${headerBytes} bytes; ${cure}`);
  }
  const dataOffset = prefixBytes + Number(headerBytes);
  if (dataOffset > source.size) throw truncated(source, dataOffset);
  const bytes = await source.read(prefixBytes, Number(headerBytes), { signal });
  return parseHeader(source, bytes, dataOffset);
}

function parseHeader(source: ByteSource, bytes: Uint8Array, dataOffset: number): SafetensorsHeader {
  const where = `the header of ${source.name}`;
  // A rule of the format, and what makes the JSON an object.
  if (bytes[0] !== 0x7b) {
    throw invalid(source, 'its header does not begin with "{"; download it again');
  }
  const text = decodeText(bytes, where);
  const json = parseJson(text, where) as JsonObject;
  const metadata = parseMetadata(source, json);

  const places: TensorPlace[] = [];
  for (const [name, entry] of Object.entries(json)) {
    if (name !== '__metadata__') places.push(parseEntry(source, name, entry, dataOffset));
  }
  checkNoDuplicateKeys(source, text, json);
  places.sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  checkCoverage(source, places, dataOffset);
  return { tensors: new Map(places.map((place) => [place.name, place])), metadata };
}

function parseMetadata(source: ByteSource, json: JsonObject): Map<string, string> {
  const metadata = new Map<string, string>();
  if (!Object.hasOwn(json, '__metadata__')) return metadata;
  const given = json.__metadata__;
  if (!isJsonObject(given)) {
    throw invalid(source, `__metadata__ must be an object, not ${show(given)}; download it again`);
  }
  for (const [key, value] of Object.entries(given)) {
    if (typeof value !== 'string') {
      throw invalid(
        source,
        `__metadata__ may hold only strings, but ${show(key)} is ${show(value)}; download it again`,
      );
    }
    metadata.set(key, value);
  }
  return metadata;
}

function parseEntry(
  source: ByteSource,
  name: string,
  entry: unknown,
  dataOffset: number,
): TensorPlace {
  const fail = (problem: string) =>
    invalid(source, `tensor ${show(name)} ${problem}; download it again`);
  if (!isJsonObject(entry)) throw fail(`is described by ${show(entry)} instead of an object`);
  const field = (key: string) => (Object.hasOwn(entry, key) ? entry[key] : undefined);

  const shape = field('shape');
  if (!Array.isArray(shape) || !shape.every(isCount)) {
    throw fail(`has shape ${show(shape)}, which is not a list of whole numbers from 0 up`);
  }
  const offsets = field('data_offsets');
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    throw fail(`has data_offsets ${show(offsets)}, which is not a pair of whole numbers`);
  }
  const [begin, end] = offsets as [number, number];
  if (begin > end) throw fail(`ends at byte ${end}, before it begins at ${begin}`);
  const type = parseType(source, name, field('dtype'));

  const bytes = formatBytes(type, elementCount(shape));
  if (!isCount(bytes)) throw fail(`of shape ${showShape(shape)} is too large to exist`);
  if (bytes !== end - begin) {
    throw fail(`of ${type} ${showShape(shape)} needs ${bytes} bytes, but has ${end - begin}`);
  }
  return { name, type, shape, bytes, offset: dataOffset + begin };
}

function parseType(source: ByteSource, name: string, dtype: unknown): NumberType {
  if (typeof dtype !== 'string') {
    throw invalid(source, `tensor ${show(name)} has dtype ${show(dtype)}; download it again`);
  }
  const type = readTypes.find((read) => read === dtype);
  if (type !== undefined) return type;
  const known = otherTypes.has(dtype) ? 'is not read yet' : 'is not a type of this file format';
  throw new MowgliError(
    'TENSOR_TYPE',
    `${source.name}: tensor ${show(name)} has number type ${show(dtype)}, which ${known}; use a checkpoint in ${readTypes.join(', ')}`,
  );
}

/**
 * The format forbids duplicate keys, because parsers differ in which one they believe, and
 * `JSON.parse` says nothing. Outside of strings there is one colon per key, so count those.
 */
function checkNoDuplicateKeys(source: ByteSource, text: string, json: JsonObject): void {
  let colons = 0;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (character === '"') inString = !inString;
    else if (character === '\\')
      i++; // only within strings; what it escapes is not a quote
    else if (character === ':' && !inString) colons++;
  }
  if (colons !== countKeys(json)) {
    throw invalid(source, 'its header has the same key twice; download it again');
  }
}

function countKeys(value: unknown): number {
  // An explicit stack: the nesting is as deep as a stranger's file wants it to be.
  let keys = 0;
  const stack = [value];
  while (stack.length > 0) {
    const top = stack.pop();
    if (typeof top !== 'object' || top === null) continue;
    const values = Object.values(top);
    if (!Array.isArray(top)) keys += values.length;
    for (const child of values) if (typeof child === 'object') stack.push(child);
  }
  return keys;
}

/** @param places in the order of their bytes. */
function checkCoverage(source: ByteSource, places: readonly TensorPlace[], dataOffset: number) {
  let end = dataOffset;
  let last = 'the header';
  for (const { name, offset, bytes } of places) {
    if (offset !== end) {
      const problem = offset > end ? `${offset - end} bytes lie between` : 'they overlap';
      throw invalid(
        source,
        `tensor ${show(name)} begins at byte ${offset}, but ${last} ends at ${end} (${problem}); download it again`,
      );
    }
    end = offset + bytes;
    last = `tensor ${show(name)}`;
  }
  if (end > source.size) throw truncated(source, end);
  if (end < source.size) {
    throw invalid(
      source,
      `it has ${source.size - end} bytes after its last tensor, at ${end}; download it again`,
    );
  }
}

function invalid(source: ByteSource, problem: string): MowgliError {
  return new MowgliError('FILE_INVALID', `${source.name}: ${problem}`);
}

function truncated(source: ByteSource, expected: number): MowgliError {
  return new MowgliError(
    'FILE_TRUNCATED',
    `${source.name} has ${source.size} bytes, but its header demands at least ${expected}; the download was not complete: download it again`,
  );
}
