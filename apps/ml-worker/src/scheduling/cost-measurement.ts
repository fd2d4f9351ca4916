import { isBatchable, isServiceError, type TextModelFile } from '@sluice/contracts';
import type { RunResult } from '../inference/inference-protocol.js';
import type { CostPoint } from './cost-fit.js';

/** Runs texts, given as token ids, as an inference process does. */
export type Run = (sequences: readonly Int32Array[]) => Promise<RunResult>;

/** What was measured of a model. */
export interface Measurement {
  /** One for each kind of runs. */
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
const MOST_ROUNDS = 30;
/** How many times the time that runs need may pass on a machine that has much else to do. */
const MOST_PATIENCE = 3;
/** Ids from 1 to this are drawn: every vocabulary has them. */
const HIGHEST_ID = 90;

/** Texts of a run, as token ids. */
export function drawnTexts({ texts, length }: Omit<CostPoint, 'ms'>): readonly Int32Array[] {
  return Array.from({ length: texts }, () => drawnIds(length));
}

/** Numbers that look random and are the same at every call. */
function drawnIds(length: number): Int32Array {
  return Int32Array.from({ length }, (_, at) => 1 + ((at * 7_919) % HIGHEST_ID));
}

export interface MeasurementOptions {
  readonly file: TextModelFile;
  readonly run: Run;
  /** What all runs together may take, in milliseconds; on a busy machine up to three times as much passes. */
  readonly budgetMs: number;
  /** Compare runs by their processor time: when one thread of the processor computes them. */
  readonly byCpu: boolean;
}

/** What was measured, all of it unless something went wrong. */
export interface MeasuredRuns extends Measurement {
  /** Why nothing more was measured; undefined when it was over in good order. */
  readonly problem: Error | undefined;
}

/** What a kind of runs took at best, in milliseconds. */
interface Best {
  /** What passed. */
  readonly ms: number;
  /** What is compared. */
  readonly usedMs: number;
}

/**
 * Measures runs of few and many, short and long texts, again and again until the time is up. The shortest of each kind is
 * kept, since whatever disturbs a run makes it longer. A run that would pass the time is left out, but for the first.
 *
 * On a busy machine long runs are interrupted at each try and short ones are not, which no number of tries mends. With `byCpu` their
 * processor time tells what they take beside each other, and the least disturbed of them how much time that is.
 *
 * Kinds of runs that the model refuses are left out. Anything else that goes wrong, as the end of the process, ends the measurement. Never rejects.
 */
export async function measureRuns({ file, run, budgetMs, byCpu }: MeasurementOptions): Promise<MeasuredRuns> {
  const kinds = kindsOf(file);
  const best = new Map<(typeof kinds)[number], Best>();
  const refused = new Set<(typeof kinds)[number]>();
  const beganAtMs = performance.now();
  let problem: Error | undefined;
  let tripMs = Infinity;
  let spentMs = 0;
  let msPerToken = 0;

  function isInTime(kind: (typeof kinds)[number]): boolean {
    const guessMs = msPerToken * kind.texts * kind.length;
    const { ms, usedMs } = best.get(kind) ?? { ms: guessMs, usedMs: guessMs };
    const leftMs = MOST_PATIENCE * budgetMs - (performance.now() - beganAtMs);
    return spentMs + usedMs <= budgetMs && ms <= leftMs;
  }

  async function measure(kind: (typeof kinds)[number]): Promise<void> {
    const { texts, length } = kind;
    const sequences = drawnTexts(kind);
    const sentAtMs = performance.now();
    const { computeMs, cpuMs } = await run(sequences);
    const totalMs = performance.now() - sentAtMs;
    tripMs = Math.min(tripMs, Math.max(0, totalMs - computeMs));
    // n.b. 0 where processor time is counted in large steps.
    const usedMs = byCpu && cpuMs > 0 ? cpuMs : computeMs;
    const least = best.get(kind) ?? { ms: Infinity, usedMs: Infinity };
    best.set(kind, { ms: Math.min(least.ms, computeMs), usedMs: Math.min(least.usedMs, usedMs) });
    spentMs += usedMs;
    msPerToken = usedMs / (texts * length);
  }

  async function tryOut(kind: (typeof kinds)[number]): Promise<void> {
    try {
      await measure(kind);
    } catch (error) {
      if (!isServiceError(error) || error.code !== 'inference_failed') throw error;
      refused.add(kind);
      if (refused.size === kinds.length) throw error;
    }
  }

  async function measureAll(): Promise<void> {
    for (let round = 0; round < MOST_ROUNDS; round++) {
      const wanted = kinds.filter((kind) => !refused.has(kind));
      let tried = 0;
      for (const kind of wanted) {
        if (!isInTime(kind)) continue;
        await tryOut(kind);
        tried += 1;
      }
      if (tried === 0) return;
    }
  }

  try {
    await measureAll();
  } catch (error) {
    problem = error instanceof Error ? error : new Error(String(error));
  }
  const undisturbed = Math.min(...[...best.values()].map(({ ms, usedMs }) => ms / usedMs));
  return { points: [...best].map(([kind, { usedMs }]) => ({ ...kind, ms: usedMs * undisturbed })), tripMs, problem };
}

/** From the least to the most tokens. */
function kindsOf(file: TextModelFile): readonly Omit<CostPoint, 'ms'>[] {
  const longest = Math.min(LONGEST, file.maxInputTokens);
  const batches = isBatchable(file) ? BATCHES : [1];
  const parts = LONG_PARTS.map((part) => Math.ceil(longest * part));
  const lengths = new Set([...SHORT_LENGTHS.filter((length) => length < longest), ...parts]);
  const kinds = [...lengths].flatMap((length) => batches.map((texts) => ({ texts, length })));
  return kinds.sort((a, b) => a.texts * a.length - b.texts * b.length);
}
