/**
 * Mowgli: Mixture-of-Experts language models on WebGPU. This module is platform-neutral; `node.ts`
 * adds what Node has: files and Dawn.
 */
export { type ErrorCode, MowgliError } from './errors.ts';
export type { ByteFolder, ByteSource } from './files/byte-source.ts';
export { MemoryFolder, MemorySource } from './files/memory.ts';
export type { ModelConfig, YarnConfig } from './files/model-config.ts';
export { type ModelSource, openModel } from './files/open-model.ts';
export type { EvaluateOptions } from './generate/engine.ts';
export { type AdapterInfo, type MemoryUse, Model } from './generate/model.ts';
export type { RenderChatOptions } from './generate/text.ts';
export type {
  ChatMessage,
  FinishReason,
  GenerateOptions,
  GeneratePart,
  LoadProgress,
  Prompt,
  SamplingOptions,
  StopOptions,
  Usage,
} from './generate/types.ts';
export { type LoadOptions, loadModelOn } from './load.ts';
export type { MemoryNeeds } from './memory-needs.ts';
export {
  type ChatTemplateReport,
  describeModel,
  type ModelReport,
  type TensorGroup,
  type TensorSum,
  type TokenizerReport,
} from './model-report.ts';
