import { readFile } from 'node:fs/promises';
import { usageError } from './options.ts';

/**
 * Reads the JSON file that an option names.
 * @param what what it should hold, for messages
 * @throws MowgliError `OPTION_INVALID`
 */
export async function readJsonFile(option: string, file: string, what: string): Promise<unknown> {
  if (file === '-') {
    throw usageError(`${option} must be a file: stdin ('-') is for the prompt; name a JSON file`);
  }
  try {
    return JSON.parse(await readFile(file, 'utf8'));
  } catch (cause) {
    const problem = cause instanceof SyntaxError ? 'is not JSON' : 'cannot be read';
    throw usageError(
      `${option}: ${file} ${problem} (${(cause as Error).message}); name a file with ${what}`,
    );
  }
}
