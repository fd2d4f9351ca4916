import { isBatchable, type ModelFile } from '@sluice/contracts';
import type { RunResult } from '../inference/inference-protocol.js';
import type { CostPoint } from './cost-fit.js';

/** Runs texts, given as token ids, as an inference process does. */
export type Run = (sequences: readonly Int32Array[]) => Promise<RunResult>;

/** What was measured of a model. */
export interface Measurement {
  /** The shortest of the runs of each kind. */
  readonly points: readonly CostPoint[];
  /** The shortest way to the process and back, in milliseconds. */
  readonly tripMs: number;
}

/** Texts of the runs that are measured; a model whose quantisation is dynamic runs one by one whatever it is given. */
const BATCHES = [1, 4, 16] as const;
const SHORT_LENGTHS = [4, 16, 64] as const;
const LONG_PARTS = [1 / 8, 1 / 4, 1 / 2, 1] as const;
/** Longer texts are left to what the curve says of them. */
const LONGEST = 2_048;
const MOST_ROUNDS = 10;
/** Ids from 1 to this are drawn: every vocabulary has them. */
const HIGHEST_ID = 90;

/** Numbers that look random and are the same at every call. */
function drawnIds(length: number): Int32Array {
  return Int32Array.from({ length }, (_, at) => 1 + ((at * 7_919) % HIGHEST_ID));
}

/**
 * Measures runs of few and many, short and long texts, again and again until the time is up. The shortest of each kind is
 * kept, since whatever disturbs a run makes it longer. A run that would pass the time is left out, but for the first.
 */
export async function measureRuns(file: ModelFile, run: Run, budgetMs: number): Promise<Measurement> {
  const kinds = kindsOf(file);
  const best = new Map<(typeof kinds)[number], number>();
  const beganAtMs = performance.now();
  let tripMs = Infinity;
  let msPerToken = 0;

  async function measure(kind: (typeof kinds)[number]): Promise<void> {
    const { texts, length } = kind;
    const sequences = Array.from({ length: texts }, () => drawnIds(length));
    const sentAtMs = performance.now();
    const { computeMs } = await run(sequences);
    const totalMs = performance.now() - sentAtMs;
    tripMs = Math.min(tripMs, Math.max(0, totalMs - computeMs));
    best.set(kind, Math.min(best.get(kind) ?? Infinity, computeMs));
    msPerToken = computeMs / (texts * length);
  }

  for (let round = 0; round < MOST_ROUNDS; round++) {
    let measured = 0;
    for (const kind of kinds) {
      const expectedMs = best.get(kind) ?? msPerToken * kind.texts * kind.length;
      if (performance.now() - beganAtMs + expectedMs > budgetMs) continue;
      await measure(kind);
      measured += 1;
    }
    if (measured === 0) break;
  }
  return { points: [...best].map(([kind, ms]) => ({ ...kind, ms })), tripMs };
}

/** From the least to the most tokens. */
function kindsOf(file: ModelFile): readonly Omit<CostPoint, 'ms'>[] {
  const longest = Math.min(LONGEST, file.maxInputTokens);
  const batches = isBatchable(file) ? BATCHES : [1];
  const parts = LONG_PARTS.map((part) => Math.ceil(longest * part));
  const lengths = new Set([...SHORT_LENGTHS.filter((length) => length < longest), ...parts]);
  const kinds = [...lengths].flatMap((length) => batches.map((texts) => ({ texts, length })));
  return kinds.sort((a, b) => a.texts * a.length - b.texts * b.length);
}
