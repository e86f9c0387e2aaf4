import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { mkdir, open, readdir, stat } from 'node:fs/promises';
import { dirname, sep } from 'node:path';
import type { Call } from './chat-model.ts';
import { type Sandbox, ToolError } from './sandbox.ts';

/** What a tool may return, in bytes: it all goes into the model's context. */
const maxResultBytes = 16_384;
const maxWriteBytes = 262_144;
const maxEntries = 500;
const maxTestSeconds = 120;

/** A file that the model wants to write. */
export interface PlannedWrite {
  /** Relative to the folder. */
  readonly path: string;
  readonly content: string;
  /** Bytes of the file that would be replaced; `undefined` for a new one. */
  readonly replacedBytes: number | undefined;
}

export interface ToolOptions {
  /** Returns when the file may be written. @throws ToolError when it may not */
  readonly approve: (write: PlannedWrite, signal: AbortSignal) => Promise<void>;
  /** The program that runs the tests, and its arguments. Without it there is no run_tests. */
  readonly testCommand?: readonly string[] | undefined;
}

interface Tool {
  readonly description: string;
  /** What each parameter means. All are texts, and all are required. */
  readonly parameters: Readonly<Record<string, string>>;
  run(args: Readonly<Record<string, string>>, signal: AbortSignal): Promise<string>;
}

/** What the model may do: read, list and write files of one folder, and run its tests. */
export class Tools {
  readonly #sandbox: Sandbox;
  readonly #options: ToolOptions;
  readonly #tools: ReadonlyMap<string, Tool>;

  constructor(sandbox: Sandbox, options: ToolOptions) {
    this.#sandbox = sandbox;
    this.#options = options;
    const { testCommand } = options;
    const tools: Record<string, Tool> = {
      read_file: {
        description: 'Read a file',
        parameters: { path: 'Path to the file' },
        run: ({ path }) => this.#readFile(path!),
      },
      write_file: {
        description: 'Write a file',
        parameters: { path: 'Path to the file', content: 'Text to write' },
        run: ({ path, content }, signal) => this.#writeFile(path!, content!, signal),
      },
      list_files: {
        description: 'List the files in a directory',
        parameters: { path: 'Path to the directory' },
        run: ({ path }) => this.#listFiles(path!),
      },
      ...(testCommand && {
        run_tests: {
          description: 'Run the tests',
          parameters: {},
          run: (_, signal) => this.#runTests(testCommand, signal),
        },
      }),
    };
    this.#tools = new Map(Object.entries(tools));
  }

  /** What the model is told of the tools, in OpenAI's form. */
  get definitions(): readonly unknown[] {
    return [...this.#tools].map(([name, { description, parameters }]) => ({
      type: 'function',
      function: {
        name,
        description,
        strict: true, // This library then lets the model write no other names and arguments.
        parameters: {
          type: 'object',
          properties: Object.fromEntries(
            Object.entries(parameters).map(([parameter, meaning]) => [
              parameter,
              { type: 'string', description: meaning },
            ]),
          ),
          required: Object.keys(parameters),
          additionalProperties: false,
        },
      },
    }));
  }

  /** Runs a call. What goes wrong is told to the model, as the result. */
  async run(call: Call, signal: AbortSignal): Promise<string> {
    try {
      const tool = this.#tools.get(call.name);
      if (!tool) {
        const names = [...this.#tools.keys()].join(', ');
        throw new ToolError(`there is no tool ${call.name}; the tools are ${names}`);
      }
      return await tool.run(readArguments(call, tool), signal);
    } catch (error) {
      if (signal.aborted) throw error;
      if (error instanceof ToolError) return `error: ${error.message}`;
      // From the file system, as in "ENOENT: no such file or directory, open '/home/...'".
      const reason = /^E[A-Z]+: ([^,]+)/.exec((error as Error).message)?.[1];
      if (reason === undefined) throw error;
      return `error: ${reason}`;
    }
  }

  async #readFile(path: string): Promise<string> {
    const place = await this.#sandbox.resolve(path);
    const { size } = await this.#regularFile(place);
    const file = await open(place, constants.O_RDONLY | noFollow);
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(maxResultBytes), 0);
      const bytes = buffer.subarray(0, bytesRead);
      if (bytes.includes(0)) throw new ToolError(`${path} is no text`);
      const rest = size > bytesRead ? `\n[cut: the file has ${size} bytes]` : '';
      return bytes.toString('utf8') + rest;
    } finally {
      await file.close();
    }
  }

  async #listFiles(path: string): Promise<string> {
    const entries = await readdir(await this.#sandbox.resolve(path), { withFileTypes: true });
    const names = entries.map((entry) => entry.name + (entry.isDirectory() ? '/' : '')).sort();
    const rest = names.length > maxEntries ? [`[cut: ${names.length} entries]`] : [];
    return [...names.slice(0, maxEntries), ...rest].join('\n') || '(empty)';
  }

  async #writeFile(path: string, content: string, signal: AbortSignal): Promise<string> {
    const bytes = Buffer.byteLength(content);
    if (bytes > maxWriteBytes) {
      throw new ToolError(`the text has ${bytes} bytes; write at most ${maxWriteBytes}`);
    }
    const place = await this.#sandbox.resolve(path);
    const name = this.#sandbox.name(place);
    // What is in there is run by git.
    if (name.toLowerCase().split(sep).includes('.git')) {
      throw new ToolError('files of git are not to be written');
    }
    const replacedBytes = await this.#sizeIfThere(place);
    await this.#options.approve({ path: name, content, replacedBytes }, signal);
    await mkdir(dirname(place), { recursive: true });
    const { O_WRONLY, O_CREAT, O_TRUNC } = constants;
    const file = await open(place, O_WRONLY | O_CREAT | O_TRUNC | noFollow);
    try {
      await file.writeFile(content);
    } finally {
      await file.close();
    }
    return `wrote ${bytes} bytes to ${name}`;
  }

  async #runTests(command: readonly string[], signal: AbortSignal): Promise<string> {
    const { status, output } = await runCommand(command, this.#sandbox.root, signal);
    return `${status}\n${output}`.trimEnd();
  }

  async #sizeIfThere(place: string): Promise<number | undefined> {
    try {
      return (await this.#regularFile(place)).size;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Neither a folder, nor a pipe or device, which might never end. */
  async #regularFile(place: string): Promise<{ size: number }> {
    const found = await stat(place);
    if (!found.isFile()) throw new ToolError(`${this.#sandbox.name(place)} is no file`);
    return found;
  }
}

/** Not on Windows. */
const noFollow = constants.O_NOFOLLOW ?? 0;

/** The arguments of a call, if they are what the tool takes. */
function readArguments(
  { name, arguments: json }: Call,
  { parameters }: Tool,
): Record<string, string> {
  let args: unknown;
  try {
    args = JSON.parse(json);
  } catch {
    throw new ToolError(`the arguments of ${name} are no JSON`);
  }
  const given = Object.entries(args ?? {});
  const wanted = Object.keys(parameters);
  const right = given.every(([key, value]) => wanted.includes(key) && typeof value === 'string');
  if (right && given.length === wanted.length) return Object.fromEntries(given);
  const takes = wanted.length > 0 ? `the texts ${wanted.join(' and ')}` : 'nothing';
  throw new ToolError(`${name} takes ${takes}, and got ${json}`);
}

/** Runs a program without a shell, and with all that it started ends it when it takes too long. */
async function runCommand(
  [program, ...args]: readonly string[],
  cwd: string,
  signal: AbortSignal,
): Promise<{ status: string; output: string }> {
  const { OPENAI_API_KEY: _, ...env } = process.env; // None of the tests' business.
  signal.throwIfAborted();
  const limit = AbortSignal.any([signal, AbortSignal.timeout(1000 * maxTestSeconds)]);
  return new Promise((resolve, reject) => {
    const child = spawn(program!, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], detached });
    const stop = () => {
      try {
        if (detached) process.kill(-child.pid!, 'SIGKILL');
        else child.kill('SIGKILL');
      } catch {} // It ended by itself just now.
    };
    limit.addEventListener('abort', stop, { once: true });
    let output = '';
    let cut = false;
    const take = (text: string) => {
      output += text;
      cut ||= output.length > maxResultBytes;
      output = output.slice(-maxResultBytes); // How tests went stands at the end.
    };
    child.stdout.setEncoding('utf8').on('data', take);
    child.stderr.setEncoding('utf8').on('data', take);
    child.on('error', (error) =>
      reject(new ToolError(`the tests cannot be run: ${error.message}`)),
    );
    child.on('close', (code, killedBy) => {
      limit.removeEventListener('abort', stop);
      if (signal.aborted) return reject(signal.reason);
      const status = limit.aborted
        ? `stopped after ${maxTestSeconds} s`
        : `exit status ${code ?? killedBy}`;
      resolve({ status, output: (cut ? '[cut]\n' : '') + output });
    });
  });
}

/** A group of its own, so that all of it can be ended at once. Not on Windows. */
const detached = process.platform !== 'win32';
