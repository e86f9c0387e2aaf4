import { randomUUID } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { note } from '../output.ts';

/** Lines that are kept. */
export const historySize = 1000;

/** What was typed may be private. */
const mode = 0o600;

/** The lines that were typed in chats, kept in a file from run to run. */
export class History {
  /** Newest first, as `node:readline` has them. */
  readonly lines: readonly string[];
  readonly #file: string;
  #newest: string | undefined;
  #broken = false;

  private constructor(file: string, lines: readonly string[]) {
    this.#file = file;
    this.lines = lines;
    this.#newest = lines[0];
  }

  /** Reads the file, and shortens it when it has grown. One that cannot be read or written is told of. */
  static async open(file: string): Promise<History> {
    try {
      await mkdir(dirname(file), { recursive: true });
      const all = (await readIfThere(file)).split('\n').filter((line) => line !== '');
      const lines = all.slice(-historySize);
      if (all.length > lines.length) {
        // Under another name first: a chat that begins meanwhile never sees half a file.
        const temporary = `${file}.${randomUUID()}.tmp`;
        await writeFile(temporary, lines.map((line) => `${line}\n`).join(''), { mode });
        await rename(temporary, file);
      }
      return new History(file, lines.reverse());
    } catch (error) {
      const history = new History(file, []);
      history.#giveUp(error);
      return history;
    }
  }

  /** Keeps a line, unless it is the one before once more. */
  add(line: string): void {
    if (this.#broken || line.trim() === '' || line === this.#newest) return;
    this.#newest = line;
    try {
      appendFileSync(this.#file, `${line}\n`, { mode });
    } catch (error) {
      this.#giveUp(error);
    }
  }

  #giveUp(error: unknown): void {
    this.#broken = true;
    note(
      `mowgli: lines typed are not kept: ${this.#file} cannot be used (${(error as Error).message}); ` +
        '--no-history leaves it alone',
    );
  }
}

async function readIfThere(file: string): Promise<string> {
  try {
    const text = await readFile(file, 'utf8');
    await chmod(file, mode);
    return text;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
