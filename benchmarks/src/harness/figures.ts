import type { Metric } from './comparison.js';
import type { Percentiles } from './statistics.js';

/** What one round of one side gave. */
export interface Round {
  readonly jobs: number;
  /** Jobs per second, from the first request to the commit of the last entry. */
  readonly jobsPerSecond: number;
  /** From sending a request to reading its 202. */
  readonly submitMs: Percentiles;
  /** From the acceptance time in the job's id to the commit of its terminal entry. */
  readonly billedMs: Percentiles;
  /** CPU time for each job, by role; absent where the system does not tell. */
  readonly cpuMicrosPerJob?: Readonly<Record<string, number>>;
  /** Share of one core that the load generator used while it sent, 0 … . */
  readonly loadGeneratorCores: number;
  /** Cores that were busy with other processes meanwhile, the idle pipeline among them: what disturbed the round. */
  readonly otherCores?: number;
  /** Paced only: how far the generator ran behind its clock. */
  readonly lateMs?: Percentiles;
}

const LATENCIES: readonly Metric<Round>[] = [
  { title: 'submit p50, ms', better: 'less', of: ({ submitMs }) => submitMs.p50 },
  { title: 'submit p99, ms', better: 'less', of: ({ submitMs }) => submitMs.p99 },
  { title: 'billed p50, ms', better: 'less', of: ({ billedMs }) => billedMs.p50 },
  { title: 'billed p99, ms', better: 'less', of: ({ billedMs }) => billedMs.p99 },
];

/** The lines of the table; the roles whose CPU was counted are those of the first round. */
export function pipelineMetrics([first]: readonly Round[]): readonly Metric<Round>[] {
  const roles = Object.keys(first?.cpuMicrosPerJob ?? {});
  return [
    { title: 'submit → billed, jobs/s', better: 'more', of: ({ jobsPerSecond }) => jobsPerSecond },
    ...LATENCIES,
    ...roles.map((role): Metric<Round> => ({
      title: `CPU ${role}, µs/job`,
      better: 'less',
      of: ({ cpuMicrosPerJob }) => cpuMicrosPerJob?.[role],
    })),
    { title: 'CPU of all, µs/job', better: 'less', of: totalCpu },
    { title: 'load generator, cores', better: 'none', of: ({ loadGeneratorCores }) => loadGeneratorCores },
    { title: 'other processes, cores', better: 'none', of: ({ otherCores }) => otherCores },
    { title: 'sent late p99, ms', better: 'none', of: ({ lateMs }) => lateMs?.p99 },
  ];
}

function totalCpu({ cpuMicrosPerJob }: Round): number | undefined {
  return cpuMicrosPerJob && Object.values(cpuMicrosPerJob).reduce((sum, micros) => sum + micros, 0);
}
