import { Random } from '../../kernels-test/random.ts';
import type { ActivationType } from '../../src/kernels/matrix.ts';
import type { Driver } from '../../src/node/dawn.ts';
import type { AdapterChoice } from '../../src/node.ts';
import { type Agreement, agreementOf } from './agreement.ts';
import type { LlamaOptions, LlamaSide } from './llama-side.ts';
import { divided, median, type Timing } from './measure.ts';
import type { MowgliModelSide } from './mowgli-model-side.ts';
import { driverEnvironment } from './peers.ts';
import { Side } from './side.ts';

/** How fast one side evaluated a prompt and decoded. */
export interface ModelResult {
  readonly side: string;
  readonly isOurs: boolean;
  readonly device: string;
  readonly promptTokens: number;
  readonly decodedTokens: number;
  /** Of one token of the prompt, and of decoding: medians over the rounds. */
  readonly prompt: Timing;
  readonly decode: Timing;
  /** What it makes of the tokens of our greedy answer, those before each given. */
  readonly agreement: Agreement;
}

export interface ModelReport {
  readonly file: string;
  readonly results: readonly ModelResult[];
  /** Sides that could not be measured, and why. */
  readonly failures: readonly string[];
}

export interface ModelComparison {
  readonly peers: string;
  readonly file: string;
  readonly driver: Driver;
  readonly adapter: AdapterChoice | undefined;
  readonly promptTokens: number;
  readonly decodedTokens: number;
  readonly rounds: number;
  /** Numbers of threads for llama.cpp on the CPU. */
  readonly threads: readonly number[];
  readonly vulkan: boolean;
  readonly say: (text: string) => void;
}

/** One way to run the model. */
interface Way {
  readonly name: string;
  readonly isOurs: boolean;
  readonly device: string;
  /** It takes minutes where others take seconds: measured once, with fewer tokens decoded. */
  readonly isSlow: boolean;
  prompt(tokens: readonly number[]): Promise<Timing>;
  /**
   * Evaluates tokens one after the other, from the beginning. The library chooses them itself, all but
   * the first; then the ones evaluated are told.
   */
  decode(tokens: readonly number[]): Promise<{ timing: Timing; tokens: readonly number[] }>;
  /** Logits after the prompt and after each one of `answer` but the last. */
  logits(prompt: readonly number[], answer: readonly number[]): Promise<Float32Array[]>;
  end(): Promise<void>;
}

interface Measured {
  readonly way: Way;
  readonly agreement: Agreement;
  /** Per token; one for each round. */
  readonly prompts: Timing[];
  readonly decodes: Timing[];
}

const slowDecodedTokens = 8;
/** For the comparison of results. */
const [greedyPrompt, greedyAnswer] = [24, 16];
/** Ids at the end of a vocabulary are for control tokens, which may be treated otherwise. */
const controlTokens = 300;

/** Compares a whole model, in alternation. */
export async function compareModel(comparison: ModelComparison): Promise<ModelReport> {
  const { file, promptTokens, decodedTokens, rounds, say } = comparison;
  const context = promptTokens + decodedTokens + greedyPrompt + greedyAnswer;
  const ways: Way[] = [];
  const failures: string[] = [];
  try {
    const { vocab, greedy } = await openMowgli('f32', comparison, context, ways);
    await openMowgli('int8', comparison, context, ways);
    const random = new Random('tokens');
    const tokens = (count: number) =>
      Array.from({ length: count }, () => random.below(Math.max(1, vocab - controlTokens)));
    const prompt = tokens(greedyPrompt);
    const answer = await greedy(prompt, greedyAnswer);
    const expected = await ways[0].logits(prompt, answer);
    const measured: Measured[] = [];
    const warmUp = async (way: Way) => {
      say(`${way.name}: warming up`);
      await way.prompt(tokens(promptTokens));
      await way.decode(tokens(2));
      const agreement = agreementOf(expected, await way.logits(prompt, answer));
      measured.push({ way, agreement, prompts: [], decodes: [] });
    };
    for (const way of ways) await warmUp(way);
    for (const options of llamaWays(comparison, context)) {
      say(`${llamaName(options)}: loading`);
      try {
        const way = await openLlama(options, comparison.driver);
        ways.push(way);
        await warmUp(way);
      } catch (error) {
        // The other sides are worth comparing without it.
        failures.push(error instanceof Error ? error.message : String(error));
      }
    }
    for (let round = 1; round <= rounds; round++) {
      // What one side chose to decode, the next ones decode, too: then experts are the same.
      let decoded: readonly number[] = tokens(decodedTokens);
      for (const { way, prompts, decodes } of measured) {
        if (way.isSlow && round > 1) continue;
        say(`${way.name}: round ${round} of ${way.isSlow ? 1 : rounds}`);
        prompts.push(divided(await way.prompt(tokens(promptTokens)), promptTokens));
        const wanted = way.isSlow ? decoded.slice(0, slowDecodedTokens) : decoded;
        const { timing, tokens: evaluated } = await way.decode(wanted);
        decodes.push(divided(timing, evaluated.length));
        if (!way.isSlow) decoded = evaluated;
      }
    }
    return {
      file,
      failures,
      results: measured.map(({ way, agreement, prompts, decodes }) => ({
        side: way.name,
        isOurs: way.isOurs,
        device: way.device,
        promptTokens,
        decodedTokens: way.isSlow ? Math.min(slowDecodedTokens, decodedTokens) : decodedTokens,
        prompt: median(prompts),
        decode: median(decodes),
        agreement,
      })),
    };
  } finally {
    for (const way of ways) await way.end();
  }
}

/** Loads the model into a side of this project, and adds its way to `ways`. */
async function openMowgli(
  activations: ActivationType,
  { file, adapter, driver, say }: ModelComparison,
  context: number,
  ways: Way[],
) {
  const name = `mowgli ${activations}`;
  say(`${name}: loading`);
  const side = new Side<MowgliModelSide>(name, 'mowgli-model-side.ts');
  ways.push({
    name,
    isOurs: true,
    device: driver.description,
    isSlow: false,
    prompt: (tokens) => side.call('prompt', tokens),
    decode: (tokens) => side.call('decode', tokens[0], tokens.length),
    logits: (prompt, answer) => side.call('logits', prompt, answer),
    end: () => side.end(),
  });
  const options = { context, activations, ...(adapter && { adapter }) };
  const vocab = await side.call('open', file, options);
  const greedy = (prompt: readonly number[], count: number) => side.call('greedy', prompt, count);
  return { vocab, greedy };
}

function llamaWays(comparison: ModelComparison, context: number): LlamaOptions[] {
  const { peers, file, threads, vulkan } = comparison;
  const shared = { peers, file, context };
  const ways: LlamaOptions[] = threads.map((count) => ({ ...shared, gpu: false, threads: count }));
  return vulkan ? [...ways, { ...shared, gpu: 'vulkan', threads: Math.max(...threads) }] : ways;
}

function llamaName({ gpu, threads }: LlamaOptions): string {
  return gpu ? 'llama.cpp Vulkan' : `llama.cpp CPU, ${threads} thread${threads > 1 ? 's' : ''}`;
}

async function openLlama(options: LlamaOptions, driver: Driver): Promise<Way> {
  const name = llamaName(options);
  const side = new Side<LlamaSide>(
    name,
    'llama-side.ts',
    options.gpu ? driverEnvironment(driver) : {},
  );
  try {
    const device = await side.call('open', options);
    return {
      name,
      isOurs: false,
      device: device || 'CPU',
      isSlow: options.gpu !== false && driver.isSoftware,
      prompt: (tokens) => side.call('prompt', tokens),
      decode: async (tokens) => ({ timing: await side.call('decode', tokens), tokens }),
      logits: (prompt, answer) => side.call('logits', prompt, answer),
      end: () => side.end(),
    };
  } catch (error) {
    await side.end();
    throw error;
  }
}
