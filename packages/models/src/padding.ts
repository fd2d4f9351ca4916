/** Texts of different lengths as the two inputs of a model. */
export interface PaddedBatch {
  /** int64 `[batch, length]`, row-major; 0 where a text has ended. */
  readonly inputIds: BigInt64Array;
  /** int64 `[batch, length]`; 1 where there is a token, 0 where there is padding. */
  readonly attentionMask: BigInt64Array;
  readonly shape: readonly [batch: number, length: number];
}

/** Pads to the longest sequence, and to at least one column: an axis of length 0 is not defined for every operator. */
export function padSequences(sequences: readonly Int32Array[]): PaddedBatch {
  const length = sequences.reduce((longest, sequence) => Math.max(longest, sequence.length), 1);
  const inputIds = new BigInt64Array(sequences.length * length);
  const attentionMask = new BigInt64Array(sequences.length * length);
  // n.b. ids are not negative, so writing the low half of a little-endian int64 is enough, and makes no bigint objects.
  const lowIds = new Int32Array(inputIds.buffer);
  const lowMask = new Int32Array(attentionMask.buffer);
  sequences.forEach((sequence, row) => {
    for (let column = 0; column < sequence.length; column++) {
      const low = 2 * (row * length + column);
      lowIds[low] = sequence[column] as number;
      lowMask[low] = 1;
    }
  });
  return { inputIds, attentionMask, shape: [sequences.length, length] };
}
