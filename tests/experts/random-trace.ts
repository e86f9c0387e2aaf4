import type { Random } from '../../kernels-test/random.ts';
import type { Trace, TracedStep, TraceModel } from '../../src/experts/trace-file.ts';

/** A small model's shape, with dense layers now and then. */
export function randomModel(random: Random, most = { layers: 5, experts: 12 }): TraceModel {
  const layers = 1 + random.below(most.layers);
  const sparseLayers = Array.from({ length: layers }, (_, i) => i).filter(
    (layer) => layer === layers - 1 || random.unit() < 0.8,
  );
  const experts = 1 + random.below(most.experts);
  const expertsPerToken = 1 + random.below(Math.min(4, experts));
  return { name: `modèle "${random.below(100)}"`, layers, sparseLayers, experts, expertsPerToken };
}

/** Distinct experts; low numbers are likelier, so that there is something to learn. */
export function randomChoice({ experts, expertsPerToken }: TraceModel, random: Random): number[] {
  const chosen = new Set<number>();
  while (chosen.size < expertsPerToken) chosen.add(Math.floor(experts * random.unit() ** 2));
  return [...chosen];
}

/** Steps of one token, and chunks of a few, without predictions unless there are `depths`. */
export function randomSteps(
  model: TraceModel,
  random: Random,
  count: number,
  depths = 0,
): TracedStep[] {
  return Array.from({ length: count }, () => {
    const kind = random.unit() < 0.8 ? 'decode' : 'prompt';
    const tokens = kind === 'decode' ? 1 : 1 + random.below(6);
    const layer = () => Array.from({ length: tokens }, () => randomChoice(model, random)).flat();
    const layers = (n: number) => Array.from({ length: n }, layer);
    return {
      kind,
      tokens,
      chosen: layers(model.sparseLayers.length),
      predicted: Array.from({ length: depths }, (_, i) =>
        layers(model.sparseLayers.length - 1 - i),
      ),
    };
  });
}

/** What a reader would make of these steps. */
export function asTrace(model: TraceModel, steps: readonly TracedStep[]): Trace {
  const Ids = model.experts <= 256 ? Uint8Array : Uint16Array;
  const flat = (layers: readonly ArrayLike<number>[]) =>
    Ids.from(layers.flatMap((ids) => Array.from(ids)));
  return {
    model,
    steps: steps.map(({ kind, tokens, chosen, predicted = [] }) => ({
      kind,
      tokens,
      chosen: flat(chosen),
      predicted: predicted.map(flat),
    })),
    truncated: false,
  };
}
