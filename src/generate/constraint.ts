/**
 * What a generated text must look like, as the tokens that may come next. One constraint serves one
 * generation. A grammar makes them (`grammar/`); the generation asks and tells, token by token.
 */
export interface TokenConstraint {
  /**
   * The tokens that may come next, a bit for each id of the vocabulary (bit `id % 32` of word `id / 32`):
   * those after which the text can still be completed within `remaining` tokens, the next one included.
   * End tokens are set where the text may end. Good until the next call.
   *
   * `undefined`: all of them may.
   */
  allowed(remaining: number): Uint32Array | undefined;
  /** Goes on to the state after a token that was allowed; not called for end tokens. */
  accept(token: number): void;
  /**
   * Of a constraint that leads the text to an end, whether it may end here: one that does so for want of
   * tokens is not cut off then. Stop texts, which could come anywhere, do not end such a text.
   */
  readonly complete?: boolean | undefined;
  /** Whether the text is complete and nothing can follow it. */
  readonly finished: boolean;
}
