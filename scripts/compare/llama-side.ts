/** llama.cpp through node-llama-cpp: on the CPU, or by its Vulkan backend on a GPU. */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Timing, timed } from './measure.ts';
import { serve } from './side.ts';

/** The part of node-llama-cpp used here. */
interface NodeLlamaCpp {
  getLlama(options: object): Promise<Llama>;
  readonly LlamaLogLevel: { readonly error: string };
}

interface Llama {
  readonly gpu: 'vulkan' | 'cuda' | 'metal' | false;
  getGpuDeviceNames(): Promise<string[]>;
  loadModel(options: object): Promise<LlamaModel>;
}

interface LlamaModel {
  createContext(options: object): Promise<{ getSequence(): LlamaSequence }>;
}

/** A token, with or without a question about what comes after it. */
type Evaluated = number | [number, typeof best | typeof logits];

interface LlamaSequence {
  clearHistory(): Promise<void>;
  controlledEvaluate(
    tokens: readonly Evaluated[],
  ): Promise<(undefined | { next: { logits?: Map<number, number> } })[]>;
}

export interface LlamaOptions {
  /** Folder in which node-llama-cpp is installed. */
  readonly peers: string;
  readonly file: string;
  readonly gpu: false | 'vulkan';
  readonly threads: number;
  readonly context: number;
}

const best = { generateNext: { token: true, options: { temperature: 0 } } } as const;
const logits = { generateNext: { logits: true } } as const;

let sequence: LlamaSequence;

const methods = {
  /** Loads a model, wholly onto the GPU if there is to be one; answers what it runs on. */
  async open({ peers, file, gpu, threads, context }: LlamaOptions): Promise<string> {
    const entry = createRequire(join(peers, 'package.json')).resolve('node-llama-cpp');
    const { getLlama, LlamaLogLevel }: NodeLlamaCpp = await import(pathToFileURL(entry).href);
    const llama = await getLlama({
      gpu,
      build: 'never',
      skipDownload: true,
      progressLogs: false,
      maxThreads: threads,
      logLevel: LlamaLogLevel.error,
      ...(gpu && { vramPadding: 0 }),
    });
    const devices = gpu ? await llama.getGpuDeviceNames() : [];
    // It would silently run on the CPU instead.
    if (gpu && (llama.gpu !== gpu || devices.length === 0)) {
      throw new Error('llama.cpp found no Vulkan device; see what `vulkaninfo --summary` says');
    }
    const model = await llama.loadModel({
      modelPath: file,
      gpuLayers: gpu ? 'max' : 0,
      ignoreMemorySafetyChecks: true,
    });
    const llamaContext = await model.createContext({
      contextSize: context,
      batchSize: 512,
      threads,
      ignoreMemorySafetyChecks: true,
    });
    sequence = llamaContext.getSequence();
    return devices.join(', ');
  },

  /** Evaluates a prompt at once. */
  async prompt(tokens: readonly number[]): Promise<Timing> {
    await sequence.clearHistory();
    return timed(() =>
      sequence.controlledEvaluate([...tokens.slice(0, -1), [tokens.at(-1)!, best]]),
    );
  },

  /** Evaluates tokens one after the other, from the beginning. */
  async decode(tokens: readonly number[]): Promise<Timing> {
    await sequence.clearHistory();
    return timed(async () => {
      for (const token of tokens) await sequence.controlledEvaluate([[token, best]]);
    });
  },

  /** Logits after the last token of `prompt` and after each one of `answer` but the last. */
  async logits(prompt: readonly number[], answer: readonly number[]): Promise<Float32Array[]> {
    await sequence.clearHistory();
    const asked = [prompt.at(-1)!, ...answer.slice(0, -1)];
    const results = await sequence.controlledEvaluate([
      ...prompt.slice(0, -1),
      ...asked.map((token): Evaluated => [token, logits]),
    ]);
    return results.slice(-asked.length).map((result) => {
      const found = result!.next.logits!;
      const values = new Float32Array(found.size);
      for (const [token, value] of found) values[token] = value;
      return values;
    });
  },
};

export type LlamaSide = typeof methods;
serve(methods);
