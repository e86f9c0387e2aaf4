import { Presets, SingleBar } from 'cli-progress';
import type { LoadProgress, PlanProgress } from '../node.ts';
import { formatBytes } from './units.ts';

/** How far something long is: a part of loading, or the reading of a long prompt or text (in tokens). */
export interface Progress {
  phase: LoadProgress['phase'] | PlanProgress['phase'] | 'prompt' | 'text';
  done: number;
  total: number;
}

export interface ProgressDisplay {
  update(progress: Progress): void;
  /** Takes the bar away, so that something else can be printed. */
  clear(): void;
}

const labels: Record<Progress['phase'], string> = {
  tuning: 'measuring kernels',
  reads: 'reading experts',
  layers: 'timing layers',
  forecast: 'forecasting',
  weights: 'loading weights',
  kernels: 'compiling kernels',
  prompt: 'reading the prompt',
  text: 'reading the text',
};

/** A bar on stderr if that is a terminal; nothing where nobody watches. */
export function showProgress(quiet = false): ProgressDisplay {
  if (quiet || !process.stderr.isTTY) return { update() {}, clear() {} };
  const bar = new SingleBar(
    {
      format: '{label} [{bar}] {percentage}% {amount}',
      stream: process.stderr,
      clearOnComplete: true,
      hideCursor: true,
      gracefulExit: false, // Signals are ours to handle.
      barsize: 30,
    },
    Presets.legacy,
  );
  let phase: Progress['phase'] | undefined;
  const clear = () => {
    if (phase !== undefined) bar.stop();
    phase = undefined;
  };
  return {
    clear,
    update(progress) {
      const payload = { label: labels[progress.phase], amount: amount(progress) };
      if (progress.phase !== phase) {
        clear();
        phase = progress.phase;
        bar.start(progress.total, progress.done, payload);
      } else {
        bar.update(progress.done, payload);
      }
    },
  };
}

function amount({ phase, done, total }: Progress): string {
  if (phase === 'weights') return `${formatBytes(done)} of ${formatBytes(total)}`;
  return `${done} of ${total}${phase === 'prompt' || phase === 'text' ? ' tokens' : ''}`;
}
