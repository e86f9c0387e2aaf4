import { createHash, timingSafeEqual } from 'node:crypto';
import { MowgliError } from '../errors.ts';
import { ApiError } from './api-error.ts';

/**
 * The keys that open a server. Kept and compared as hashes of one length, and all of them each time, so
 * that the time of an answer tells nothing of a key.
 */
export class ApiKeys {
  readonly #hashes: readonly Buffer[];

  /** @throws MowgliError `OPTION_INVALID` for an empty key */
  constructor(keys: readonly string[]) {
    // White space at the ends, as out of files, does not come through a header either.
    const trimmed = keys.map((key) => key.trim());
    if (trimmed.includes('')) {
      throw new MowgliError('OPTION_INVALID', 'apiKey is empty; pass a key, or none at all');
    }
    this.#hashes = trimmed.map(hash);
  }

  /** Whether no key is needed. */
  get none(): boolean {
    return this.#hashes.length === 0;
  }

  /**
   * Which key a request has shown, as a name for its owner; all are one where no key is needed.
   * @throws ApiError 401
   */
  check(authorization: string | undefined): string {
    if (this.none) return '';
    const [, given] = /^Bearer +(\S.*)$/i.exec(authorization ?? '') ?? [];
    // Node reads headers as Latin-1; most clients send what is beyond ASCII as UTF-8.
    const forms = [given ?? '', Buffer.from(given ?? '', 'latin1').toString()];
    const shown = forms.map((form) => hash(form.trimEnd()));
    let found = -1;
    this.#hashes.forEach((known, i) => {
      for (const form of shown) if (timingSafeEqual(known, form)) found = i;
    });
    if (given !== undefined && found >= 0) return String(found);
    const problem = given === undefined ? 'an API key is needed' : 'this API key is not valid';
    throw new ApiError(401, `${problem}; send it as 'Authorization: Bearer KEY'`, {
      code: 'invalid_api_key',
      headers: { 'www-authenticate': 'Bearer' },
    });
  }
}

function hash(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}
