import type { GeneratePart, RespondPart } from '../index.ts';
import { type Client, shuttingDown } from './client.ts';
import type { FairQueue } from './fair-queue.ts';
import type { Metrics } from './metrics.ts';
import type { ServedNames } from './served-names.ts';
import { Tally } from './tally.ts';

type Part = GeneratePart | RespondPart;

/** The answers that a server is giving or will give: one at a time, as the queue has it. */
export class Generations {
  readonly #queue: FairQueue;
  readonly #metrics: Metrics;
  readonly #names: ServedNames;
  readonly #clients = new Set<Client>();
  readonly #answering = new Tally();
  #draining = false;

  constructor(queue: FairQueue, metrics: Metrics, names: ServedNames) {
    this.#names = names;
    this.#queue = queue;
    this.#metrics = metrics;
  }

  /** Whether new requests are refused. */
  get draining(): boolean {
    return this.#draining;
  }

  /**
   * Answers a client, unless the server is about to stop.
   * @throws ApiError 503
   */
  async serve<T>(client: Client, answer: () => Promise<T>): Promise<T> {
    this.#clients.add(client);
    this.#answering.begin();
    try {
      if (this.#draining) throw shuttingDown();
      return await answer();
    } finally {
      client.release();
      if (client.cancelled) this.#metrics.cancelled(client.cancelled);
      this.#clients.delete(client);
      this.#answering.end();
    }
  }

  /** When its turn comes, generates for a client, for as long as the client wants it. */
  async *run<T extends Part>(
    client: Client,
    generate: (signal: AbortSignal) => AsyncIterable<T>,
  ): AsyncGenerator<T> {
    const { visitor, signal } = client;
    const asked = performance.now();
    let leave = () => {};
    try {
      leave = await this.#queue.enter(visitor, signal);
      this.#metrics.waited(performance.now() - asked);
      let begun = false;
      for await (const part of generate(signal)) {
        if (!begun) this.#metrics.began(performance.now() - asked);
        begun = true;
        if (part.type === 'end') this.#count(part);
        // The `end` of an answer that was cut short is followed by the error that says so.
        if (part.type !== 'end' || part.finishReason !== 'aborted') yield part;
      }
    } catch (error) {
      throw client.cancelled === 'shutdown' ? shuttingDown() : this.#names.conceal(error);
    } finally {
      leave();
    }
  }

  /**
   * Refuses new requests, and waits until the others are answered: for some time, then they are cut
   * short, and who still does not end after the grace is not waited for.
   */
  async drain(ms: number, graceMs: number): Promise<void> {
    this.#draining = true;
    if (await this.#answering.endsWithin(ms)) return;
    for (const client of this.#clients) client.cancel('shutdown');
    await this.#answering.endsWithin(graceMs);
  }

  #count(end: Extract<Part, { type: 'end' }>): void {
    this.#metrics.generated(end.usage, 'incompleteCalls' in end ? end.incompleteCalls.length : 0);
  }
}
