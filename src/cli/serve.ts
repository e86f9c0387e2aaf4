import { createServer as createSocketServer, isIPv4 } from 'node:net';
import { Command } from 'commander';
import { originExample, originOf } from '../server/cors-origins.ts';
import type { Interrupt } from './interrupt.ts';
import {
  addModelOptions,
  addPrefixCacheOption,
  type ModelFlags,
  type OpenedModel,
  openModel,
} from './open-model.ts';
import { integer, number, type OptionParser, oneOf, size, usageError } from './options.ts';
import { note, print } from './output.ts';
import { formatDuration } from './units.ts';

interface Flags extends ModelFlags {
  host: string;
  port: number;
  apiKey?: string[];
  corsOrigin?: string[];
  modelName?: string;
  maxQueue?: number;
  bodyLimit?: number;
  drainTimeout: number;
  logLevel: string;
}

const logLevels = ['silent', 'error', 'warn', 'info', 'debug'] as const;

const help = `
Clients use http://HOST:PORT/v1 as the base URL of OpenAI's API: /v1/chat/completions (tools, JSON schemas,
streaming), /v1/completions, /v1/models. There is /health, which needs no key, and /metrics for Prometheus.
One answer is generated at a time; other requests wait, and clients take turns.

The base URL is printed on stdout when the server is ready. SIGTERM, SIGHUP or Ctrl-C ends it when the
requests it has are answered; a second one at once.

Examples:
  $ mowgli serve --model ~/models/Qwen3-Coder-30B-A3B-Instruct --context 32768
  $ MOWGLI_API_KEY=$(openssl rand -hex 24) mowgli serve --model model.gguf --host 0.0.0.0
  $ mowgli serve --port 0 --quiet`;

/** `mowgli serve`: the model over HTTP, with OpenAI's API. */
export function serveCommand(interrupt: Interrupt): Command {
  const command = new Command('serve').description("serve a model over HTTP with OpenAI's API");
  return addPrefixCacheOption(addModelOptions(command))
    .option('--host <address>', 'address to listen on; 0.0.0.0 for all', '127.0.0.1')
    .option(
      '--port <n>',
      'port to listen on; 0 for any that is free',
      integer('--port', { min: 0, max: 65535 }),
      8080,
    )
    .option(
      '--api-key <key>',
      'what clients must show; may be repeated (better: MOWGLI_API_KEY, which other users cannot see)',
      keys('--api-key'),
    )
    .option(
      '--cors-origin <origin>',
      "origin whose pages may use the server, such as https://example.com, or '*'; may be repeated",
      origins('--cors-origin'),
    )
    .option('--model-name <name>', 'what clients may call the model, besides the name of its file')
    .option(
      '--max-queue <n>',
      'requests that may wait, of one client three quarters of them (default: 64)',
      integer('--max-queue', { min: 0 }),
    )
    .option(
      '--body-limit <size>',
      'size of a request at most (default: 8MiB)',
      size('--body-limit'),
    )
    .option(
      '--drain-timeout <seconds>',
      'time for requests under way and waiting when the server is stopped',
      number('--drain-timeout', { min: 0, max: 86_400 }),
      30,
    )
    .option(
      '--log-level <level>',
      `what is logged on stderr, as lines of JSON: ${logLevels.join(', ')}`,
      oneOf('--log-level', logLevels),
      'warn',
    )
    .addHelpText('after', help)
    .action((flags: Flags) => serve(flags, interrupt));
}

async function serve(flags: Flags, interrupt: Interrupt): Promise<void> {
  const { host, port, quiet } = flags;
  const { signal } = interrupt;
  const { MOWGLI_API_KEY: ofEnvironment } = process.env;
  const readKey = keys('the environment variable MOWGLI_API_KEY');
  const apiKey = flags.apiKey ?? (ofEnvironment === undefined ? [] : readKey(ofEnvironment));
  // Before the model is loaded, which may take minutes.
  await listening(host, port, () => tryPort(host, port));
  const opened = await openModel(flags, signal);
  try {
    const { createServer } = await import('../server/index.ts');
    const app = await createServer(opened.model, {
      apiKey,
      corsOrigin: flags.corsOrigin,
      modelName: flags.modelName,
      maxQueue: flags.maxQueue,
      bodyLimit: flags.bodyLimit,
      drainMs: 1000 * flags.drainTimeout,
      logger: { level: flags.logLevel, stream: process.stderr },
    });
    const address = await listening(host, port, () => app.listen({ host, port }));
    // From here on, a signal is how a server ends.
    interrupt.expect();
    if (!quiet) note(introduction(opened, address, apiKey.length > 0));
    if (apiKey.length === 0 && !isLoopback(host)) {
      note(
        'mowgli: anybody who reaches this machine can use the server: set MOWGLI_API_KEY, or leave --host out',
      );
    }
    await print(`${address}/v1\n`);
    await aborted(signal);
    if (!quiet) note('mowgli: answering what is under way; interrupt again to end at once');
    await app.close();
  } finally {
    await opened.model.dispose();
  }
}

/** API keys. An empty one is a mistake, such as a secret that was not found, and must not open the server. */
function keys(name: string): OptionParser<string[]> {
  return (text, previous = []) => {
    const key = text.trim();
    if (key === '') throw usageError(`${name} is empty; put a key into it, or leave it out`);
    return [...previous, key];
  };
}

function origins(name: string): OptionParser<string[]> {
  return (text, previous = []) => {
    const origin = text === '*' ? text : originOf(text);
    if (origin !== undefined) return [...previous, origin];
    throw usageError(`${name} must be an origin, such as ${originExample}, not '${text}'`);
  };
}

function introduction({ model, loadMs }: OpenedModel, address: string, keyed: boolean): string {
  const { description, device, vendor } = model.adapter;
  const key = keyed ? ` -H "Authorization: Bearer $MOWGLI_API_KEY"` : '';
  return [
    `${model.name}, loaded in ${formatDuration(loadMs)} on ${description || device || vendor}, context ${model.context} tokens`,
    `  curl ${address}/v1/chat/completions -H 'Content-Type: application/json'${key} \\`,
    `    -d '{"messages": [{"role": "user", "content": "Hello!"}]}'`,
  ].join('\n');
}

/** Listens on a port for a moment. */
function tryPort(host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const server = createSocketServer();
    server.once('error', reject);
    server.listen({ host, port }, () => server.close(() => resolve()));
  });
}

/** Says what is wrong with the options when nothing can listen there. */
async function listening<T>(host: string, port: number, listen: () => Promise<T>): Promise<T> {
  try {
    return await listen();
  } catch (error) {
    const { code = 'unknown reason' } = error as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE') {
      throw usageError(
        `--port: ${port} is in use on ${host}; stop what uses it, or choose another, or 0 for any that is free`,
      );
    }
    if (code === 'EACCES') {
      throw usageError(`--port: ${port} needs rights that this user lacks; choose one above 1023`);
    }
    throw usageError(`--host: cannot listen on ${host} (${code}); use an address of this machine`);
  }
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
