/** This project's library, as anyone would use it. */
import { type AdapterChoice, type LoadOptions, loadModel, type Model } from '../../src/node.ts';
import { type Timing, timed } from './measure.ts';
import { serve } from './side.ts';

let model: Model;

const methods = {
  /** Loads a model; answers the size of its vocabulary. */
  async open(
    file: string,
    options: Pick<LoadOptions, 'context' | 'activations'> & { adapter?: AdapterChoice },
  ): Promise<number> {
    model = await loadModel(file, options);
    return model.config.vocabSize;
  },

  /** Evaluates a prompt at once. */
  async prompt(tokens: readonly number[]): Promise<Timing> {
    return timed(() => model.logits(tokens));
  },

  /**
   * Decodes: evaluates a token, then the likeliest one after it, and so on.
   * @returns the time of it all, and the tokens evaluated: `count`, or fewer if the model ended its answer
   */
  async decode(first: number, count: number): Promise<{ timing: Timing; tokens: number[] }> {
    let answer: number[] = [];
    const timing = await timed(async () => {
      answer = await greedy([first], count);
    });
    // The last token of an answer is not evaluated; the one that ends it is not in the answer.
    const ended = answer.length < count;
    return { timing, tokens: [first, ...(ended ? answer : answer.slice(0, -1))] };
  },

  /** The likeliest answer, of `count` tokens at most. */
  greedy,

  /** Logits after the last token of `prompt` and after each one of `answer` but the last. */
  async logits(prompt: readonly number[], answer: readonly number[]): Promise<Float32Array[]> {
    const tokens = [...prompt, ...answer.slice(0, -1)];
    const every = await model.logits(tokens, { every: true });
    const { vocabSize } = model.config;
    return answer.map((_, i) => {
      const at = (prompt.length - 1 + i) * vocabSize;
      return every.slice(at, at + vocabSize);
    });
  },
};

export type MowgliModelSide = typeof methods;
serve(methods);

async function greedy(prompt: readonly number[], count: number): Promise<number[]> {
  const plain = { temperature: 0, repetitionPenalty: 1, presencePenalty: 0, frequencyPenalty: 0 };
  for await (const part of model.generate(
    { tokens: prompt },
    { ...plain, reuse: false, maxTokens: count },
  )) {
    if (part.type === 'end') return [...part.tokens];
  }
  throw new Error('the generation ended without an end'); // which its type leaves open
}
