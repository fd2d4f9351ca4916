import type { TextModelFile } from '@sluice/contracts';

/** How far the output of one text is from that of another version of the model. */
export interface OutputDifference {
  /** Greatest absolute difference of two numbers at the same place; NaN when a number is none. */
  readonly greatest: number;
  /** Of embeddings: the cosine of the angle between them, −1 … 1. Of two vectors of zeros 1, of one 0. */
  readonly cosine?: number;
  /** Of classifications: the best label of each version, the earlier one of equal scores. */
  readonly labels?: { readonly served: string; readonly shadow: string };
}

/**
 * Compares two rows of a model's output.
 *
 * @param served float32 `[dimensions]`, of the version that answered.
 * @param shadow the same of the other version.
 */
export function differenceOf(file: TextModelFile, served: Float32Array, shadow: Float32Array): OutputDifference {
  let [greatest, product, servedSquare, shadowSquare] = [0, 0, 0, 0];
  for (let at = 0; at < served.length; at += 1) {
    const [a, b] = [served[at] ?? 0, shadow[at] ?? 0];
    greatest = Math.max(greatest, Math.abs(a - b));
    product += a * b;
    servedSquare += a * a;
    shadowSquare += b * b;
  }
  if (file.task === 'text-classification') {
    return { greatest, labels: { served: bestLabel(file, served), shadow: bestLabel(file, shadow) } };
  }
  return { greatest, cosine: cosineOf(product, servedSquare, shadowSquare) };
}

/** Whether versions agree: no number is further off than the tolerance, and the best label is the same. */
export function isAgreement({ greatest, labels }: OutputDifference, tolerance: number): boolean {
  return greatest <= tolerance && labels?.served === labels?.shadow;
}

/** From the product of two vectors and those of each with itself. n.b. with one root, equal vectors come to exactly 1. */
function cosineOf(product: number, a: number, b: number): number {
  if (a === 0 || b === 0) return a === b ? 1 : 0;
  return Math.min(1, Math.max(-1, product / Math.sqrt(a * b)));
}

function bestLabel({ labels = [] }: TextModelFile, scores: Float32Array): string {
  let best = 0;
  for (let at = 1; at < scores.length; at += 1) if ((scores[at] ?? 0) > (scores[best] ?? 0)) best = at;
  return labels[best] ?? '';
}
