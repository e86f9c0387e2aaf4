/** A signal that fires when either of two does, while it is wanted. */
export interface EitherSignal {
  readonly signal: AbortSignal;
  /** The work is done: the two are not listened to any more. */
  release(): void;
}

/**
 * What `AbortSignal.any` is, for pieces of work that end long before their signals do: Node 20 keeps
 * something of each of its results for as long as the signals live, which adds up over requests.
 */
export function eitherSignal(one: AbortSignal | undefined, other: AbortSignal): EitherSignal {
  if (!one || one === other) return { signal: other, release() {} };
  const controller = new AbortController();
  const { signal } = controller;
  const fireAsOne = () => controller.abort(one.reason);
  const fireAsOther = () => controller.abort(other.reason);
  const release = () => {
    one.removeEventListener('abort', fireAsOne);
    other.removeEventListener('abort', fireAsOther);
  };
  if (one.aborted) fireAsOne();
  else if (other.aborted) fireAsOther();
  else {
    one.addEventListener('abort', fireAsOne);
    other.addEventListener('abort', fireAsOther);
  }
  return { signal, release };
}
