import { MowgliError } from '../errors.ts';

/** Who waits: a client, and whom of its users it asks for. */
export interface Visitor {
  readonly client: string;
  readonly user: string;
}

/** How many may wait. The one whose turn it is does not wait. */
export interface QueueLimits {
  readonly total: number;
  /** Of one client: less than `total`, so that no client keeps all others out. */
  readonly perClient: number;
}

/** The queue has no room, for anybody or for this client. */
export class QueueFullError extends Error {
  override readonly name = 'QueueFullError';
  /** Seconds after which there is likely to be room. */
  readonly retryAfter: number;

  constructor(message: string, retryAfter: number) {
    super(message);
    this.retryAfter = retryAfter;
  }
}

interface Ticket {
  readonly visitor: Visitor;
  readonly call: () => void;
}

/**
 * Lets one in at a time. Clients take turns, whatever the number of their requests; so do the users of a
 * client; and the requests of one user come in the order in which they were made.
 */
export class FairQueue {
  /** Client, user, tickets, in the order of their turns: whose turn was last stands last. */
  readonly #waiting = new Map<string, Map<string, Ticket[]>>();
  readonly #limits: QueueLimits;
  #size = 0;
  #inside = false;
  /** A moving average of how long a turn takes. */
  #turnMs = 1000;

  constructor(limits: QueueLimits) {
    this.#limits = limits;
  }

  /** How many wait. */
  get size(): number {
    return this.#size;
  }

  /** Whether it is somebody's turn. */
  get busy(): boolean {
    return this.#inside;
  }

  /**
   * Waits for a turn; the answer ends it.
   * @throws QueueFullError at once; MowgliError `ABORTED` as soon as the signal fires
   */
  async enter(visitor: Visitor, signal: AbortSignal): Promise<() => void> {
    if (signal.aborted) throw leftQueue(signal);
    if (this.#inside) await this.#wait(visitor, signal);
    this.#inside = true;
    const start = performance.now();
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      this.#turnMs += (performance.now() - start - this.#turnMs) / 8;
      this.#goOn(visitor);
    };
  }

  #wait(visitor: Visitor, signal: AbortSignal): Promise<void> {
    this.#refuseWhenFull(visitor);
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.#remove(ticket);
        reject(leftQueue(signal));
      };
      const call = () => {
        signal.removeEventListener('abort', leave);
        resolve();
      };
      const ticket: Ticket = { visitor, call };
      signal.addEventListener('abort', leave, { once: true });
      this.#add(ticket);
    });
  }

  #refuseWhenFull({ client }: Visitor): void {
    const { total, perClient } = this.#limits;
    const retryAfter = Math.min(120, Math.ceil((this.#turnMs * (this.#size + 1)) / 1000));
    if (this.#size >= total) {
      throw new QueueFullError(
        `the server is busy and its queue full (${total} requests wait); try again in ${retryAfter} s`,
        retryAfter,
      );
    }
    let own = 0;
    for (const tickets of this.#waiting.get(client)?.values() ?? []) own += tickets.length;
    if (own >= perClient) {
      throw new QueueFullError(
        `${own} of your requests wait already, as many as one client may have in the queue; ` +
          `try again in ${retryAfter} s`,
        retryAfter,
      );
    }
  }

  #add(ticket: Ticket): void {
    const { client, user } = ticket.visitor;
    const users = this.#waiting.get(client) ?? new Map<string, Ticket[]>();
    const tickets = users.get(user) ?? [];
    tickets.push(ticket);
    users.set(user, tickets);
    this.#waiting.set(client, users);
    this.#size++;
  }

  #remove(ticket: Ticket): void {
    const { client, user } = ticket.visitor;
    const users = this.#waiting.get(client)!;
    const tickets = users.get(user)!;
    tickets.splice(tickets.indexOf(ticket), 1);
    if (tickets.length === 0) users.delete(user);
    if (users.size === 0) this.#waiting.delete(client);
    this.#size--;
  }

  /** Ends a visitor's turn and begins the next one's. */
  #goOn({ client, user }: Visitor): void {
    const users = this.#waiting.get(client);
    if (users) {
      moveToEnd(this.#waiting, client);
      moveToEnd(users, user);
    }
    this.#inside = false;
    const [next] = this.#waiting.values();
    const [tickets] = next?.values() ?? [];
    const ticket = tickets?.[0];
    if (!ticket) return;
    this.#remove(ticket);
    // Whoever enters before the one called has woken up has to wait, too.
    this.#inside = true;
    ticket.call();
  }
}

function moveToEnd<T>(map: Map<string, T>, key: string): void {
  const value = map.get(key);
  if (value === undefined) return;
  map.delete(key);
  map.set(key, value);
}

function leftQueue(signal: AbortSignal): MowgliError {
  return new MowgliError('ABORTED', 'the request left the queue', { cause: signal.reason });
}
