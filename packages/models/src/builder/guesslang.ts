import { fingerprint64 } from './farmhash.js';
import { CAST_TO_FLOAT32, createOnnxGraph, type OnnxGraph, type Value } from './onnx-graph.js';
import type { TfjsWeights, Weight } from './tfjs-weights.js';

/**
 * Guesslang: a wide and deep classifier over the byte pairs of a source text.
 *
 * ```
 * input_ids [B,T] bytes ─▶ pairs [B,T-1] ─▶ hash buckets 0–4999 ─┬▶ mean of 70-wide embeddings ─▶ 512 ─▶ 32 ─▶ 54 ─┐
 *                                                                 └▶ sum of 54-wide weights + bias ────────────────┴▶ softmax
 * ```
 * Source: the graph in `model.json` of @vscode/vscode-languagedetection, read node by node. It looks at the first
 * 10,000 pairs, that is 10,001 bytes.
 */

const BYTES = 256;
const BUCKETS = 5000n;
const LAST = 2 ** 31 - 1; // an end that Slice takes for "to the end"

/** The ONNX file of guesslang and the names of its classes, in the order of its output. */
export function convertGuesslang(weights: TfjsWeights): { readonly model: Buffer; readonly labels: readonly string[] } {
  const labels = weights.strings('head/predictions/class_string_lookup/Const');
  const graph = createOnnxGraph('guesslang');
  const ids = graph.input('input_ids', 'int64', ['batch', 'length']);
  const attentionMask = graph.input('attention_mask', 'int64', ['batch', 'length']);
  const buckets = addBuckets(graph, ids);
  // A pair counts when its second byte is not padding; [batch, pairs, 1].
  const mask = graph.op('Cast', [slice(graph, attentionMask, 1, LAST)], { to: CAST_TO_FLOAT32 });
  const pairs = { buckets, mask: graph.op('Unsqueeze', [mask, graph.integers(2)]) };

  const logits = graph.op('Add', [addDeep(graph, weights, pairs), addWide(graph, weights, pairs)]);
  graph.output(graph.op('Softmax', [logits], { axis: -1 }), 'probabilities', 'float32', ['batch', labels.length]);
  return { model: graph.build(), labels };
}

interface Pairs {
  /** int64 `[batch, pairs]`. */
  readonly buckets: Value;
  /** float32 `[batch, pairs, 1]`. */
  readonly mask: Value;
}

/**
 * The bucket of every possible pair of bytes, at index `256 × first + second`.
 *
 * The published model splits a text into bytes, but each piece passes through a decoder of UTF-8 on its way to the
 * hash, so every byte above 127 arrives there as the three bytes of U+FFFD. A pair is hashed as two such pieces with a
 * space between.
 */
export function pairBuckets(): BigInt64Array {
  const pieces = Array.from({ length: BYTES }, (_, byte) => Buffer.from(byte < 0x80 ? [byte] : [0xef, 0xbf, 0xbd]));
  const space = Buffer.from(' ');
  return BigInt64Array.from(
    pieces.flatMap((first) => pieces.map((second) => fingerprint64(Buffer.concat([first, space, second])) % BUCKETS)),
  );
}

function addBuckets(graph: OnnxGraph, ids: Value): Value {
  const table = graph.constant([BYTES * BYTES], pairBuckets());
  const firsts = graph.op('Mul', [slice(graph, ids, 0, -1), graph.integers(BYTES)]);
  return graph.op('Gather', [table, graph.op('Add', [firsts, slice(graph, ids, 1, LAST)])]);
}

/** float32 `[batch, labels]`: mean embedding of the pairs through three dense layers. */
function addDeep(graph: OnnxGraph, weights: TfjsWeights, pairs: Pairs): Value {
  const sum = addSum(graph, weights.find('content_embedding/embedding_weights'), pairs);
  const count = graph.op('ReduceSum', [pairs.mask, graph.integers(1)], { keepdims: 0 });
  const mean = graph.op('Div', [sum, graph.op('Max', [count, graph.scalar(1)])]);
  const dense = (input: Value, layer: string): Value => {
    const kernel = weights.find(`${layer}/kernel`);
    const bias = weights.find(`${layer}/bias`);
    return graph.op('Gemm', [input, graph.constant(kernel.shape, kernel.data), graph.constant(bias.shape, bias.data)]);
  };
  const first = graph.op('Relu', [dense(mean, 'dnn/hiddenlayer_0')]);
  const second = graph.op('Relu', [dense(first, 'dnn/hiddenlayer_1')]);
  return dense(second, 'dnn/logits');
}

/** float32 `[batch, labels]`: summed weights of the pairs. */
function addWide(graph: OnnxGraph, weights: TfjsWeights, pairs: Pairs): Value {
  const bias = weights.find('linear_model/bias_weights');
  const sum = addSum(graph, weights.find('linear_model/content/weights'), pairs);
  return graph.op('Add', [sum, graph.constant(bias.shape, bias.data)]);
}

/** Sums the rows of `table [5000, N]` that the pairs select: float32 `[batch, N]`; zero for a text of no pairs. */
function addSum(graph: OnnxGraph, table: Weight, { buckets, mask }: Pairs): Value {
  const rows = graph.op('Gather', [graph.constant(table.shape, table.data), buckets]);
  return graph.op('ReduceSum', [graph.op('Mul', [rows, mask]), graph.integers(1)], { keepdims: 0 });
}

/** `from … end` of axis 1. */
function slice(graph: OnnxGraph, value: Value, from: number, end: number): Value {
  return graph.op('Slice', [value, graph.integers(from), graph.integers(end), graph.integers(1)]);
}
