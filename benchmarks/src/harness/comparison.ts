import { metrics, type Metric, type Round } from './figures.js';
import { spread, type Spread } from './statistics.js';

/** One metric of two sides over all rounds. */
export interface Comparison {
  readonly title: string;
  readonly better: Metric['better'];
  readonly baseline: Spread;
  readonly subject: Spread;
  /** Subject ÷ baseline, taken within each round; absent where the baseline is zero or a ratio says nothing. */
  readonly ratio?: Spread;
}

/** Compares rounds that were run in turns: `baseline[i]` and `subject[i]` belong together. */
export function compare(baseline: readonly Round[], subject: readonly Round[]): readonly Comparison[] {
  const roles = Object.keys(baseline[0]?.cpuMicrosPerJob ?? {});
  return metrics(roles).flatMap((metric) => {
    const ofBaseline = valuesOf(metric, baseline);
    const ofSubject = valuesOf(metric, subject);
    if (ofBaseline.length === 0 || ofBaseline.length !== ofSubject.length) return [];
    const ratios = ofSubject.flatMap((value, index) => {
      const other = ofBaseline[index] ?? 0;
      return other > 0 ? [value / other] : [];
    });
    const comparable = metric.better !== 'none' && ratios.length === ofBaseline.length;
    return [
      {
        title: metric.title,
        better: metric.better,
        baseline: spread(ofBaseline),
        subject: spread(ofSubject),
        ...(comparable && { ratio: spread(ratios) }),
      },
    ];
  });
}

function valuesOf({ of }: Metric, rounds: readonly Round[]): readonly number[] {
  return rounds.map(of).filter((value) => value !== undefined);
}
