/**
 * Runs `work` on every item, at most `limit` at a time, and answers the results in the items' order.
 * After a failure nothing new is begun, and the promise rejects only when all that was begun has
 * ended: whoever cleans up then cleans up everything.
 */
export async function mapConcurrent<T, R>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results = new Array<R>(items.length);
  let next = 0;
  let failed = false;
  const run = async () => {
    while (!failed && next < items.length) {
      const index = next++;
      try {
        results[index] = await work(items[index]);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const runners = await Promise.allSettled(
    Array.from({ length: Math.min(limit, items.length) }, run),
  );
  for (const runner of runners) if (runner.status === 'rejected') throw runner.reason;
  return results;
}

/** Closes all, even when some fail to close, and then throws the first failure. */
export async function closeAll(things: Iterable<{ close(): Promise<void> }>): Promise<void> {
  const closed = await Promise.allSettled(Array.from(things, (thing) => thing.close()));
  for (const one of closed) if (one.status === 'rejected') throw one.reason;
}
