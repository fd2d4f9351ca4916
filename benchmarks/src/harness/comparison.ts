import { spread, type Spread } from './statistics.js';

/** One value of a round that is worth a line of the table. */
export interface Metric<Figures> {
  readonly title: string;
  /** Which way is good; `none` for what only explains. */
  readonly better: 'more' | 'less' | 'none';
  /** Undefined where it was not measured; such a line is left out. */
  readonly of: (round: Figures) => number | undefined;
}

/** One metric of two sides over all rounds. */
export interface Comparison {
  readonly title: string;
  readonly better: Metric<never>['better'];
  readonly baseline: Spread;
  readonly subject: Spread;
  /** Subject ÷ baseline, taken within each round; absent where the baseline is zero or a ratio says nothing. */
  readonly ratio?: Spread;
}

/** Compares rounds that were run in turns: `baseline[i]` and `subject[i]` belong together. */
export function compare<Figures>(
  metrics: readonly Metric<Figures>[],
  baseline: readonly Figures[],
  subject: readonly Figures[],
): readonly Comparison[] {
  return metrics.flatMap((metric) => {
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

function valuesOf<Figures>({ of }: Metric<Figures>, rounds: readonly Figures[]): readonly number[] {
  return rounds.map(of).filter((value) => value !== undefined);
}
