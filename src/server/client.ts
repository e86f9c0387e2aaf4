import type { FastifyReply, FastifyRequest } from 'fastify';
import { ApiError } from './api-error.ts';
import type { Visitor } from './fair-queue.ts';

/** Why a request's answer is not finished: the client went away, does not read, or the server stops. */
export type CancelReason = 'disconnected' | 'slow-reader' | 'shutdown';

/** The reason of a client's `AbortSignal`. */
export class Cancelled extends Error {
  override readonly name = 'Cancelled';
  readonly reason: CancelReason;

  constructor(reason: CancelReason) {
    super(`the request was cancelled: ${reason}`);
    this.reason = reason;
  }
}

/** Who made a request, for as long as it is answered. */
export class Client {
  readonly visitor: Visitor;
  readonly #reply: FastifyReply;
  readonly #controller = new AbortController();
  readonly #onClose = () => this.cancel('disconnected');

  /** @param user for whom the client asks, as it says */
  constructor(request: FastifyRequest, reply: FastifyReply, user: string) {
    this.visitor = { client: `${request.apiKey} ${request.ip}`, user };
    this.#reply = reply;
    // Of the socket: a pipelined request's response hears of nothing while it waits for the one before.
    const { socket } = request.raw;
    if (socket.destroyed) this.cancel('disconnected');
    else socket.once('close', this.#onClose);
  }

  /** Fires when nobody waits for the answer any more, with a {@link Cancelled}. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** `undefined` while the answer is wanted. */
  get cancelled(): CancelReason | undefined {
    const { reason } = this.signal;
    return reason instanceof Cancelled ? reason.reason : undefined;
  }

  /** Whether there is nobody who could be told of anything. */
  get gone(): boolean {
    return this.cancelled !== undefined && this.cancelled !== 'shutdown';
  }

  /** Ends the answer. A client that does not read could not be told: its connection is closed. */
  cancel(reason: CancelReason): void {
    if (this.signal.aborted) return;
    this.#reply.log.info({ reason }, 'the answer was cut short');
    this.#controller.abort(new Cancelled(reason));
    if (reason === 'slow-reader') this.#reply.raw.destroy();
  }

  /** The answer is complete. */
  release(): void {
    this.#reply.request.raw.socket.off('close', this.#onClose);
  }
}

/** The error for requests that a stopping server does not answer. */
export function shuttingDown(): ApiError {
  return new ApiError(503, 'the server is shutting down; try again later, or another one', {
    code: 'shutting_down',
    headers: { connection: 'close' },
  });
}
