import { MowgliError } from '../errors.ts';
import { formatBytes } from '../quant/index.ts';
import type { ByteFolder } from './byte-source.ts';
import type { GgufEntry, GgufTensorData } from './gguf-write.ts';
import { elementCount } from './tensors.ts';

/** `name-00002-of-00005.gguf`: a part of a model, as llama.cpp's `gguf-split` names it. */
const partName = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/;

/**
 * The files of the model that a file belongs to, in their order: only itself, unless its name says
 * that it is a part of several.
 * @throws MowgliError `FILE_INVALID` when the name contradicts itself.
 */
export function partNames(folder: ByteFolder, file: string): string[] {
  const match = partName.exec(file);
  if (match === null) return [file];
  const [, stem, part, parts] = match;
  if (Number(part) < 1 || Number(part) > Number(parts)) {
    throw new MowgliError(
      'FILE_INVALID',
      `${folder.name}/${file} calls itself part ${Number(part)} of ${Number(parts)}; give the file the name that it was published with`,
    );
  }
  return Array.from({ length: Number(parts) }, (_, i) => nameOfPart(stem, i + 1, Number(parts)));
}

function nameOfPart(stem: string, part: number, parts: number): string {
  const digits = (n: number) => String(n).padStart(5, '0');
  return `${stem}-${digits(part)}-of-${digits(parts)}.gguf`;
}

/** One file of a model that is to be written. */
export interface GgufPart {
  readonly file: string;
  readonly metadata: ReadonlyMap<string, GgufEntry>;
  readonly tensors: readonly GgufTensorData[];
}

/**
 * Cuts a model into files, as llama.cpp's `gguf-split` does: the metadata are in the first, and each
 * says which one it is. One file, with the name as given, when everything fits into it.
 * @param maxBytes bytes of tensors per file; a tensor larger than that gets a file of its own
 */
export function splitParts(
  file: string,
  metadata: ReadonlyMap<string, GgufEntry>,
  tensors: readonly GgufTensorData[],
  maxBytes: number,
): GgufPart[] {
  const parts: GgufTensorData[][] = [[]];
  let bytes = 0;
  for (const tensor of tensors) {
    const size = formatBytes(tensor.type, elementCount(tensor.shape));
    if (bytes > 0 && bytes + size > maxBytes) {
      parts.push([]);
      bytes = 0;
    }
    parts[parts.length - 1].push(tensor);
    bytes += size;
  }
  if (parts.length === 1) return [{ file, metadata, tensors }];
  return parts.map((part, i) => ({
    file: nameOfPart(file.replace(/\.gguf$/, ''), i + 1, parts.length),
    metadata: new Map<string, GgufEntry>([
      ...(i === 0 ? metadata : []),
      ['split.no', ['u16', i]],
      ['split.count', ['u16', parts.length]],
      ['split.tensors.count', ['i32', tensors.length]],
    ]),
    tensors: part,
  }));
}
