import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { MowgliError } from '../errors.ts';
import { type ByteFolder, type ByteSource, checkFileName } from '../files/byte-source.ts';
import { FileSource } from './file-source.ts';

/** A folder on disk. Links are followed, as Hugging Face's cache is made of them. */
export class NodeFolder implements ByteFolder {
  readonly name: string;

  private constructor(path: string) {
    this.name = path;
  }

  /**
   * @throws MowgliError `FILE_NOT_FOUND` when there is no such folder or it is a file,
   * `READ_FAILED` when it cannot be looked at.
   */
  static async open(path: string): Promise<NodeFolder> {
    let isFolder: boolean;
    try {
      isFolder = (await stat(path)).isDirectory();
    } catch (cause) {
      const { code, message } = cause as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'ENOTDIR') {
        throw new MowgliError(
          'FILE_NOT_FOUND',
          `There is no folder ${path}; pass the folder that holds the model's config.json`,
          { cause },
        );
      }
      throw new MowgliError(
        'READ_FAILED',
        `${path} cannot be read (${message}); check its permissions`,
        { cause },
      );
    }
    if (!isFolder) {
      throw new MowgliError(
        'FILE_NOT_FOUND',
        `${path} is a file, not a folder; pass the folder that holds the model's config.json`,
      );
    }
    return new NodeFolder(path);
  }

  async open(file: string): Promise<ByteSource | undefined> {
    checkFileName(this.name, file);
    try {
      return await FileSource.open(join(this.name, file));
    } catch (error) {
      if (error instanceof MowgliError && error.code === 'FILE_NOT_FOUND') return undefined;
      throw error;
    }
  }
}
