import { randomUUID } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { MowgliError } from '../errors.ts';
import type { ByteSource } from '../files/byte-source.ts';
import { FileSource } from './file-source.ts';

/** A session that can be saved, such as `ChatSession`. */
export interface WritableSession {
  write(
    sink: (bytes: Uint8Array) => Promise<void>,
    options?: { signal?: AbortSignal },
  ): Promise<void>;
}

/** A model that takes up sessions, such as `Model`. */
export interface SessionModel<Session, Options> {
  readSession(source: ByteSource, options?: Options): Promise<Session>;
}

/**
 * Saves a session: what was said and its part of the KV cache. The file appears as a whole or not at
 * all, in place of one that was there, and can be read by its owner only: conversations are private.
 *
 * @throws MowgliError `WRITE_FAILED`, `ABORTED`, and what reading from the model throws
 */
export async function saveSession(
  session: WritableSession,
  path: string,
  options: { signal?: AbortSignal } = {},
): Promise<void> {
  const temporary = `${path}.${randomUUID()}.tmp`;
  const handle = await open(temporary, 'wx', 0o600).catch((cause) => {
    throw writeError(path, cause);
  });
  try {
    await session.write(async (bytes) => {
      try {
        for (let done = 0; done < bytes.length; ) {
          done += (await handle.write(bytes, done)).bytesWritten;
        }
      } catch (cause) {
        throw writeError(path, cause);
      }
    }, options);
    try {
      // On the disk before it has the name: after a loss of power, the old file is there or the new one.
      await handle.sync();
      await handle.close();
      await rename(temporary, path);
    } catch (cause) {
      throw writeError(path, cause);
    }
  } catch (error) {
    await handle.close().catch(() => {}); // the first failure is the one to hear about
    await rm(temporary, { force: true }).catch(() => {});
    throw error;
  }
}

/**
 * Takes up a session that was saved, with the same model, in this process or another one. The next
 * answer evaluates only what is new. `options` are those of `Model.readSession`: a signal, and defaults of
 * the answers.
 *
 * @throws MowgliError `FILE_NOT_FOUND`, `READ_FAILED`, `FILE_TRUNCATED`, `FILE_INVALID`,
 * `OPTION_INVALID` for another model or kvType, `CONTEXT_EXCEEDED`
 */
export async function loadSession<Session, Options>(
  model: SessionModel<Session, Options>,
  path: string,
  options?: Options,
): Promise<Session> {
  const source = await FileSource.open(path);
  try {
    return await model.readSession(source, options);
  } finally {
    await source.close();
  }
}

function writeError(path: string, cause: unknown): MowgliError {
  return new MowgliError(
    'WRITE_FAILED',
    `${path} cannot be written (${(cause as Error).message}); check the disk's free space and the ` +
      "folder's permissions",
    { cause },
  );
}
