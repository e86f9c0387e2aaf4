/** What a piece of work took, of the clock and of all the process's threads. */
export interface Timing {
  readonly ms: number;
  readonly cpuMs: number;
}

/** What ratios are of: the clock's time, or the CPU's, which other programs change less. */
export type Clock = 'wall' | 'cpu';

export function timeOn(clock: Clock, { ms, cpuMs }: Timing): number {
  return clock === 'cpu' ? cpuMs : ms;
}

/** Times some work. Only CPU time spent in this process is counted. */
export async function timed(work: () => Promise<unknown>): Promise<Timing> {
  const before = process.cpuUsage();
  const start = performance.now();
  await work();
  const ms = performance.now() - start;
  const { user, system } = process.cpuUsage(before);
  return { ms, cpuMs: (user + system) / 1000 };
}

/** The same for each of `count` parts of the work. */
export function divided({ ms, cpuMs }: Timing, count: number): Timing {
  return { ms: ms / count, cpuMs: cpuMs / count };
}

/** Wall and CPU time in the middle, each for itself. */
export function median(timings: readonly Timing[]): Timing {
  const middle = (values: number[]) => {
    values.sort((a, b) => a - b);
    const half = values.length >> 1;
    return values.length % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
  };
  return {
    ms: middle(timings.map(({ ms }) => ms)),
    cpuMs: middle(timings.map(({ cpuMs }) => cpuMs)),
  };
}
