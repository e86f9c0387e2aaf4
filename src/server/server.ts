import { finished } from 'node:stream';
import type { FastifyInstance, FastifyServerOptions } from 'fastify';
import { MowgliError } from '../errors.ts';
import { ApiKeys } from './api-keys.ts';
import { readCorsOrigins } from './cors-origins.ts';
import { FairQueue, type QueueLimits } from './fair-queue.ts';
import { addGenerationRoutes } from './generation-routes.ts';
import { Generations } from './generations.ts';
import { openApp } from './http-app.ts';
import { addInformationRoutes, type ServerState } from './information-routes.ts';
import { Metrics } from './metrics.ts';
import { mostCharacters, type ServedModel } from './served-model.ts';
import { ServedNames } from './served-names.ts';
import { Tally } from './tally.ts';

export interface ServerOptions {
  /** Any of these opens the server, as `Authorization: Bearer KEY`. Default: nothing is asked for. */
  readonly apiKey?: string | readonly string[] | undefined;
  /** Origins whose pages may use the server: `https://example.com`, several, or `*`. Default: none. */
  readonly corsOrigin?: string | readonly string[] | undefined;
  /** What clients may call the model, besides the name of its folder or file. */
  readonly modelName?: string | undefined;
  /** Requests that may wait for the model. Default 64. */
  readonly maxQueue?: number | undefined;
  /** Of these, how many may be of one client: an API key and address. Default: three quarters. */
  readonly maxQueuePerClient?: number | undefined;
  /** Bytes of a request at most. Default 8 MiB. */
  readonly bodyLimit?: number | undefined;
  /** Milliseconds that `close` gives to requests under way and waiting. Default 30,000. */
  readonly drainMs?: number | undefined;
  /** Milliseconds between signs of life in a stream that has nothing to tell yet. Default 10,000. */
  readonly keepAliveMs?: number | undefined;
  /** Bytes of a stream that a client may leave unread before it is dropped. Default 1 MiB. */
  readonly unreadBytes?: number | undefined;
  /** As Fastify takes it. Default: nothing is logged. */
  readonly logger?: FastifyServerOptions['logger'] | undefined;
}

/** What a client has to read the end of its answer, and an answer to end, when the server stops. */
const graceMs = 2000;

/**
 * An HTTP server with OpenAI's API for one model: `/v1/chat/completions`, `/v1/completions`,
 * `/v1/models`, and `/health` and `/metrics`. It does not listen yet: `await app.listen({ port: 8080 })`.
 * `close` lets requests be answered before it ends; the model stays the caller's.
 *
 * @throws MowgliError `OPTION_INVALID`
 */
export async function createServer(
  model: ServedModel,
  options: ServerOptions = {},
): Promise<FastifyInstance> {
  const queue = new FairQueue(queueLimits(options));
  const drainMs = milliseconds('drainMs', options.drainMs ?? 30_000);
  const metrics = new Metrics(model, queue);
  const names = new ServedNames(model.name, listOf(options.modelName));
  const generations = new Generations(queue, metrics, names);
  const state = (): ServerState => {
    if (model.failure) return 'failed';
    return generations.draining ? 'draining' : 'ready';
  };

  const app = await openApp({
    keys: new ApiKeys(listOf(options.apiKey)),
    corsOrigin: readCorsOrigins(listOf(options.corsOrigin)),
    bodyLimit: options.bodyLimit ?? 8 * 2 ** 20,
    logger: options.logger,
  });
  const replies = new Tally();
  app.addHook('onRequest', async (request, reply) => {
    replies.begin();
    finished(reply.raw, (cut) => {
      replies.end();
      const { url = 'unknown' } = request.routeOptions;
      metrics.answered(request.method, url, cut ? 499 : reply.statusCode);
    });
  });
  addInformationRoutes(app, { model, names, metrics, state });
  addGenerationRoutes(app, {
    model,
    generations,
    serving: {
      names,
      vocabSize: model.config.vocabSize,
      hasTokenizer: model.hasTokenizer,
      mostCharacters: mostCharacters(model),
    },
    limits: {
      keepAliveMs: milliseconds('keepAliveMs', options.keepAliveMs ?? 10_000),
      unreadBytes: options.unreadBytes ?? 2 ** 20,
      flushMs: 60_000,
    },
  });
  closeGently(app, generations, replies, drainMs);
  return app;
}

/** Lets `close` wait for the answers under way, and not for clients that keep their connection. */
function closeGently(
  app: FastifyInstance,
  generations: Generations,
  replies: Tally,
  drainMs: number,
): void {
  let closing: NodeJS.Timeout | undefined;
  // The server still listens then, and says to new requests why it does not answer them.
  app.addHook('preClose', async () => {
    await generations.drain(drainMs, graceMs);
    await replies.endsWithin(graceMs);
    // From here on nobody is answered. Who has connected and asked nothing would be waited for.
    closing = setInterval(() => app.server.closeAllConnections(), 20);
  });
  app.addHook('onClose', async () => clearInterval(closing));
}

function queueLimits({ maxQueue = 64, maxQueuePerClient }: ServerOptions): QueueLimits {
  const perClient = maxQueuePerClient ?? Math.ceil((3 * maxQueue) / 4);
  for (const [name, value] of Object.entries({ maxQueue, maxQueuePerClient: perClient })) {
    if (Number.isSafeInteger(value) && value >= 0) continue;
    throw new MowgliError('OPTION_INVALID', `${name} is ${value}; pass an integer of at least 0`);
  }
  return { total: maxQueue, perClient };
}

/** Timers fire at once when they are given more than 32 bits. */
function milliseconds(name: string, value: number): number {
  if (value >= 0 && value < 2 ** 31) return value;
  throw new MowgliError(
    'OPTION_INVALID',
    `${name} is ${value}; pass milliseconds, of at least 0 and less than 2^31 (24 days)`,
  );
}

function listOf(given: string | readonly string[] | undefined): readonly string[] {
  if (given === undefined) return [];
  return typeof given === 'string' ? [given] : given;
}
