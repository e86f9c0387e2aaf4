import { MowgliError } from '../errors.ts';
import type { ByteFolder, ByteSource, OpenOptions } from './byte-source.ts';
import type { Checkpoint } from './checkpoint.ts';
import { closeAll, mapConcurrent } from './concurrent.ts';
import { checkTensors } from './expected-tensors.ts';
import { ggufConfig, ggufGenerationDefaults, metadataFields } from './gguf-config.ts';
import { readGgufHeader } from './gguf-header.ts';
import { partNames } from './gguf-split.ts';
import { type GgufFile, GgufStore } from './gguf-store.ts';
import { ggufTokenizer } from './gguf-tokenizer.ts';

/** Files opened and headers read at a time: enough to hide latency, far below a limit on open files. */
const openAtOnce = 16;

/**
 * Opens a GGUF file of a folder; all parts of the model when its name says that it is one of several.
 *
 * @returns the parts in their order, open, for `openGgufCheckpoint`
 * @throws MowgliError `FILE_NOT_FOUND` when the file or a part is not there, `FILE_INVALID` when the
 * name makes no sense, and what `ByteFolder.open` throws. Nothing stays open after a failure.
 */
export async function openGgufParts(folder: ByteFolder, file: string): Promise<ByteSource[]> {
  const opened: ByteSource[] = [];
  try {
    return await mapConcurrent(partNames(folder, file), openAtOnce, async (name) => {
      const source = await folder.open(name);
      if (source !== undefined) {
        opened.push(source);
        return source;
      }
      const cure =
        name === file
          ? 'check the name'
          : `it is a part of the same model as ${file}; download it into the same folder`;
      throw new MowgliError('FILE_NOT_FOUND', `${folder.name} has no ${name}; ${cure}`);
    });
  } catch (error) {
    await closeAll(opened).catch(() => {}); // the first failure is the one to hear about
    throw error;
  }
}

/**
 * Opens a model in a GGUF file, or in all the files that one was split into, in their order. Reads
 * the headers, no weights. Tensors have Hugging Face's names, and the tokenizer comes as the
 * `tokenizer.json` and `tokenizer_config.json` that it was made of. The sources are the checkpoint's
 * from here on: it closes them, also after a failure.
 *
 * @throws MowgliError `FILE_INVALID` when a header is malformed or the files are not the parts of one
 * model, `TENSOR_TYPE`, and what `readGgufHeader`, `ggufConfig`, `ggufTokenizer` and `checkTensors` throw.
 */
export async function openGgufCheckpoint(
  sources: ByteSource | readonly ByteSource[],
  options: OpenOptions = {},
): Promise<Checkpoint> {
  const all = Array.isArray(sources) ? (sources as readonly ByteSource[]) : [sources as ByteSource];
  try {
    const files = await mapConcurrent(all, openAtOnce, async (source) => {
      return { source, header: await readGgufHeader(source, options) };
    });
    checkParts(files);
    const tensors = new GgufStore(files);
    const { metadata } = files[0].header;
    const { name } = files[0].source;
    const config = ggufConfig(metadata, tensors.tensors, name);
    checkTensors(config, tensors.tensors, name);
    const tokenizer = ggufTokenizer(metadata, name);
    return {
      name,
      config,
      generationDefaults: ggufGenerationDefaults(metadata, name),
      tensors,
      tokenizerJson: tokenizer?.tokenizerJson,
      tokenizerConfig: tokenizer?.tokenizerConfig,
      chatTemplateFile: undefined,
      close: () => tensors.close(),
    };
  } catch (error) {
    await closeAll(all).catch(() => {}); // the first failure is the one to hear about
    throw error;
  }
}

/** Whether the files are all the parts of one model, and in order. A model in one file may say nothing. */
function checkParts(files: readonly GgufFile[]): void {
  const fail = (problem: string, cure = 'download the model again') =>
    new MowgliError('FILE_INVALID', `${problem}; ${cure}`);
  if (files.length === 0) {
    throw new MowgliError('OPTION_INVALID', 'no GGUF file was given; pass at least one');
  }
  for (const [i, { source, header }] of files.entries()) {
    const fields = metadataFields(header.metadata, source.name);
    const count = fields.integer('split.count', { min: 0 }, 0) || 1;
    if (count !== files.length) {
      throw fail(
        `${source.name} says that the model has ${count} files (split.count), not ${files.length}`,
        'give all of them, with the names that they were published with (NAME-00001-of-0000N.gguf)',
      );
    }
    const part = fields.integer('split.no', { min: 0 }, 0);
    if (part !== i) {
      throw fail(
        `${source.name} says that it is part ${part + 1} of the model (split.no), not part ${i + 1}`,
        'give the files the names that they were published with',
      );
    }
  }
  const total = files.reduce((sum, { header }) => sum + header.tensors.size, 0);
  for (const { source, header } of files) {
    const claimed = header.metadata.get('split.tensors.count') ?? total;
    if (claimed === total) continue;
    throw fail(
      `${source.name} says that the model has ${claimed} tensors (split.tensors.count), but its files have ${total}`,
    );
  }
}
