import { finished, Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';
import { reportError } from './api-error.ts';
import type { Client } from './client.ts';

export interface EventStreamLimits {
  /** Milliseconds between signs of life while there is nothing to send. */
  readonly keepAliveMs: number;
  /** Bytes that a client may leave unread before it is dropped. */
  readonly unreadBytes: number;
  /** Milliseconds that a client has for the rest of a complete answer. */
  readonly flushMs: number;
}

/**
 * An answer as server-sent events. It begins with the first event, or the first sign of life when that
 * takes long: until then the request can still fail with a status of its own.
 *
 * Nothing here waits for the client: what it does not read is kept up to a limit, so that one that does
 * not read keeps neither the model nor much memory.
 */
export class EventStream {
  readonly #reply: FastifyReply;
  readonly #client: Client;
  readonly #limits: EventStreamLimits;
  readonly #source = new Readable({ read() {} });
  readonly #alive: NodeJS.Timeout;
  #begun = false;

  constructor(reply: FastifyReply, client: Client, limits: EventStreamLimits) {
    this.#reply = reply;
    this.#client = client;
    this.#limits = limits;
    this.#alive = setInterval(() => this.#write(': keep-alive\n\n'), limits.keepAliveMs);
  }

  /** Whether the client has been answered already. */
  get begun(): boolean {
    return this.#begun;
  }

  send(data: object): void {
    this.#write(`data: ${JSON.stringify(data)}\n\n`);
    this.#alive.refresh();
  }

  /** The answer is complete. */
  end(): void {
    this.#write('data: [DONE]\n\n');
    this.#close();
  }

  /** The answer ends with an error. */
  fail(error: unknown): void {
    if (!this.#client.gone) this.send(reportError(error, this.#reply.log).body);
    this.#close();
  }

  /** No more is sent. */
  stop(): void {
    clearInterval(this.#alive);
  }

  #write(text: string): void {
    if (this.#client.gone) return;
    if (!this.#begun) this.#begin();
    this.#source.push(text);
    const unread = this.#source.readableLength + this.#reply.raw.writableLength;
    if (unread > this.#limits.unreadBytes) this.#client.cancel('slow-reader');
  }

  #begin(): void {
    this.#begun = true;
    this.#reply
      .header('content-type', 'text/event-stream; charset=utf-8')
      .header('cache-control', 'no-cache')
      // Proxies such as nginx would wait for more.
      .header('x-accel-buffering', 'no')
      .send(this.#source);
  }

  #close(): void {
    this.stop();
    this.#source.push(null);
    const late = setTimeout(() => this.#client.cancel('slow-reader'), this.#limits.flushMs);
    finished(this.#reply.raw, () => clearTimeout(late));
  }
}
