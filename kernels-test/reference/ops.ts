/**
 * Every operation of the forward pass on the CPU, written to be read, with float64 accumulation:
 * what each kernel is compared with. Arrays are row-major; the last axis is contiguous.
 */
export { type AttentionShape, attention, softmax } from './attention.ts';
export { add, dot, embedding, matmul } from './linear.ts';
export { type MlpWeights, mlp, moe, type Routing, routerTopK, swiglu } from './moe.ts';
export { addRmsNorm, rmsNorm } from './norm.ts';
export { applyRope, type HeadsAt, qkNormRope, type RopeTables, ropeTables } from './rope.ts';
export { argmax, topK } from './sampling.ts';
export { expectShape, type Values } from './values.ts';
