import { JOB_CLASSES, type JobClass } from '@sluice/contracts';
import { createRandom, type Random } from './random.js';

/** What jobs of a class are like. */
export interface JobShape {
  /** Share of all jobs, 0 … 1. */
  readonly share: number;
  readonly texts: number;
  /** Of a text, log-normal. */
  readonly meanTokens: number;
  /** Standard deviation of the logarithm of a text's tokens. */
  readonly spread: number;
  /** How long a job of the class may wait, in seconds: what counts as late. */
  readonly targetSeconds: number;
}

/** Jobs that come, in the order of their times. */
export interface Workload {
  readonly durationSeconds: number;
  /** Jobs a second that are expected at a time. */
  rateAt(seconds: number): number;
  readonly shapes: Readonly<Record<JobClass, JobShape>>;
}

export interface Arrival {
  readonly at: number;
  /** Index in `JOB_CLASSES`. */
  readonly classIndex: number;
  readonly texts: number;
  readonly tokens: number;
}

/** No text of the encoder has more. */
const MOST_TOKENS = 128;
const SAMPLES = 16_384;
const NOTHING = { texts: 1, tokens: new Float64Array(SAMPLES) };

/** The next arrival after the one before; undefined when the time is over. A Poisson process, its rate constant within a second. */
export function createArrivals(workload: Workload, seed: number): () => Arrival | undefined {
  const random = createRandom(seed);
  const draw = createShapes(workload, random);
  let now = 0;
  return () => {
    for (;;) {
      const second = Math.floor(now);
      if (second >= workload.durationSeconds) return undefined;
      const rate = workload.rateAt(second);
      const next = rate > 0 ? now + random.exponential() / rate : Infinity;
      if (next < second + 1) {
        now = next;
        return draw(now);
      }
      // What is left of the pause does not depend on what has passed, so it is drawn anew at the next second's rate.
      now = second + 1;
    }
  };
}

function createShapes({ shapes }: Workload, random: Random): (at: number) => Arrival {
  const list = JOB_CLASSES.map((name) => ({ texts: shapes[name].texts, tokens: sampleTokens(shapes[name], random) }));
  const upTo = JOB_CLASSES.map((_, index) =>
    JOB_CLASSES.slice(0, index + 1).reduce((sum, name) => sum + shapes[name].share, 0),
  );
  return (at) => {
    const drawn = random.uniform() * (upTo.at(-1) ?? 1);
    let classIndex = 0;
    while (drawn >= (upTo[classIndex] ?? Infinity)) classIndex += 1;
    const { texts, tokens } = list[classIndex] ?? NOTHING;
    return { at, classIndex, texts, tokens: tokens[Math.floor(random.uniform() * SAMPLES)] ?? 0 };
  };
}

/** Tokens of jobs, drawn once: with millions of jobs, drawing each anew is most of the work of a simulation. */
function sampleTokens({ texts, meanTokens, spread }: JobShape, random: Random): Float64Array {
  // Of many texts the mean varies less.
  const sigma = spread / Math.sqrt(texts);
  const median = meanTokens * Math.exp(-(sigma * sigma) / 2);
  return Float64Array.from({ length: SAMPLES }, () => {
    const perText = median * Math.exp(sigma * random.normal());
    return texts * Math.min(MOST_TOKENS, Math.max(1, perText));
  });
}

/** Tokens of a job, by the mean of each class. */
export function meanJobTokens(shapes: Workload['shapes']): number {
  return JOB_CLASSES.reduce((sum, name) => {
    const { share, texts, meanTokens } = shapes[name];
    return sum + share * texts * meanTokens;
  }, 0);
}

/** Texts of a job, by the same. */
export function meanJobTexts(shapes: Workload['shapes']): number {
  return JOB_CLASSES.reduce((sum, name) => sum + shapes[name].share * shapes[name].texts, 0);
}
