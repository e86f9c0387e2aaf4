import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { MowgliError } from '../errors.ts';
import type { ModelSource } from '../files/open-model.ts';
import { NodeFolder } from './folder.ts';

/**
 * The model at a path: a Hugging Face folder, a GGUF file (any part, of several), or a folder with the
 * GGUF file or files of one model.
 *
 * @throws MowgliError `FILE_NOT_FOUND` when nothing is there, `OPTION_INVALID` when a folder has
 * several GGUF models
 */
export async function findModel(path: string): Promise<ModelSource> {
  if (/\.gguf$/i.test(path) && (await isFile(path))) {
    return { folder: await NodeFolder.open(dirname(path)), gguf: basename(path) };
  }
  const folder = await NodeFolder.open(path);
  if (await isFile(join(path, 'config.json'))) return folder;
  // The first part stands for all of a model's.
  const models = (await readdir(path)).filter(
    (file) => /\.gguf$/i.test(file) && !/-(?!00001)\d{5}-of-\d{5}\.gguf$/i.test(file),
  );
  if (models.length > 1) {
    throw new MowgliError(
      'OPTION_INVALID',
      `${path} has ${models.length} GGUF models (${models.sort().slice(0, 4).join(', ')}, ...); name one of the files`,
    );
  }
  return models.length === 1 ? { folder, gguf: models[0] } : folder;
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch {
    return false; // Whoever opens the folder says why.
  }
}
