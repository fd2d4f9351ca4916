/** One batch: positions of texts in their set. */
export type Batch = readonly number[];

/** Cuts texts, given by their lengths in the order they arrive, into batches. */
export type BatchCut = (lengths: readonly number[]) => readonly Batch[];

/** Every text by itself. */
export const oneByOne: BatchCut = (lengths) => lengths.map((_, index) => [index]);

/** As they arrive, always so many to a batch. */
export function fixedCount(count: number): BatchCut {
  return (lengths) =>
    Array.from({ length: Math.ceil(lengths.length / count) }, (_, batch) =>
      positions(lengths).slice(batch * count, (batch + 1) * count),
    );
}

/** As they arrive, until longest × count would exceed the budget: the rule of Text Embeddings Inference. */
export function arrivalOrder(budget: number): BatchCut {
  return (lengths) => cutByBudget(positions(lengths), lengths, budget);
}

/** Longest first, until longest × count would exceed the budget: no queue can know its texts so well. */
export function sortedByLength(budget: number): BatchCut {
  return (lengths) => {
    const sorted = [...positions(lengths)].sort((a, b) => lengthAt(lengths, b) - lengthAt(lengths, a));
    return cutByBudget(sorted, lengths, budget);
  };
}

/** Tokens of the texts as a share of the tokens that are run, padding included. */
export function usefulShare(batches: readonly Batch[], lengths: readonly number[]): number {
  const padded = batches.reduce((sum, batch) => sum + batch.length * longestOf(batch, lengths), 0);
  return batches.flat().reduce((sum, index) => sum + lengthAt(lengths, index), 0) / padded;
}

function cutByBudget(order: readonly number[], lengths: readonly number[], budget: number): readonly Batch[] {
  const batches: number[][] = [];
  let batch: number[] = [];
  let longest = 0;
  for (const index of order) {
    const grown = Math.max(longest, lengthAt(lengths, index));
    if (batch.length > 0 && grown * (batch.length + 1) <= budget) {
      batch.push(index);
      longest = grown;
    } else {
      batches.push((batch = [index]));
      longest = lengthAt(lengths, index);
    }
  }
  return batches;
}

function longestOf(batch: Batch, lengths: readonly number[]): number {
  return batch.reduce((longest, index) => Math.max(longest, lengthAt(lengths, index)), 0);
}

function lengthAt(lengths: readonly number[], index: number): number {
  return lengths[index] ?? 0;
}

function positions(lengths: readonly number[]): readonly number[] {
  return [...lengths.keys()];
}
