import { randomUUID } from 'node:crypto';
import { isIP, type Socket } from 'node:net';
import cors from '@fastify/cors';
import Fastify, {
  type ConnectionError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerOptions,
} from 'fastify';
import { ApiError, reportError } from './api-error.ts';
import type { ApiKeys } from './api-keys.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Which API key it has shown, as a name for its owner. */
    apiKey: string;
  }
  interface FastifyContextConfig {
    /** Whether anybody may ask. */
    open?: boolean;
  }
}

export interface HttpOptions {
  readonly keys: ApiKeys;
  readonly corsOrigin: readonly string[];
  readonly bodyLimit: number;
  readonly logger: FastifyServerOptions['logger'];
}

/** Fastify with OpenAI's errors everywhere, API keys, and nothing read but JSON. */
export async function openApp(options: HttpOptions): Promise<FastifyInstance> {
  const { keys, corsOrigin, bodyLimit, logger = false } = options;
  const app = Fastify({
    bodyLimit,
    logger,
    genReqId: () => `req_${randomUUID()}`,
    requestIdHeader: false,
    // A request has to be here by then: not more than a slow line needs for the largest one.
    requestTimeout: 120_000,
    // It would also end the hooks of `close`, which wait for answers.
    pluginTimeout: 0,
    // While it closes, a server still answers, with OpenAI's errors.
    return503OnClosing: false,
    // Base URLs come with and without a slash at their end.
    routerOptions: { maxParamLength: 500, ignoreTrailingSlash: true, ignoreDuplicateSlashes: true },
    frameworkErrors: (error, request, reply) => sendError(error, request, reply),
    clientErrorHandler: refuseBrokenHttp,
  });
  readJsonOnly(app);
  app.setErrorHandler(sendError);
  app.setNotFoundHandler(({ method, url }) => {
    const path = url.slice(0, 100).replace(/\?.*/, '');
    throw new ApiError(404, `there is nothing at ${method} ${path}; the API is under /v1`, {
      code: 'not_found',
    });
  });
  // Before the keys: a browser asks what it may without one.
  if (corsOrigin.length > 0) {
    await app.register(cors, {
      origin: corsOrigin.includes('*') ? '*' : [...corsOrigin],
      methods: ['GET', 'POST'],
      exposedHeaders: ['x-request-id', 'retry-after'],
    });
  }
  app.decorateRequest('apiKey', '');
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id);
    if (request.routeOptions.config?.open) return;
    request.apiKey = keys.check(request.headers.authorization);
    if (keys.none) refuseRebound(request);
  });
  return app;
}

/** Takes bodies of JSON, in UTF-8 as its standard has it, and no others. */
function readJsonOnly(app: FastifyInstance): void {
  const utf8 = new TextDecoder('utf-8', { fatal: true });
  // It refuses the keys that would reach the prototypes of objects.
  const parse = app.getDefaultJsonParser('error', 'error');
  const forbidden = new ApiError(
    400,
    "the body has a key '__proto__', or 'prototype' in a 'constructor'; no request needs these, leave them out",
  );
  app.removeAllContentTypeParsers();
  app.addContentTypeParser<Buffer>(
    'application/json',
    { parseAs: 'buffer' },
    (request, body, done) => {
      let text: string;
      try {
        text = utf8.decode(body);
      } catch {
        done(new ApiError(400, 'the body is not UTF-8'));
        return;
      }
      parse(request, text, (error, value) => {
        done(error && isJson(text) ? forbidden : error, value);
      });
    },
  );
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/**
 * Refuses a page of another site whose name was made to mean this machine ("DNS rebinding"): its browser
 * takes the server for a part of that site. Where a key is needed the page has none.
 */
function refuseRebound({ hostname, socket }: FastifyRequest): void {
  if (!isLoopback(socket.localAddress ?? '')) return;
  const name = hostname.replace(/^\[(.*)\]$/, '$1');
  // Browsers always send one.
  if (name === '' || isIP(name) || /^(.+\.)?localhost$/i.test(name)) return;
  throw new ApiError(
    403,
    `the server is local, and does not answer under the name ${name.slice(0, 100)}; ask for ` +
      'localhost, or run it with an API key',
    { code: 'forbidden_host' },
  );
}

function isLoopback(address: string): boolean {
  return address === '::1' || /^(::ffff:)?127\./.test(address);
}

/** Adds what answers a path's other methods. */
export function allowOnly(app: FastifyInstance, allowed: 'GET' | 'POST', url: string): void {
  const refuse = async ({ method }: FastifyRequest) => {
    throw new ApiError(405, `${method} is not allowed here; use ${allowed}`, {
      code: 'method_not_allowed',
      headers: { allow: allowed },
    });
  };
  const others = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'].filter((method) => method !== allowed);
  // Refused before a body is read.
  app.route({ method: others, url, onRequest: refuse, handler: refuse });
}

function sendError(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const told = reportError(error, request.log);
  reply.header('x-request-id', request.id); // Some errors come before any hook.
  void reply.code(told.status).headers(told.headers).send(told.body);
}

/** What is no HTTP, or too much of it: Node has no request for it, only a socket. */
function refuseBrokenHttp(error: ConnectionError, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return;
  const [status, reason] = brokenHttp[error.code] ?? [400, 'Bad Request'];
  const message = 'the request is not HTTP that this server understands';
  const body = JSON.stringify(new ApiError(status, message, { code: 'bad_request' }).body);
  if (socket.writable) {
    socket.write(
      `HTTP/1.1 ${status} ${reason}\r\ncontent-type: application/json; charset=utf-8\r\n` +
        `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
    );
  }
  socket.destroySoon();
}

const brokenHttp: Readonly<Record<string, readonly [number, string]>> = {
  HPE_HEADER_OVERFLOW: [431, 'Request Header Fields Too Large'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'Request Timeout'],
};
