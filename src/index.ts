/**
 * Mowgli: Mixture-of-Experts language models on WebGPU. This module is platform-neutral; `node.ts`
 * adds what Node has: files and Dawn.
 */
export { expertHeatmap, type HeatmapOptions } from './charts/expert-heatmap.ts';
export { hitRatePlot, type PlottedSimulation } from './charts/hit-rate-plot.ts';
export { type ErrorCode, MowgliError } from './errors.ts';
export type { ExpertUsage, LayerWaits } from './experts/expert-use.ts';
export {
  defaultPolicy,
  describePolicy,
  type PolicyName,
  policyNames,
} from './experts/policy.ts';
export type { PredictionResult, PredictionScore, Predictor } from './experts/prediction.ts';
export {
  type CacheResult,
  type HitCount,
  type SimulateOptions,
  type Simulation,
  simulate,
} from './experts/simulate.ts';
export {
  encodeTraceHeader,
  encodeTraceStep,
  readTrace,
  type StepKind,
  type Trace,
  type TracedStep,
  type TraceModel,
  type TraceStep,
} from './experts/trace-file.ts';
export type { ByteFolder, ByteSource } from './files/byte-source.ts';
export { MemoryFolder, MemorySource } from './files/memory.ts';
export type { ModelConfig, YarnConfig } from './files/model-config.ts';
export { type ModelSource, openModel } from './files/open-model.ts';
export type { SyntheticOptions, SyntheticTypes } from './files/synthetic.ts';
export { type ConfigFiles, type SyntheticModel, syntheticModel } from './files/synthetic-model.ts';
export {
  type ChatOptions,
  ChatSession,
  type SendOptions,
} from './generate/chat-session.ts';
export type { TokenConstraint } from './generate/constraint.ts';
export type { EvaluateOptions, LogitsVisitor } from './generate/engine.ts';
export { type AdapterInfo, type MemoryUse, Model } from './generate/model.ts';
export type { PrefixCacheUse } from './generate/prefix-cache.ts';
export type {
  AssistantMessage,
  RespondEnd,
  RespondEvent,
  RespondOptions,
  RespondPart,
  ToolCall,
} from './generate/respond.ts';
export type { ByteSink } from './generate/session-file.ts';
export type { RenderChatOptions } from './generate/text.ts';
export type {
  ChatMessage,
  FinishReason,
  GeneratedLogprob,
  GenerateOptions,
  GeneratePart,
  LoadProgress,
  Prompt,
  SamplingOptions,
  StopOptions,
  TokenLogprob,
  Usage,
} from './generate/types.ts';
export type { TuningStore } from './gpu/tuning.ts';
export type { ConstraintRequest, ResponseFormat, ToolChoice } from './grammar/request.ts';
export { type LoadOptions, loadModelOn, type TuningMode } from './load.ts';
export type { ReadAhead, Routing } from './model/forward-pass.ts';
export type { MemoryNeeds } from './model/memory-needs.ts';
export {
  type ChatTemplateReport,
  describeModel,
  type ModelReport,
  type TensorGroup,
  type TensorSum,
  type TokenizerReport,
} from './model-report.ts';
export {
  type HostFacts,
  type Plan,
  type PlannedSpeed,
  type PlanOptions,
  type PlanProgress,
  planOn,
} from './plan.ts';
export type { Advice, Change, Forecast } from './planner/forecast.ts';
export { type StatedMachine, statedDefaults } from './planner/stated-machine.ts';
export type { ChatTemplateSource } from './text/chat-template.ts';
export type { ParsedToolCall, ParsedTurn, TurnEvent } from './text/tool-calls/events.ts';
export {
  createToolCallParser,
  parseTurn,
  type ToolCallFormat,
  type ToolCallParser,
  type ToolCallParserOptions,
  toolCallFormat,
} from './text/tool-calls/parser.ts';
export { type TuneOptions, type TuneReport, type TuneResult, tuneOn } from './tune.ts';
