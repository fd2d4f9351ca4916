import { ServiceError, type JobOutput } from '@sluice/contracts';
import type { TextModel } from './model.js';

/** How many labels a classification reports for each text. */
export const TOP_LABELS = 5;

/**
 * Turns what a session returned for texts into the output of a job.
 *
 * @param rows float32 `[batch, dimensions]`, row-major, in the order of the texts.
 * @throws ServiceError `inference_failed` when the shape is not that or a number is not finite.
 */
export function decodeOutput(model: TextModel, rows: Float32Array, batch: number): JobOutput {
  const { task, output, labels = [] } = model.file;
  const { dimensions } = output;
  if (rows.length !== batch * dimensions) {
    throw new ServiceError(
      'inference_failed',
      `The model returned ${rows.length} numbers for ${batch} texts of ${dimensions}`,
    );
  }
  if (!rows.every(Number.isFinite)) {
    throw new ServiceError('inference_failed', 'The model returned numbers that are not finite');
  }
  const each = Array.from({ length: batch }, (_, row) => rows.subarray(row * dimensions, (row + 1) * dimensions));
  switch (task) {
    case 'embedding':
      return { task, dimensions, embeddings: each.map(toBase64) };
    case 'text-classification':
      return { task, classifications: each.map((scores) => bestLabels(scores, labels)) };
    default:
      return task satisfies never;
  }
}

/** n.b. memory order; every platform that ONNX Runtime supports is little-endian. */
function toBase64(row: Float32Array): string {
  return Buffer.from(row.buffer, row.byteOffset, row.byteLength).toString('base64');
}

/** Best first; of equal scores the earlier label. */
function bestLabels(scores: Float32Array, labels: readonly string[]): { label: string; score: number }[] {
  return labels
    .map((label, column) => ({ label, score: Math.min(1, Math.max(0, scores[column] ?? 0)) }))
    .sort((a, b) => b.score - a.score)
    .slice(0, TOP_LABELS);
}
