import type { Model } from '../index.ts';

/** What the server asks of a model. */
export type ServedModel = Pick<
  Model,
  | 'name'
  | 'context'
  | 'hasTokenizer'
  | 'respond'
  | 'generate'
  | 'detokenize'
  | 'tokenBytes'
  | 'failure'
  | 'memory'
  | 'expertUsage'
  | 'prefixCacheUse'
> & { readonly config: Pick<Model['config'], 'vocabSize'> };

/**
 * Characters that the longest text has which could fit the model's context. What is longer need not be
 * cut into tokens to be refused, which would take all of a second per megabyte.
 */
export function mostCharacters(model: ServedModel): number {
  if (!model.hasTokenizer) return Number.POSITIVE_INFINITY;
  let longest = 0;
  for (let id = 0; id < model.config.vocabSize; id++) {
    try {
      longest = Math.max(longest, model.tokenBytes(id).length);
    } catch {
      break; // Behind the tokenizer's last token, the vocabulary is padding.
    }
  }
  return model.context * longest;
}
