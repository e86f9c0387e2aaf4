import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { MowgliError } from '../errors.ts';
import { checkFileName } from '../files/byte-source.ts';
import type { FileSink, FolderSink } from '../files/write-safetensors.ts';

/** A folder on disk to write files into. It is made, with its parents, if need be. */
export class NodeFolderSink implements FolderSink {
  readonly name: string;

  constructor(path: string) {
    this.name = path;
  }

  async create(file: string): Promise<FileSink> {
    checkFileName(this.name, file);
    const path = join(this.name, file);
    const fail = (cause: unknown) =>
      new MowgliError(
        'WRITE_FAILED',
        `${path} cannot be written (${(cause as Error).message}); check the disk's free space and the folder's permissions`,
        { cause },
      );
    const handle = await mkdir(this.name, { recursive: true })
      .then(() => open(path, 'w'))
      .catch((cause) => {
        throw fail(cause);
      });
    return {
      async write(bytes) {
        try {
          for (let done = 0; done < bytes.length; ) {
            done += (await handle.write(bytes, done)).bytesWritten;
          }
        } catch (cause) {
          throw fail(cause);
        }
      },
      close: () => handle.close(),
    };
  }
}
