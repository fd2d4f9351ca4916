import type { CostCurve } from './cost-model.js';

/** A run that was measured. */
export interface CostPoint {
  /** Texts of the run. */
  readonly texts: number;
  /** Tokens that each was padded to. */
  readonly length: number;
  /** What the session took, in milliseconds, above 0. */
  readonly ms: number;
}

/** The terms of the curve at a point, in the order of `CostCurve`. */
function termsOf({ texts, length }: CostPoint): readonly number[] {
  const tokens = texts * length;
  return [1, texts, tokens, tokens * length, tokens * tokens];
}

const TERMS = 5;

/**
 * Fits a curve to what was measured, by least squares of the relative error with no coefficient below 0: a short run counts
 * as much as a long one, and more texts or tokens never cost less.
 *
 * @throws RangeError when there is no point, or one that is not a run.
 */
export function fitCostCurve(points: readonly CostPoint[]): CostCurve {
  if (points.length === 0) throw new RangeError('no run was measured');
  for (const { texts, length, ms } of points) {
    if (!(texts >= 1 && length >= 1 && ms > 0 && ms < Infinity)) throw new RangeError('a measured run is not a run');
  }
  const rows = points.map((point) => termsOf(point).map((term) => term / point.ms));
  const [perRun = 0, perText = 0, perToken = 0, perPair = 0, crowding = 0] = fitNonNegative(rows);
  return { perRun, perText, perToken, perPair, crowding };
}

/** How far a curve is from what was measured: the root of the mean square of the relative error. */
export function relativeError(curve: CostCurve, points: readonly CostPoint[]): number {
  const coefficients = [curve.perRun, curve.perText, curve.perToken, curve.perPair, curve.crowding];
  const sum = points.reduce((total, point) => total + (dot(termsOf(point), coefficients) / point.ms - 1) ** 2, 0);
  return Math.sqrt(sum / points.length);
}

/** The x ≥ 0 for which rows · x is nearest to all ones: of every choice of terms that are above 0, the best that is valid. */
function fitNonNegative(rows: readonly (readonly number[])[]): readonly number[] {
  let best: readonly number[] = new Array<number>(TERMS).fill(0);
  let least = Infinity;
  for (let chosen = 1; chosen < 1 << TERMS; chosen++) {
    const columns = [...Array(TERMS).keys()].filter((column) => chosen & (1 << column));
    const solution = leastSquares(rows.map((row) => columns.map((column) => row[column] ?? 0)));
    if (!solution?.every((value) => value >= 0)) continue;
    const x = [...Array(TERMS).keys()].map((column) => solution[columns.indexOf(column)] ?? 0);
    const error = rows.reduce((sum, row) => sum + (dot(row, x) - 1) ** 2, 0);
    if (error < least) [best, least] = [x, error];
  }
  return best;
}

/** Solves the normal equations of rows · x = 1; undefined when the columns are not independent. */
function leastSquares(rows: readonly (readonly number[])[]): readonly number[] | undefined {
  const size = rows[0]?.length ?? 0;
  // Columns differ by many powers of ten, so each is scaled to length 1 first.
  const scales = [...Array(size).keys()].map((column) => Math.hypot(...rows.map((row) => row[column] ?? 0)));
  const scaled = rows.map((row) => row.map((value, column) => value / (scales[column] ?? 1)));
  const equations = scales.map((_, i) => [
    ...scales.map((__, j) => scaled.reduce((sum, row) => sum + (row[i] ?? 0) * (row[j] ?? 0), 0)),
    scaled.reduce((sum, row) => sum + (row[i] ?? 0), 0),
  ]);
  return solve(equations)?.map((value, column) => value / (scales[column] ?? 1));
}

/** Gaussian elimination of `[A | b]` with the largest pivot; undefined when A is as good as singular. */
function solve(equations: number[][]): readonly number[] | undefined {
  const size = equations.length;
  for (let column = 0; column < size; column++) {
    const rest = equations.slice(column).sort((a, b) => Math.abs(b[column] ?? 0) - Math.abs(a[column] ?? 0));
    equations.splice(column, size - column, ...rest);
    const pivot = equations[column] ?? [];
    if (!(Math.abs(pivot[column] ?? 0) > 1e-9)) return undefined;
    equations.forEach((row, at) => {
      if (at === column) return;
      const factor = (row[column] ?? 0) / (pivot[column] ?? 1);
      for (let k = column; k <= size; k++) row[k] = (row[k] ?? 0) - factor * (pivot[k] ?? 0);
    });
  }
  return equations.map((row, at) => (row[size] ?? 0) / (row[at] ?? 1));
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, value, at) => sum + value * (b[at] ?? 0), 0);
}
