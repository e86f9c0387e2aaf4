import type { GenerateOptions, Prompt, RespondOptions } from '../index.ts';
import { ApiError, badField } from './api-error.ts';
import { describe, Fields, refuseDeep } from './fields.ts';
import { type Conversation, readMessages } from './messages.ts';
import { present, readSampling } from './sampling.ts';
import type { ServedNames } from './served-names.ts';
import { readResponseFormat, readTools } from './tools.ts';

/** What requests have in common. */
export interface Asked {
  /** The model, by the name that the client has for it. */
  readonly model: string;
  readonly user: string;
  readonly stream: boolean;
  /** Whether a stream ends with the usage. */
  readonly includeUsage: boolean;
}

export interface ChatRequest extends Asked, Conversation {
  readonly options: RespondOptions;
}

export interface CompletionRequest extends Asked {
  readonly prompt: Prompt;
  readonly options: GenerateOptions;
}

/** What a request is checked against. */
export interface Serving {
  readonly names: ServedNames;
  readonly vocabSize: number;
  readonly hasTokenizer: boolean;
  /** No text with more of them fits the context. */
  readonly mostCharacters: number;
}

/**
 * Reads the body of POST /v1/chat/completions. Fields that mean nothing here (`store`, `metadata`,
 * `service_tier` ...) and unknown ones are left unread.
 * @throws ApiError 400 naming the field, 404 for an unknown model
 */
export function readChatRequest(value: unknown, serving: Serving): ChatRequest {
  const { names, vocabSize } = serving;
  const body = open(value);
  const asked = readAsked(body, names);
  const conversation = readMessages(body);
  const { messages } = conversation;
  refuseTooLong('messages', messages.map(({ content }) => content ?? '').join(''), serving);
  const older = body.integer('max_tokens', { min: 1 });
  const maxTokens = body.integer('max_completion_tokens', { min: 1 }) ?? older;
  const responseFormat = readResponseFormat(body);
  const options = {
    ...readSampling(body, vocabSize),
    ...readTools(body),
    ...present({ maxTokens, responseFormat, logprobs: readChatLogprobs(body) }),
  };
  return { ...asked, ...conversation, options };
}

/** Reads the body of POST /v1/completions. */
export function readCompletionRequest(value: unknown, serving: Serving): CompletionRequest {
  const { names, vocabSize } = serving;
  const body = open(value);
  const asked = readAsked(body, names);
  const prompt = readPrompt(body, vocabSize);
  if (typeof prompt === 'string') refuseTooLong('prompt', prompt, serving);
  refuseUnsupported(body);
  const options = {
    ...readSampling(body, vocabSize),
    ...present({
      // The default of OpenAI's API.
      maxTokens: body.integer('max_tokens', { min: 1 }) ?? 16,
      logprobs: readLogprobs(body, serving),
    }),
  };
  return { ...asked, prompt, options };
}

function open(value: unknown): Fields {
  refuseDeep(value);
  return new Fields({ value, path: '' });
}

function readAsked(body: Fields, names: ServedNames): Asked {
  const options = body.object('stream_options');
  return {
    model: names.resolve(body.text('model')),
    user: body.text('user') ?? '',
    stream: body.boolean('stream') ?? false,
    includeUsage: options?.boolean('include_usage') ?? false,
  };
}

/** The number of alternatives to each token; `undefined`: no probabilities at all. */
function readChatLogprobs(body: Fields): number | undefined {
  const wanted = body.boolean('logprobs') ?? false;
  const top = body.integer('top_logprobs', { min: 0, max: 20 });
  if (wanted) return top ?? 0;
  if (!top) return undefined;
  throw badField('top_logprobs', 'needs logprobs: true', 'invalid_value');
}

/** The same of a completion, where tokens are told by their texts. */
function readLogprobs(body: Fields, { hasTokenizer }: Serving): number | undefined {
  const logprobs = body.integer('logprobs', { min: 0, max: 20 });
  if (logprobs === undefined || hasTokenizer) return logprobs;
  throw badField('logprobs', 'needs a model with a tokenizer', 'unsupported_value');
}

/** Units of text that become one at most, in Unicode's normal form C; below U+0300 none do. */
const MOST_COMPOSED = 4;

function refuseTooLong(param: string, text: string, { mostCharacters }: Serving): void {
  // A tokenizer may compose characters first. To do so here could take longer than a client may ask for.
  const most = /[\u0300-\uffff]/.test(text) ? MOST_COMPOSED * mostCharacters : mostCharacters;
  if (text.length <= most) return;
  throw badField(
    param,
    `with ${text.length} characters cannot fit the model's context; shorten it`,
    'context_length_exceeded',
  );
}

/** A text, token ids, or a list of one of these. */
function readPrompt(body: Fields, vocabSize: number): Prompt {
  const { value, path } = body.item('prompt');
  const one = Array.isArray(value) && value.length === 1 && typeof value[0] !== 'number';
  const prompt: unknown = body.required('prompt', one ? value[0] : value);
  if (prompt === '' || (Array.isArray(prompt) && prompt.length === 0)) {
    throw badField(path, 'must not be empty', 'invalid_value');
  }
  if (typeof prompt === 'string') return prompt;
  if (!Array.isArray(prompt)) {
    throw badField(path, `must be a string or token ids, not ${describe(prompt)}`, 'invalid_type');
  }
  if (prompt.length > 1 && prompt.every((item) => typeof item !== 'number')) {
    throw badField(
      path,
      `has ${prompt.length} prompts; one at a time is supported`,
      'unsupported_value',
    );
  }
  const bad = prompt.findIndex((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
  if (bad < 0) return { tokens: prompt as number[] };
  throw badField(
    `${path}[${bad}]`,
    `must be a token id from 0 to ${vocabSize - 1}`,
    'invalid_value',
  );
}

/** What is asked of a completion, and is not done: better an error than another answer than was meant. */
function refuseUnsupported(body: Fields): void {
  const bestOf = body.integer('best_of', { min: 1 }) ?? 1;
  const format = body.object('response_format');
  const tools = body.list('tools') ?? [];
  const choice = body.item('tool_choice').value ?? 'none';
  const unsupported = {
    echo: body.boolean('echo') ?? false,
    suffix: (body.text('suffix') ?? '') !== '',
    best_of: bestOf !== 1,
    response_format: format !== undefined && format.text('type') !== 'text',
    tools: tools.length > 0,
    tool_choice: choice !== 'none',
  };
  for (const [param, asked] of Object.entries(unsupported)) {
    if (!asked) continue;
    const problem = ofChats.has(param) ? 'is for /v1/chat/completions' : 'is not supported';
    throw new ApiError(400, `${param} ${problem}; leave it out`, {
      param,
      code: 'unsupported_parameter',
    });
  }
}

/** What chats have, and completions have not. */
const ofChats: ReadonlySet<string> = new Set(['response_format', 'tools', 'tool_choice']);
