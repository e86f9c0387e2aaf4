import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { MowgliError } from '../errors.ts';
import type { TuningStore } from '../gpu/tuning.ts';

/** Larger files are none of ours. */
const mostBytes = 4 << 20;

/** Keeps the measured choices of each adapter in a file of the user's cache folder. */
export class NodeTuningStore implements TuningStore {
  readonly folder: string;

  /** @param folder default: `tuning` in the folder of `cacheFolder` */
  constructor(folder = join(cacheFolder(), 'tuning')) {
    this.folder = folder;
  }

  /** The file for an adapter. */
  file(adapter: string): string {
    const name = adapter
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, '-')
      .slice(0, 40);
    const hash = createHash('sha256').update(adapter).digest('hex').slice(0, 12);
    return join(this.folder, `${name}-${hash}.json`);
  }

  async load(adapter: string): Promise<string | undefined> {
    try {
      const bytes = await readFile(this.file(adapter));
      return bytes.length > mostBytes ? undefined : bytes.toString('utf8');
    } catch {
      return undefined; // Never written, or unreadable: it is measured again.
    }
  }

  /** @throws MowgliError `WRITE_FAILED` */
  async save(adapter: string, text: string): Promise<void> {
    const file = this.file(adapter);
    // Under another name first: a reader, or a process that dies, never sees half a file.
    const temporary = `${file}.${randomUUID()}.tmp`;
    try {
      await mkdir(this.folder, { recursive: true });
      await writeFile(temporary, text);
      await rename(temporary, file);
    } catch (cause) {
      await rm(temporary, { force: true }).catch(() => {}); // the first failure is the one to hear about
      throw new MowgliError(
        'WRITE_FAILED',
        `${file} cannot be written (${(cause as Error).message}); make its folder writable, or name ` +
          'another one in the environment variable MOWGLI_CACHE_DIR',
        { cause },
      );
    }
  }
}

/**
 * Where this package keeps what can be made again: the environment variable `MOWGLI_CACHE_DIR`, or
 * `mowgli` in the place that the system has for such things.
 */
export function cacheFolder(
  env: NodeJS.ProcessEnv = process.env,
  platform: NodeJS.Platform = process.platform,
): string {
  if (env.MOWGLI_CACHE_DIR) return env.MOWGLI_CACHE_DIR;
  if (platform === 'win32') {
    return join(env.LOCALAPPDATA || join(homedir(), 'AppData', 'Local'), 'mowgli');
  }
  if (platform === 'darwin') return join(homedir(), 'Library', 'Caches', 'mowgli');
  return join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'mowgli');
}
