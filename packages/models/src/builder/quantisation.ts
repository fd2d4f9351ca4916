/** A matrix as int8 with a float32 scale for each row or each column: `value ≈ quantised × scale`. */
export interface QuantisedMatrix {
  /** int8 `[rows, columns]`, row-major. */
  readonly values: Int8Array;
  /** float32 `[rows]` or `[columns]`. */
  readonly scales: Float32Array;
}

/** The largest magnitude of a quantised number; −128 is left out, so that zero stays zero. */
const RANGE = 127;

/** One scale for each row, for tables whose rows are looked up. `matrix` is row-major with `columns` columns. */
export function quantiseRows(matrix: Float32Array, columns: number): QuantisedMatrix {
  const scales = new Float32Array(matrix.length / columns);
  matrix.forEach((value, index) => raise(scales, Math.floor(index / columns), Math.abs(value)));
  return { values: divide(matrix, (index) => scales[Math.floor(index / columns)]), scales };
}

/**
 * One scale for each column, for the right side of MatMulInteger.
 *
 * n.b. x86-64 without VNNI sums the products of two neighbours of a column (rows 2k and 2k+1) with unsigned bytes in
 * 16 bits, saturating. So the two magnitudes together stay within 128, as 255 × 128 fits, and every machine computes
 * the same integers. On the bundled model this costs less accuracy than the usual way out, seven bits for all.
 */
export function quantiseColumns(matrix: Float32Array, columns: number): QuantisedMatrix {
  const scales = new Float32Array(columns);
  const magnitude = (index: number): number => Math.abs(matrix[index] ?? 0);
  for (let index = 0; index < matrix.length; index++) {
    const isFirstOfPair = Math.floor(index / columns) % 2 === 0;
    if (isFirstOfPair) raise(scales, index % columns, magnitude(index) + magnitude(index + columns));
  }
  return { values: divide(matrix, (index) => scales[index % columns]), scales };
}

/** Raises a scale so that `magnitude` becomes at most `RANGE`. */
function raise(scales: Float32Array, at: number, magnitude: number): void {
  scales[at] = Math.max(scales[at] ?? 0, magnitude / RANGE);
}

/** Rounds to the nearest; a scale of 0 means that all its numbers are 0. */
function divide(matrix: Float32Array, scaleOf: (index: number) => number | undefined): Int8Array {
  const values = new Int8Array(matrix.length);
  // n.b. a plain loop: Int8Array.from with a mapping took most of a second here.
  for (let index = 0; index < matrix.length; index++) {
    values[index] = Math.round((matrix[index] ?? 0) / (scaleOf(index) || 1));
  }
  return values;
}
