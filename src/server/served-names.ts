import { basename } from 'node:path';
import { MowgliError } from '../errors.ts';
import { ApiError } from './api-error.ts';

/** The names under which the one model of a server is known: one that was chosen, and its file's. */
export class ServedNames {
  readonly all: readonly string[];
  /** What the model was loaded from, which may be a path, and what is told of it. */
  readonly #source: string;
  readonly #own: string;

  /** @param source what the model was loaded from */
  constructor(source: string, chosen: readonly string[]) {
    this.#own = basename(source).replace(/\.gguf$/i, '') || 'model';
    this.all = [...new Set([...chosen, this.#own])];
    this.#source = source;
  }

  get first(): string {
    return this.all[0]!;
  }

  /** An error of the library, without the path that it may call the model by. */
  conceal(error: unknown): unknown {
    if (!(error instanceof MowgliError)) return error;
    if (this.#source === this.#own || !error.message.includes(this.#source)) return error;
    const message = error.message.replaceAll(this.#source, this.#own);
    return new MowgliError(error.code, message, { cause: error });
  }

  /**
   * The name that a client asked for; without one, the model's first.
   * @throws ApiError 404 for another model's
   */
  resolve(name: string | undefined): string {
    if (name === undefined) return this.first;
    if (this.all.includes(name)) return name;
    const here = this.all.map((known) => `'${known}'`).join(', ');
    throw new ApiError(404, `there is no model '${name.slice(0, 200)}' here; use ${here}`, {
      param: 'model',
      code: 'model_not_found',
    });
  }
}
