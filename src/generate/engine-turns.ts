import { MowgliError } from '../errors.ts';
import { type EitherSignal, eitherSignal } from './either-signal.ts';
import { Lock } from './lock.ts';

/** A turn with the engine. */
export interface EngineTurn {
  /** Fires when the caller's signal does, or when the model is disposed of. */
  readonly signal: AbortSignal;
  /** Lets the next one in. */
  end(): void;
}

/** Lets those who ask for a model's engine have it one at a time, until the model is disposed of. */
export class EngineTurns {
  readonly #model: string;
  readonly #lock = new Lock();
  readonly #disposal = new AbortController();

  /** @param model what messages call it */
  constructor(model: string) {
    this.#model = model;
  }

  /** The error for everybody from the disposal on; `undefined` until then. */
  get refusal(): MowgliError | undefined {
    if (!this.#disposal.signal.aborted) return undefined;
    return new MowgliError('DISPOSED', `${this.#model} was disposed of; load the model again`);
  }

  /**
   * Waits for a turn.
   * @throws MowgliError `ABORTED` when the signal fires first, `DISPOSED`
   */
  async begin(signal?: AbortSignal): Promise<EngineTurn> {
    const either = eitherSignal(signal, this.#disposal.signal);
    try {
      return await this.#enter(either);
    } catch (error) {
      either.release();
      throw this.refusal ?? error;
    }
  }

  /**
   * Works in a turn.
   * @throws MowgliError as `begin`, and what `work` throws
   */
  async take<T>(
    signal: AbortSignal | undefined,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const turn = await this.begin(signal);
    try {
      return await work(turn.signal);
    } catch (error) {
      throw this.refusal ?? error;
    } finally {
      turn.end();
    }
  }

  /** Fires the signals of all turns, those that are waited for included, and gives no more of them. */
  dispose(): void {
    this.#disposal.abort();
  }

  async #enter({ signal, release }: EitherSignal): Promise<EngineTurn> {
    const leave = await this.#lock.acquire(signal);
    if (this.refusal) {
      leave();
      throw this.refusal;
    }
    const end = () => {
      release();
      leave();
    };
    return { signal, end };
  }
}
