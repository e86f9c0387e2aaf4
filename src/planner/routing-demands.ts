import { MowgliError } from '../errors.ts';
import { scorePredictions } from '../experts/prediction.ts';
import { type Demands, demandsOf } from '../experts/trace-demand.ts';
import type { Trace } from '../experts/trace-file.ts';
import type { ModelConfig } from '../files/model-config.ts';

/** Which experts tokens are expected to need. */
export interface ExpectedRouting {
  readonly demands: Demands;
  /** Steps from this one on count; those before fill the caches. */
  readonly firstStep: number;
  /** Share of a layer's experts that the router foretells from the layer before. */
  readonly recall: number;
  /** Where this comes from: a run, or an assumption. */
  readonly source: 'trace' | 'assumed';
}

/**
 * What is assumed of a model's routing without a trace, after traces of trained models: so large a
 * share of a token's experts were the last token's, too; the others are drawn with chances that fall
 * as a power of their rank in the layer; and so many are foretold by the router one layer early.
 */
export const assumedRouting = { repeated: 0.35, popularity: 0.6, recall: 0.7 } as const;

/** Tokens that fill the caches, and tokens that count. */
const warmUpTokens = 256;
const countedTokens = 64;

/** @throws MowgliError `OPTION_INVALID` when the trace is another model's, or has no decoded token */
export function routingOfTrace(trace: Trace, config: ModelConfig): ExpectedRouting {
  const { model, steps } = trace;
  const sparse = config.sparseLayers.flatMap((is, layer) => (is ? [layer] : []));
  const same =
    model.experts === config.numExperts &&
    model.expertsPerToken === config.numExpertsPerTok &&
    String(model.sparseLayers) === String(sparse);
  if (!same) {
    throw new MowgliError(
      'OPTION_INVALID',
      `the trace is of ${model.name || 'a model'} with ${model.sparseLayers.length} layers of ` +
        `${model.experts} experts, and the model has ${sparse.length} of ${config.numExperts}; ` +
        'give a trace of this model',
    );
  }
  const firstStep = steps.findIndex(({ kind }) => kind === 'decode');
  if (firstStep < 0) {
    throw new MowgliError(
      'OPTION_INVALID',
      'the trace has no decoded token; trace a run that generates something',
    );
  }
  const router = scorePredictions(trace).find(
    ({ predictor }) => predictor.kind === 'router' && predictor.depth === 1,
  );
  const recall =
    router && router.decode.needed > 0
      ? router.decode.right / router.decode.needed
      : assumedRouting.recall;
  return { demands: demandsOf(trace), firstStep, recall, source: 'trace' };
}

/** Makes up the routing of a run by `assumedRouting`: the same each time. */
export function assumeRouting(config: ModelConfig): ExpectedRouting {
  const layers = config.sparseLayers.filter(Boolean).length;
  const { numExperts: experts, numExpertsPerTok: topK } = config;
  const tokens = layers === 0 ? 1 : warmUpTokens + countedTokens;
  const keys = new Int32Array(tokens * layers * topK);
  const begins = Float64Array.from({ length: tokens * layers + 1 }, (_, d) => d * topK);
  let state = 1;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  /** By rank, the sum of all chances up to it. */
  const chances: number[] = [];
  let total = 0;
  for (let rank = 1; rank <= experts; rank++) {
    total += rank ** -assumedRouting.popularity;
    chances.push(total);
  }
  /** By layer, experts by rank. */
  const ranked = Array.from({ length: layers }, () => shuffled(experts, random));
  for (let token = 0; token < tokens; token++) {
    for (let layer = 0; layer < layers; layer++) {
      const at = (token * layers + layer) * topK;
      const chosen = new Set<number>();
      for (let i = 0; token > 0 && i < topK; i++) {
        if (random() < assumedRouting.repeated) {
          chosen.add(keys[at - layers * topK + i] - layer * experts);
        }
      }
      while (chosen.size < topK) {
        const wanted = random() * total;
        chosen.add(ranked[layer][chances.findIndex((sum) => sum >= wanted)]);
      }
      keys.set(
        Array.from(chosen, (expert) => layer * experts + expert),
        at,
      );
    }
  }
  return {
    demands: {
      layers,
      experts,
      keys,
      uses: new Uint32Array(keys.length).fill(1),
      begins,
      steps: Array.from({ length: tokens }, () => ({ kind: 'decode' as const, tokens: 1 })),
    },
    firstStep: Math.min(warmUpTokens, tokens - 1),
    recall: assumedRouting.recall,
    source: 'assumed',
  };
}

function shuffled(count: number, random: () => number): number[] {
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}
