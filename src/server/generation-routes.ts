import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { GeneratePart, RespondPart } from '../index.ts';
import type { Answer } from './answer.ts';
import { ChatAnswer } from './chat-answer.ts';
import { Client } from './client.ts';
import { CompletionAnswer } from './completion-answer.ts';
import { EventStream, type EventStreamLimits } from './event-stream.ts';
import type { Generations } from './generations.ts';
import { allowOnly } from './http-app.ts';
import { type Asked, readChatRequest, readCompletionRequest, type Serving } from './requests.ts';
import type { ServedModel } from './served-model.ts';

export interface GenerationContext {
  readonly model: ServedModel;
  readonly generations: Generations;
  readonly serving: Serving;
  readonly limits: EventStreamLimits;
}

/** What a request leads to. */
interface Work<T> {
  readonly asked: Asked;
  readonly answer: Answer<T>;
  readonly generate: (signal: AbortSignal) => AsyncIterable<T>;
}

/** `POST /v1/chat/completions` and `POST /v1/completions`. */
export function addGenerationRoutes(app: FastifyInstance, context: GenerationContext): void {
  const { model, serving } = context;

  const chat = '/v1/chat/completions';
  app.post(chat, (request, reply) => {
    const asked = readChatRequest(request.body, serving);
    const { damagedCalls } = asked;
    if (damagedCalls.length > 0) {
      request.log.warn({ damagedCalls }, 'not the JSON of an object: the model sees no arguments');
    }
    return answer(context, request, reply, {
      asked,
      answer: new ChatAnswer(asked, model),
      generate: (signal) => model.respond(asked.messages, { ...asked.options, signal }),
    });
  });
  allowOnly(app, 'POST', chat);

  const completions = '/v1/completions';
  app.post(completions, (request, reply) => {
    const asked = readCompletionRequest(request.body, serving);
    return answer(context, request, reply, {
      asked,
      answer: new CompletionAnswer(asked, model),
      generate: (signal) => model.generate(asked.prompt, { ...asked.options, signal }),
    });
  });
  allowOnly(app, 'POST', completions);
}

function answer<T extends GeneratePart | RespondPart>(
  { generations, limits }: GenerationContext,
  request: FastifyRequest,
  reply: FastifyReply,
  { asked, answer, generate }: Work<T>,
): Promise<unknown> {
  const client = new Client(request, reply, asked.user);
  return generations.serve(client, async () => {
    const parts = generations.run(client, generate);
    try {
      if (asked.stream) {
        await stream(parts, answer, new EventStream(reply, client, limits));
        return reply;
      }
      const all: T[] = [];
      for await (const part of parts) all.push(part);
      return answer.whole(all);
    } catch (error) {
      if (!client.gone) throw error;
      reply.hijack();
      reply.raw.destroy();
      return reply;
    }
  });
}

/** Sends parts as they come. An error is thrown while it can still be the status of the answer. */
async function stream<T>(
  parts: AsyncIterable<T>,
  answer: Answer<T>,
  events: EventStream,
): Promise<void> {
  try {
    for await (const part of parts) {
      for (const chunk of answer.chunks(part)) events.send(chunk);
    }
    events.end();
  } catch (error) {
    if (!events.begun) throw error;
    events.fail(error);
  } finally {
    events.stop();
  }
}
