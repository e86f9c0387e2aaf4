const never = new Int32Array(new SharedArrayBuffer(4));

/**
 * Awaits a promise of Dawn (`mapAsync`, `onSubmittedWorkDone`, ...) without burning a CPU core.
 *
 * Dawn in Node resolves its promises by polling: while one is pending, its `setImmediate` loop keeps
 * the JavaScript thread at 100 %. With a real GPU that costs nothing that anybody misses. When the
 * "GPU" is lavapipe or SwiftShader, that loop takes a core away from the very threads that it waits
 * for: napping between polls made every kernel about 1.5 times faster on two cores. So: poll as Dawn
 * does for a moment (a tiny dispatch is done within it), then sleep between polls.
 *
 * A nap blocks the whole thread, timers and file callbacks included, for up to `napMs`. So this is for
 * software adapters in Node only; a browser forbids `Atomics.wait` on its main thread anyway.
 *
 * @param promise What to wait for. It settles this function's promise in the same way.
 * @param spinMs Milliseconds of plain polling before the first nap.
 * @param napMs Milliseconds of each nap.
 */
export async function quietWait<T>(promise: Promise<T>, spinMs = 0.3, napMs = 0.5): Promise<T> {
  let settled = false;
  const watched = promise.finally(() => {
    settled = true;
  });
  watched.catch(() => {}); // Rethrown by the last line; until then nobody else listens.
  const start = performance.now();
  while (!settled) {
    if (performance.now() - start > spinMs) Atomics.wait(never, 0, 0, napMs);
    await new Promise(setImmediate);
  }
  return watched;
}
