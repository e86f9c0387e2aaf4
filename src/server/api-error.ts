import type { FastifyBaseLogger, FastifyError } from 'fastify';
import { type ErrorCode, MowgliError } from '../errors.ts';
import { QueueFullError } from './fair-queue.ts';

/** The kinds of errors in OpenAI's API. */
type ErrorType =
  | 'invalid_request_error'
  | 'authentication_error'
  | 'rate_limit_error'
  | 'service_unavailable'
  | 'server_error';

export interface ApiErrorDetails {
  /** The field of the request at fault, such as `messages[2].content`. */
  readonly param?: string | undefined;
  readonly code?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  readonly cause?: unknown;
}

/** An error as a client is told of it: nothing in it is of this machine. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly status: number;
  readonly param: string | undefined;
  readonly code: string | undefined;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, message: string, details: ApiErrorDetails = {}) {
    super(message, { cause: details.cause });
    this.status = status;
    this.param = details.param;
    this.code = details.code;
    this.headers = details.headers ?? {};
  }

  /** The body of the answer, in OpenAI's form. */
  get body() {
    const { message, param = null, code = null } = this;
    return { error: { message, type: this.#type, param, code } };
  }

  get #type(): ErrorType {
    if (this.status === 401) return 'authentication_error';
    if (this.status === 429) return 'rate_limit_error';
    if (this.status === 503) return 'service_unavailable';
    return this.status < 500 ? 'invalid_request_error' : 'server_error';
  }
}

/** The error for a field whose value is not allowed. */
export function badField(param: string, problem: string, code?: string): ApiError {
  return new ApiError(400, `${param} ${problem}`, { param, code });
}

/**
 * What the library's errors are over HTTP. Those of a request say what the library says; the others
 * are the server's own trouble, of which a client learns the code only.
 */
const ofLibrary: Readonly<Record<ErrorCode, { status: number; param?: string; code?: string }>> = {
  OPTION_INVALID: { status: 400, code: 'invalid_value' },
  CONTEXT_EXCEEDED: { status: 400, code: 'context_length_exceeded' },
  TEMPLATE_FAILED: { status: 400, param: 'messages', code: 'invalid_value' },
  // Every other damage to it is found when the model is loaded: it has none.
  TOKENIZER_INVALID: { status: 400, code: 'tokenizer_missing' },
  ABORTED: { status: 503 },
  DISPOSED: { status: 503 },
  DEVICE_LOST: { status: 500 },
  GPU_ERROR: { status: 500 },
  OUT_OF_MEMORY: { status: 500 },
  NO_ADAPTER: { status: 500 },
  READ_FAILED: { status: 500 },
  WRITE_FAILED: { status: 500 },
  FILE_NOT_FOUND: { status: 500 },
  FILE_TRUNCATED: { status: 500 },
  FILE_INVALID: { status: 500 },
  TENSOR_MISSING: { status: 500 },
  TENSOR_UNEXPECTED: { status: 500 },
  TENSOR_SHAPE: { status: 500 },
  TENSOR_TYPE: { status: 500 },
  CONFIG_INVALID: { status: 500 },
  CONFIG_UNSUPPORTED: { status: 500 },
};

/** The request's names of the options that the library's messages tell of. */
const fields: Readonly<Record<string, string>> = {
  responseFormat: 'response_format',
  toolChoice: 'tool_choice',
  parallelToolCalls: 'parallel_tool_calls',
  logitBias: 'logit_bias',
  maxTokens: 'max_tokens',
};

/** What the framework calls an unsupported media type. */
const onlyJson = "the body must be JSON; send it with 'Content-Type: application/json'";

/** What a client is told of any error. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof QueueFullError) {
    return new ApiError(429, error.message, {
      code: 'rate_limit_exceeded',
      headers: { 'retry-after': String(error.retryAfter) },
    });
  }
  if (error instanceof MowgliError) return fromLibrary(error);
  const { statusCode, code, message } = error as Partial<FastifyError>;
  if (typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500) {
    const told = code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE' ? onlyJson : String(message);
    return new ApiError(statusCode, told, { cause: error });
  }
  return new ApiError(500, 'the server failed; its log says more', {
    code: 'internal_error',
    cause: error,
  });
}

/** What a client is told of an error; what is more than that, and the server's own trouble, is logged. */
export function reportError(error: unknown, log: Pick<FastifyBaseLogger, 'error'>): ApiError {
  const told = toApiError(error);
  if (told.status >= 500 && !(error instanceof ApiError)) log.error(error);
  return told;
}

function fromLibrary(error: MowgliError): ApiError {
  const { status, param, code = error.code.toLowerCase() } = ofLibrary[error.code];
  if (status >= 500) {
    const message = `the model cannot answer (${code}); the server's log says more`;
    return new ApiError(status, message, { code, cause: error });
  }
  // Not within what a message quotes: a property of a client's schema may be called anything.
  const message = error.message.replace(/(?<![\w/"'.~-])[a-z]+[A-Z]\w+\b/g, (name) =>
    Object.hasOwn(fields, name) ? fields[name]! : name,
  );
  // Those that find fault with a field begin with it.
  const [field] =
    /^(response_format|tool_choice|tools(\[\d+])?|logit_bias|stop)(?!\w)/.exec(message) ?? [];
  return new ApiError(status, message, { param: param ?? field, code, cause: error });
}
