import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Usage } from '../index.ts';
import type { CancelReason } from './client.ts';
import type { FairQueue } from './fair-queue.ts';
import type { ServedModel } from './served-model.ts';

const secondBuckets = [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000];

/** What a Prometheus server is told of a server and its model. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #requests = this.#counter(
    'http_requests_total',
    'Requests answered, by route and status; 499: the client did not wait for the answer.',
    ['method', 'route', 'status'],
  );
  readonly #cancelled = this.#counter('requests_cancelled_total', 'Answers cut short.', ['reason']);
  readonly #incompleteCalls = this.#counter(
    'incomplete_tool_calls_total',
    'Calls of tools that the model began, and that were cut off or damaged.',
  );
  readonly #prompt = this.#counter('prompt_tokens_total', 'Tokens of prompts.');
  readonly #cached = this.#counter(
    'cached_prompt_tokens_total',
    'Tokens of prompts that did not have to be evaluated again.',
  );
  readonly #generated = this.#counter('generated_tokens_total', 'Tokens generated.');
  readonly #queueWait = this.#histogram('queue_wait_seconds', 'Waiting for the model.');
  readonly #firstPart = this.#histogram(
    'time_to_first_token_seconds',
    'From a request to the first part of its answer, the wait in the queue included.',
  );
  readonly #perToken = this.#histogram(
    'time_per_token_seconds',
    'Mean time of the tokens of an answer after its first.',
    [0.003, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 3, 10],
  );

  constructor(model: ServedModel, queue: FairQueue) {
    processRegistry(); // It observes from now on.
    this.#gauge('queue_depth', 'Requests that wait.', () => queue.size);
    this.#gauge('generating', 'Requests that are being answered: 0 or 1.', () =>
      Number(queue.busy),
    );
    this.#gauge('gpu_bytes', 'GPU memory in use.', () => model.memory().gpuBytes);
    this.#gauge('gpu_peak_bytes', 'The most GPU memory in use.', () => model.memory().gpuPeakBytes);
    this.#gauge('prefix_cache_bytes', 'Host memory in use for earlier prompts.', () => {
      return model.prefixCacheUse().bytes;
    });
    this.#total('expert_hits_total', 'Experts needed, and on the GPU already.', () => {
      return model.expertUsage().hits;
    });
    this.#total('expert_misses_total', 'Experts needed, and brought first.', () => {
      return model.expertUsage().misses;
    });
    this.#total('expert_file_bytes_total', 'Bytes of experts read from files.', () => {
      return model.expertUsage().bytesFromFiles;
    });
    this.#total('expert_host_bytes_total', 'Bytes of experts taken from host memory.', () => {
      return model.expertUsage().bytesFromHost;
    });
    this.#total('expert_uploaded_bytes_total', 'Bytes of experts uploaded to the GPU.', () => {
      return model.expertUsage().bytesUploaded;
    });
  }

  readonly contentType = this.#registry.contentType;

  /** All of it as text, with what is known of the process. */
  async text(): Promise<string> {
    const [own, process] = await Promise.all([
      this.#registry.metrics(),
      processRegistry().metrics(),
    ]);
    return `${own}\n${process}`;
  }

  answered(method: string, route: string, status: number): void {
    this.#requests.inc({ method, route, status });
  }

  cancelled(reason: CancelReason): void {
    this.#cancelled.inc({ reason });
  }

  waited(ms: number): void {
    this.#queueWait.observe(ms / 1000);
  }

  began(ms: number): void {
    this.#firstPart.observe(ms / 1000);
  }

  generated(usage: Usage, incompleteCalls: number): void {
    const { promptTokens, cachedTokens, completionTokens, completionMs } = usage;
    this.#prompt.inc(promptTokens);
    this.#cached.inc(cachedTokens);
    this.#generated.inc(completionTokens);
    this.#incompleteCalls.inc(incompleteCalls);
    if (completionTokens > 1) this.#perToken.observe(completionMs / 1000 / (completionTokens - 1));
  }

  #counter<T extends string>(name: string, help: string, labelNames: readonly T[] = []) {
    return new Counter({ ...this.#named(name, help), labelNames });
  }

  #histogram(name: string, help: string, buckets = secondBuckets) {
    return new Histogram({ ...this.#named(name, help), buckets });
  }

  #gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      ...this.#named(name, help),
      collect() {
        this.set(read());
      },
    });
  }

  /** A counter that somebody else keeps. */
  #total(name: string, help: string, read: () => number): void {
    new Counter({
      ...this.#named(name, help),
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  }

  #named(name: string, help: string) {
    return { name: `mowgli_${name}`, help, registers: [this.#registry] };
  }
}

let ofProcess: Registry | undefined;

/** Memory, CPU time, event loop ...: one for all servers, since its observers cannot be taken away. */
function processRegistry(): Registry {
  if (!ofProcess) {
    ofProcess = new Registry();
    collectDefaultMetrics({ register: ofProcess });
  }
  return ofProcess;
}
