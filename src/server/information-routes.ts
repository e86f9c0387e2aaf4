import type { FastifyInstance } from 'fastify';
import { allowOnly } from './http-app.ts';
import type { Metrics } from './metrics.ts';
import type { ServedModel } from './served-model.ts';
import type { ServedNames } from './served-names.ts';

/** `ready` answers; `draining` ends when its requests are answered; `failed` never answers again. */
export type ServerState = 'ready' | 'draining' | 'failed';

export interface Information {
  readonly model: ServedModel;
  readonly names: ServedNames;
  readonly metrics: Metrics;
  readonly state: () => ServerState;
}

/** `GET /v1/models`, `/v1/models/NAME`, `/health`, `/metrics`. */
export function addInformationRoutes(
  app: FastifyInstance,
  { model, names, metrics, state }: Information,
): void {
  const created = Math.floor(Date.now() / 1000);
  const describe = (id: string) => ({
    ...{ id, object: 'model', created, owned_by: 'mowgli' },
    // As vLLM has it: OpenAI's API does not tell.
    max_model_len: model.context,
  });

  app.get('/v1/models', async () => ({ object: 'list', data: names.all.map(describe) }));
  allowOnly(app, 'GET', '/v1/models');

  // Names have slashes, and not every client encodes them.
  app.get<{ Params: { '*': string } }>('/v1/models/*', async ({ params }) =>
    describe(names.resolve(params['*'])),
  );
  allowOnly(app, 'GET', '/v1/models/*');

  app.get('/health', { config: { open: true } }, async (_, reply) => {
    const now = state();
    return reply.code(now === 'ready' ? 200 : 503).send({ state: now });
  });
  allowOnly(app, 'GET', '/health');

  app.get('/metrics', async (_, reply) =>
    reply.type(metrics.contentType).send(await metrics.text()),
  );
  allowOnly(app, 'GET', '/metrics');
}
