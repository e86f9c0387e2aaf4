/**
 * The few messages of ONNX's protobuf schema (onnx.proto3) that a model of `MatMulNBits` nodes takes,
 * written by hand: a dependency for them would be larger than this file.
 */

/** One field of a message, encoded. */
type Field = Uint8Array;

/** A weight matrix as `MatMulNBits` has it: 4 bits, blocks of 32 along a row, no zero points. */
export interface NBitsWeight {
  /** [rows, columns / 32, 16]: value 2j of a block in the low nibble of byte j, 2j + 1 in the high. */
  readonly nibbles: Uint8Array;
  /** [rows, columns / 32] */
  readonly scales: Float32Array;
}

export interface NBitsModel {
  readonly weights: readonly NBitsWeight[];
  /** Rows and columns of each weight: the operator's N and K. */
  readonly rows: number;
  readonly columns: number;
  /** Rows of the input: the operator's M. */
  readonly tokens: number;
  /** 0 leaves the arithmetic to onnxruntime, 4 asks for activations in int8. */
  readonly accuracyLevel: 0 | 4;
  /** Each product's result is the next one's input, instead of all having the same input. */
  readonly chained: boolean;
}

/** Elements of a block, of which each has a scale. */
export const blockElements = 32;

const float = 1; // TensorProto.DataType
const uint8 = 2;
const int = 2; // AttributeProto.AttributeType
const irVersion = 8;
const opset = 17;

/** An ONNX model with input `x` and output `y`, or `y0`, `y1` ... where products are not chained. */
export function nBitsModel(model: NBitsModel): Uint8Array {
  const { weights, rows, columns, tokens, chained } = model;
  const last = weights.length - 1;
  const outputOf = (i: number) => (chained ? (i === last ? 'y' : `h${i}`) : `y${i}`);
  const inputOf = (i: number) => (chained && i > 0 ? outputOf(i - 1) : 'x');
  const attribute = (name: string, value: number) =>
    message(5, [text(1, name), varint(3, value), varint(20, int)]);
  const nodes = weights.map((_, i) =>
    message(1, [
      ...[inputOf(i), `nibbles${i}`, `scales${i}`].map((name) => text(1, name)),
      text(2, outputOf(i)),
      text(3, `product${i}`),
      text(4, 'MatMulNBits'),
      attribute('K', columns),
      attribute('N', rows),
      attribute('bits', 4),
      attribute('block_size', blockElements),
      attribute('accuracy_level', model.accuracyLevel),
      text(7, 'com.microsoft'),
    ]),
  );
  const blocks = columns / blockElements;
  const initializers = weights.flatMap(({ nibbles, scales }, i) => [
    tensor(`nibbles${i}`, uint8, [rows, blocks, blockElements / 2], nibbles),
    tensor(`scales${i}`, float, [rows * blocks], bytesOf(scales)),
  ]);
  const outputs = chained ? ['y'] : weights.map((_, i) => outputOf(i));
  return join([
    varint(1, irVersion),
    message(7, [
      ...nodes,
      text(2, 'products'),
      ...initializers,
      valueInfo(11, 'x', [tokens, columns]),
      ...outputs.map((name) => valueInfo(12, name, [tokens, rows])),
    ]),
    message(8, [text(1, ''), varint(2, opset)]),
    message(8, [text(1, 'com.microsoft'), varint(2, 1)]),
  ]);
}

function tensor(name: string, type: number, dims: readonly number[], data: Uint8Array): Field {
  return message(5, [
    ...dims.map((dim) => varint(1, dim)),
    varint(2, type),
    text(8, name),
    lengthDelimited(9, [data]),
  ]);
}

/** What ONNX says of a graph's input or output: its name, type (f32) and shape. */
function valueInfo(field: number, name: string, shape: readonly number[]): Field {
  const dims = shape.map((size) => message(1, [varint(1, size)]));
  const tensorType = message(1, [varint(1, float), message(2, dims)]);
  return message(field, [text(1, name), message(2, [tensorType])]);
}

function varint(field: number, value: number): Field {
  return join([encodeVarint(field << 3), encodeVarint(value)]);
}

function text(field: number, value: string): Field {
  return lengthDelimited(field, [new TextEncoder().encode(value)]);
}

function message(field: number, fields: readonly Field[]): Field {
  return lengthDelimited(field, fields);
}

function lengthDelimited(field: number, parts: readonly Uint8Array[]): Field {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  return join([encodeVarint((field << 3) | 2), encodeVarint(length), ...parts]);
}

function encodeVarint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  bytes.push(rest);
  return Uint8Array.from(bytes);
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
