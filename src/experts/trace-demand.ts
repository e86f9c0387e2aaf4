import type { StepKind, Trace } from './trace-file.ts';

/**
 * What a run asks of a cache, in order: one demand per step and sparse layer, of the experts that the
 * step's tokens need there, each once. An expert's key is sparse layer * experts + expert.
 */
export interface Demands {
  readonly layers: number;
  readonly experts: number;
  /** Keys of demand d: [begins[d], begins[d + 1]). */
  readonly keys: Int32Array;
  /** As `keys`: how many of the step's tokens need the expert. */
  readonly uses: Uint32Array;
  readonly begins: Float64Array;
  /** Per step; its demands are [step * layers, (step + 1) * layers). */
  readonly steps: readonly { readonly kind: StepKind; readonly tokens: number }[];
}

export function demandsOf({ model, steps }: Trace): Demands {
  const { experts, expertsPerToken } = model;
  const layers = model.sparseLayers.length;
  let most = 0;
  for (const { tokens } of steps) most += layers * Math.min(tokens * expertsPerToken, experts);
  const keys = new Int32Array(most);
  const uses = new Uint32Array(most);
  const begins = new Float64Array(steps.length * layers + 1);
  /** Per expert: its place in `keys` if that belongs to the present demand. */
  const places = new Float64Array(experts).fill(-1);
  let end = 0;
  let demand = 0;
  for (const { tokens, chosen } of steps) {
    const ids = tokens * expertsPerToken;
    for (let layer = 0; layer < layers; layer++) {
      const begin = end;
      for (let i = layer * ids; i < (layer + 1) * ids; i++) {
        const expert = chosen[i]!;
        if (places[expert]! < begin) {
          places[expert] = end;
          keys[end++] = layer * experts + expert;
        }
        uses[places[expert]!]!++;
      }
      begins[++demand] = end;
    }
  }
  return { layers, experts, keys: keys.subarray(0, end), uses, begins, steps };
}
