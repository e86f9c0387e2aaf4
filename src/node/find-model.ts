import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { MowgliError } from '../errors.ts';
import { readJson } from '../files/json.ts';
import type { ModelSource } from '../files/open-model.ts';
import { type ConfigFiles, isSynthetic, syntheticModel } from '../files/synthetic-model.ts';
import { NodeFolder } from './folder.ts';

export { isSynthetic } from '../files/synthetic-model.ts';

/**
 * The model at a path: a Hugging Face folder, a GGUF file (any part, of several), or a folder with the
 * GGUF file or files of one model. `synthetic:NAME?OPTIONS`, as `syntheticModel` explains, is one that
 * has no files, of a preset or of the configuration at a path.
 *
 * @throws MowgliError `FILE_NOT_FOUND` when nothing is there, `OPTION_INVALID` when a folder has
 * several GGUF models, and what `syntheticModel` throws
 */
export async function findModel(path: string): Promise<ModelSource> {
  if (isSynthetic(path)) return { synthetic: await syntheticModel(path, readConfigFiles) };
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

/** The configuration at a path, of a file or of a folder, with the sampling defaults beside it. */
export async function readConfigFiles(path: string): Promise<ConfigFiles | undefined> {
  const file = (await isFile(path)) ? path : join(path, 'config.json');
  if (!(await isFile(file))) return undefined;
  const folder = await NodeFolder.open(dirname(file));
  return {
    configJson: await readJson(folder, basename(file)),
    generationConfigJson: await readJson(folder, 'generation_config.json'),
  };
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch {
    return false; // Whoever opens the folder says why.
  }
}
