import { createHash } from 'node:crypto';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { modelDigest } from '@sluice/models';
import { z } from 'zod';
import type { KeyedModel } from '../inference/inference-protocol.js';
import { hasTexts } from '../models/served-models.js';
import type { CalibrationOptions } from './calibration.js';
import { readKept, writeKept } from './calibration-files.js';
import type { Split } from './split-measurement.js';

/** A split with fewer processes must be so much faster: a process that is lost or busy then holds up more. */
const WORTH_A_CHANGE = 1.1;

export interface SplitSearchOptions extends Pick<CalibrationOptions, 'mode' | 'directory' | 'logger'> {
  readonly cores: number;
  readonly models: readonly KeyedModel[];
  /** How long some runs of each model take with a split, all processes busy, in milliseconds; the same runs at each call. */
  readonly measure: (split: Split) => Promise<readonly number[]>;
  /** Ends the search. `measure` then rejects. */
  readonly stop: AbortSignal;
}

const splitSchema = z.object({
  circumstances: z.string(),
  processes: z.int().min(1).max(256),
  threads: z.int().min(1).max(256),
});

/**
 * The split with which these models are fastest on this machine while all cores are busy: a process of one thread for each core, unless
 * fewer of more threads are faster by a tenth. Twice the threads are tried as long as that helps. It is kept in a file of the
 * folder, and read from there the next time. Models of tensors have no say in it.
 *
 * A split whose processes cannot be started, or do not get through the runs, is not chosen, and what is found then is not kept: the reason
 * may have passed by the next start. Never rejects: when none can be measured, or the search is stopped, it is one thread for each core, and
 * whoever starts it hears why.
 */
export async function findSplit(options: SplitSearchOptions): Promise<Split> {
  const { mode, directory, cores, models, logger } = options;
  const first: Split = { processes: cores, threads: 1 };
  if (mode === 'off' || cores === 1 || !models.some(hasTexts)) return first;
  const circumstances = await describe(options).catch((err: unknown) => {
    logger.warn({ err }, 'a model cannot be read, the cores are divided among processes of one thread');
  });
  if (circumstances === undefined) return first;
  const path = join(directory, `split-${createHash('sha256').update(circumstances).digest('hex').slice(0, 12)}.json`);
  const kept = mode === 'auto' ? await readKept(path, splitSchema) : undefined;
  if (kept?.circumstances === circumstances) return { processes: kept.processes, threads: kept.threads };
  const { split: found, isCertain } = await search(first, options);
  if (options.stop.aborted) return first;
  if (!isCertain) {
    logger.warn(
      { ...found },
      'the division of the cores is not kept since one of them could not be measured, the next start measures again',
    );
    return found;
  }
  await writeKept(path, { circumstances, ...found }).catch((err: unknown) => {
    logger.warn({ err }, 'the division of the cores cannot be kept, the next start measures again');
  });
  return found;
}

interface Found {
  readonly split: Split;
  /** Whether every split that was looked at could be measured. */
  readonly isCertain: boolean;
}

async function search(first: Split, options: SplitSearchOptions): Promise<Found> {
  const { cores, measure, stop, logger } = options;
  let isCertain = true;

  async function tryOut(split: Split): Promise<readonly number[] | undefined> {
    try {
      return await measure(split);
    } catch (err) {
      isCertain = false;
      if (!stop.aborted)
        logger.warn({ err, ...split }, 'inference processes of this number and size could not be measured');
      return undefined;
    }
  }

  let best: { readonly split: Split; readonly times: readonly number[] | undefined } = {
    split: first,
    times: await tryOut(first),
  };
  for (let threads = 2; threads <= cores && !stop.aborted; threads *= 2) {
    const split: Split = { processes: Math.floor(cores / threads), threads };
    const times = await tryOut(split);
    if (!times) break;
    const gain = speedOf(times, best.times);
    logger.info({ ...split, gain: Number(gain.toFixed(2)) }, 'fewer inference processes of more threads were measured');
    if (gain < WORTH_A_CHANGE) break;
    // n.b. the machine may have become quieter in between: only who wins against both before and after is faster.
    if (best.times) {
      const after = await tryOut(best.split);
      if (!after || speedOf(times, after) < WORTH_A_CHANGE) break;
    }
    best = { split, times };
  }
  return { split: best.split, isCertain };
}

/** How many times faster one is than another, in the geometric mean over the models; infinitely so than one that could not be measured. */
function speedOf(times: readonly number[], other: readonly number[] | undefined): number {
  if (!other) return Infinity;
  const logarithms = times.map((ms, at) => Math.log((other[at] ?? ms) / ms));
  return Math.exp(logarithms.reduce((sum, each) => sum + each, 0) / logarithms.length);
}

async function describe({ cores, models }: SplitSearchOptions): Promise<string> {
  const digests = await Promise.all(models.map(async ({ key, model }) => [key, await modelDigest(model)]));
  return JSON.stringify([cpus()[0]?.model ?? 'unknown', cores, digests.sort()]);
}
