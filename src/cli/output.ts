import { exitCodes } from './exit.ts';

/**
 * Writes to stdout and waits until it was taken: a slow reader then slows the generation down instead
 * of filling memory.
 */
export function print(text: string): Promise<void> {
  return write(process.stdout, text);
}

/** Prints one JSON document: on one line, unless a person reads it. */
export function printJson(value: unknown): Promise<void> {
  return print(`${encodeJson(value)}\n`);
}

/** Prints one JSON object; `more` are further fields of it, after its own, as JSON text. */
export function printJsonObject(
  value: object,
  more: Readonly<Record<string, string>>,
): Promise<void> {
  const gap = process.stdout.isTTY ? '\n  ' : '';
  const fields = Object.entries(more).map(([key, json]) => `,${gap}${JSON.stringify(key)}:${json}`);
  return print(`${encodeJson(value).replace(/\n?}$/, (end) => fields.join('') + end)}\n`);
}

/** Tells the user something that is not the result. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Waits until everything written so far has left this process, or cannot: that is told elsewhere. */
export async function flush(): Promise<void> {
  await Promise.allSettled([write(process.stdout, ''), write(process.stderr, '')]);
}

/**
 * A reader that closes early (`mowgli generate ... | head`) has what it wanted: that is no failure. Nor is
 * a terminal that was closed: the SIGHUP that tells of it says how the program ends.
 */
export function endQuietlyWhenNobodyReads(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') process.exit(exitCodes.ok);
      if (error.code !== 'EIO') throw error;
    });
  }
}

function encodeJson(value: unknown): string {
  return JSON.stringify(value, null, process.stdout.isTTY ? 2 : undefined);
}

function write(stream: NodeJS.WriteStream, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(text, (error) => (error ? reject(error) : resolve()));
  });
}
