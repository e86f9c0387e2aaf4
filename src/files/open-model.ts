import type { ByteFolder, OpenOptions } from './byte-source.ts';
import { type Checkpoint, openCheckpoint } from './checkpoint.ts';
import { openGgufCheckpoint, openGgufParts } from './gguf.ts';
import { openSynthetic, type SyntheticModel } from './synthetic-model.ts';

/**
 * Where a model is: a Hugging Face folder, a GGUF file (the first, of several) in a folder, or nowhere,
 * when its weights are made on the spot.
 */
export type ModelSource =
  | ByteFolder
  | { readonly folder: ByteFolder; readonly gguf: string }
  | { readonly synthetic: SyntheticModel };

/**
 * Opens a model's files: reads and checks configuration, headers and tokenizer, but no weights.
 *
 * @throws MowgliError with the code of what is wrong with the files
 */
export async function openModel(
  source: ModelSource,
  options: OpenOptions = {},
): Promise<Checkpoint> {
  if ('synthetic' in source) return openSynthetic(source.synthetic);
  if (!('gguf' in source)) return openCheckpoint(source, options);
  return openGgufCheckpoint(await openGgufParts(source.folder, source.gguf), options);
}
