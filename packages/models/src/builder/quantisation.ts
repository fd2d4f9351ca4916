/** A matrix as int8 with a float32 scale for each row or each column: `value ≈ quantised × scale`. */
export interface QuantisedMatrix {
  /** int8 `[rows, columns]`, row-major. */
  readonly values: Int8Array;
  /** float32 `[rows]` or `[columns]`. */
  readonly scales: Float32Array;
}

export interface QuantisationOptions {
  readonly rows: number;
  readonly columns: number;
  /** What shares a scale. */
  readonly per: 'row' | 'column';
  /** The largest magnitude of a quantised value, at most 127. */
  readonly range: number;
}

/** Symmetric quantisation: zero stays zero, the largest magnitude of each row or column becomes `range`. */
export function quantise(matrix: Float32Array, { rows, columns, per, range }: QuantisationOptions): QuantisedMatrix {
  const scaleIndex = (index: number): number => (per === 'row' ? Math.floor(index / columns) : index % columns);
  const scales = new Float32Array(per === 'row' ? rows : columns);
  matrix.forEach((value, index) => {
    const at = scaleIndex(index);
    scales[at] = Math.max(scales[at] ?? 0, Math.abs(value) / range);
  });
  const values = Int8Array.from(matrix, (value, index) => Math.round(value / (scales[scaleIndex(index)] || 1)));
  return { values, scales };
}
