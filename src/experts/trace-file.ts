import { MowgliError } from '../errors.ts';
import type { ByteSource, OpenOptions } from '../files/byte-source.ts';
import { decodeText, Fields, parseJson, show } from '../files/json.ts';

/**
 * A trace: which experts each token of a run was sent to, to try cache policies on without the model.
 * Little-endian; docs/TRACE.md tells more.
 *
 * ```
 * file   = magic "mowgli-trace\0\0\0\0", u32 version = 1, u32 bytes of header, header, record*
 * header = JSON: name, layers, sparseLayers, experts, expertsPerToken;
 *          with spaces at its end, so that the first record begins at a multiple of 8
 * record = u8 kind (0 decoded token, 1 chunk of a prompt), u8 depths, u16 0, u32 tokens,
 *          id [sparse layer, token, expertsPerToken], best first,
 *          for each depth d = 1 .. depths, what the router of the d-th sparse layer ahead said early:
 *            id [sparse layer except the first d, token, expertsPerToken], best first
 * id     = u8 if experts <= 256, else u16
 * ```
 */

/** What of a model its trace tells. */
export interface TraceModel {
  readonly name: string;
  /** All layers, dense ones included. */
  readonly layers: number;
  /** The layers with experts, rising. */
  readonly sparseLayers: readonly number[];
  /** Experts of a sparse layer. */
  readonly experts: number;
  readonly expertsPerToken: number;
}

export type StepKind = 'decode' | 'prompt';

/** One forward pass. */
export interface TraceStep {
  readonly kind: StepKind;
  readonly tokens: number;
  /** [sparse layer, token, expertsPerToken], best first. */
  readonly chosen: Uint8Array | Uint16Array;
  /**
   * At [d - 1] what was expected of the sparse layers from d on, by the hidden state d sparse layers
   * before: [sparse layer - d, token, expertsPerToken], best first.
   */
  readonly predicted: readonly (Uint8Array | Uint16Array)[];
}

export interface Trace {
  readonly model: TraceModel;
  readonly steps: readonly TraceStep[];
  /** The file ended within a record, which was left out: the run was interrupted. */
  readonly truncated: boolean;
}

/** One forward pass to be written. */
export interface TracedStep {
  readonly kind: StepKind;
  readonly tokens: number;
  /** Per sparse layer [token, expertsPerToken], best first. */
  readonly chosen: readonly ArrayLike<number>[];
  /** At [d - 1][i] what was expected of sparse layer i + d when the pass was at sparse layer i. */
  readonly predicted?: readonly (readonly ArrayLike<number>[])[];
}

const magic = 'mowgli-trace\0\0\0\0';
const version = 1;
const preambleBytes = magic.length + 8;
const recordHeaderBytes = 8;
const kinds: readonly StepKind[] = ['decode', 'prompt'];

/** Bounds of what a reader accepts, for a file may come from anywhere; far above any model. */
const maxFileBytes = 2 ** 28;
const maxHeaderBytes = 2 ** 16;
const maxLayers = 2 ** 12;
const maxExperts = 2 ** 16;
const maxExpertsOfAllLayers = 2 ** 20;
const maxSteps = 2 ** 22;

/** The beginning of a trace file; records follow. */
export function encodeTraceHeader(model: TraceModel): Uint8Array<ArrayBuffer> {
  const { name, layers, sparseLayers, experts, expertsPerToken } = model;
  const fields = { name, layers, sparseLayers, experts, expertsPerToken };
  const json = new TextEncoder().encode(JSON.stringify(fields));
  const end = 8 * Math.ceil((preambleBytes + json.length) / 8);
  const bytes = new Uint8Array(end).fill(0x20);
  bytes.set(new TextEncoder().encode(magic));
  const view = new DataView(bytes.buffer);
  view.setUint32(magic.length, version, true);
  view.setUint32(magic.length + 4, end - preambleBytes, true);
  bytes.set(json, preambleBytes);
  return bytes;
}

/**
 * One record of a trace file.
 * @throws RangeError when the step does not have the model's shape: a programmer's error
 */
export function encodeTraceStep(model: TraceModel, step: TracedStep): Uint8Array<ArrayBuffer> {
  const { kind, tokens, chosen, predicted = [] } = step;
  const { expertsPerToken, sparseLayers } = model;
  const layers = [...chosen];
  for (const [i, ahead] of predicted.entries()) {
    if (ahead.length !== Math.max(0, sparseLayers.length - i - 1)) {
      throw new RangeError(`${ahead.length} layers predicted at depth ${i + 1}`);
    }
    layers.push(...ahead);
  }
  const ids = tokens * expertsPerToken;
  const wrong = layers.find(({ length }) => length !== ids);
  if (chosen.length !== sparseLayers.length || wrong) {
    throw new RangeError(`${chosen.length} layers, one of ${wrong?.length} ids instead of ${ids}`);
  }
  const Ids = idArray(model);
  const bytes = new Uint8Array(recordHeaderBytes + layers.length * ids * Ids.BYTES_PER_ELEMENT);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, kinds.indexOf(kind));
  view.setUint8(1, predicted.length);
  view.setUint32(4, tokens, true);
  const all = new Ids(bytes.buffer, recordHeaderBytes);
  for (const [i, layer] of layers.entries()) all.set(layer, i * ids);
  return bytes;
}

/**
 * Reads a trace. A record cut off by the end of the file is left out and said so: whoever interrupts a
 * long run still has its trace.
 *
 * @throws MowgliError `FILE_INVALID` when it is no trace or says what cannot be, `CONFIG_INVALID` when
 * its header lacks a field, `OPTION_INVALID` when it is larger than 256 MiB or 2^22 steps, and what
 * `ByteSource.read` throws
 */
export async function readTrace(source: ByteSource, options: OpenOptions = {}): Promise<Trace> {
  const { name, size } = source;
  if (size > maxFileBytes) {
    throw new MowgliError(
      'OPTION_INVALID',
      `${name} has ${size} bytes, and at most ${maxFileBytes} are read; trace a shorter run`,
    );
  }
  // Of its own buffer, so that ids of two bytes are aligned.
  const bytes = await source.read(0, size, { into: new Uint8Array(size), signal: options.signal });
  return parseTrace(bytes, name);
}

function parseTrace(bytes: Uint8Array, name: string): Trace {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const begins = magic.split('').every((character, i) => bytes[i] === character.charCodeAt(0));
  if (!begins || bytes.length < preambleBytes) {
    throw invalid(name, 'it is no trace of mowgli; give a file that `--trace` wrote');
  }
  const found = view.getUint32(magic.length, true);
  if (found !== version) {
    throw invalid(name, `it is a trace of version ${found}, and only ${version} can be read`);
  }
  const headerBytes = view.getUint32(magic.length + 4, true);
  const begin = preambleBytes + headerBytes;
  if (headerBytes > maxHeaderBytes || begin > bytes.length || begin % 8 !== 0) {
    throw invalid(name, `its header has ${headerBytes} bytes; trace the run again`);
  }
  const header = decodeText(bytes.subarray(preambleBytes, begin), name);
  const model = parseModel(parseJson(header, `${name}: header`), name);
  const steps: TraceStep[] = [];
  let at = begin;
  while (at + recordHeaderBytes <= bytes.length) {
    if (steps.length === maxSteps) {
      throw new MowgliError(
        'OPTION_INVALID',
        `${name} has more than ${maxSteps} steps; trace a shorter run`,
      );
    }
    const step = parseStep(model, view, at, name);
    if (!step) break;
    steps.push(step);
    at += stepBytes(model, step.tokens, step.predicted.length);
  }
  return { model, steps, truncated: at < bytes.length };
}

function parseModel(json: unknown, name: string): TraceModel {
  const fields = new Fields(json, `${name}: header`);
  const layers = fields.integer('layers', { max: maxLayers });
  const experts = fields.integer('experts', { max: maxExperts });
  const model = {
    name: fields.optionalString('name') ?? '',
    layers,
    sparseLayers: fields.value('sparseLayers') as number[],
    experts,
    expertsPerToken: fields.integer('expertsPerToken', { max: experts }),
  };
  const { sparseLayers } = model;
  const rising =
    Array.isArray(sparseLayers) &&
    sparseLayers.length > 0 &&
    sparseLayers.every(
      (layer, i) =>
        Number.isInteger(layer) && layer > (i === 0 ? -1 : sparseLayers[i - 1]) && layer < layers,
    );
  if (!rising) throw fields.wrong('sparseLayers', 'a rising list of layers', 'FILE_INVALID');
  if (layers * experts > maxExpertsOfAllLayers) {
    throw invalid(name, `${layers} layers of ${experts} experts are more than any model has`);
  }
  return model;
}

/** The record at `at`; `undefined` if the file ends before it does. */
function parseStep(
  model: TraceModel,
  view: DataView,
  at: number,
  name: string,
): TraceStep | undefined {
  const { sparseLayers, expertsPerToken } = model;
  const kind = kinds[view.getUint8(at)];
  const depths = view.getUint8(at + 1);
  const tokens = view.getUint32(at + 4, true);
  if (!kind || depths >= Math.max(1, sparseLayers.length) || view.getUint16(at + 2) || !tokens) {
    const shown = show(Array.from(new Uint8Array(view.buffer, view.byteOffset + at, 8)));
    throw invalid(name, `the record at byte ${at} begins with ${shown}; trace the run again`);
  }
  if (at + stepBytes(model, tokens, depths) > view.byteLength) return undefined;
  const Ids = idArray(model);
  let offset = view.byteOffset + at + recordHeaderBytes;
  const take = (layers: number) => {
    const ids = new Ids(view.buffer as ArrayBuffer, offset, layers * tokens * expertsPerToken);
    offset += ids.byteLength;
    if (ids.some((id) => id >= model.experts)) {
      throw invalid(
        name,
        `the record at byte ${at} names an expert beyond the model's ${model.experts}; trace the run again`,
      );
    }
    return ids;
  };
  const chosen = take(sparseLayers.length);
  const predicted = Array.from({ length: depths }, (_, i) => take(sparseLayers.length - 1 - i));
  return { kind, tokens, chosen, predicted };
}

function stepBytes(model: TraceModel, tokens: number, depths: number): number {
  const { sparseLayers, expertsPerToken } = model;
  let layers = sparseLayers.length;
  for (let depth = 1; depth <= depths; depth++) layers += sparseLayers.length - depth;
  const ids = layers * tokens * expertsPerToken;
  return recordHeaderBytes + ids * idArray(model).BYTES_PER_ELEMENT;
}

function idArray({ experts }: TraceModel): typeof Uint8Array | typeof Uint16Array {
  return experts <= 256 ? Uint8Array : Uint16Array;
}

function invalid(name: string, message: string): MowgliError {
  return new MowgliError('FILE_INVALID', `${name}: ${message}`);
}
