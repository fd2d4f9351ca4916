import { isServiceError, toProblem } from '@sluice/contracts';
import type { OpsPage } from '@sluice/runtime';
import type { Metrics } from '@sluice/telemetry';
import type { Backlog } from './backlog.js';
import type { Catalogue } from './catalogue.js';

const PATH = /^\/backlog\/([^/]+)$/;

/** `GET /backlog/<pool>` for KEDA's scaler `metrics-api`; undefined for other paths. Problems are documents of RFC 9457. */
export async function backlogPage(backlog: Backlog, path: string): Promise<OpsPage | undefined> {
  const pool = PATH.exec(path)?.[1];
  if (pool === undefined) return undefined;
  try {
    return { status: 200, contentType: 'application/json', body: await backlog.ofPool(pool) };
  } catch (error) {
    if (!isServiceError(error)) throw error;
    const problem = toProblem(error);
    return { status: problem.status, contentType: 'application/problem+json', body: problem };
  }
}

export interface BacklogMetricsOptions {
  readonly metrics: Metrics;
  readonly backlog: Backlog;
  readonly catalogue: Pick<Catalogue, 'models'>;
}

/** Gauges of the backlog. */
export interface BacklogMetrics {
  /** Brings them up to date, before they are shown. They are absent while PostgreSQL does not answer, never 0. */
  refresh(): Promise<void>;
}

export function createBacklogMetrics({ metrics, backlog, catalogue }: BacklogMetricsOptions): BacklogMetrics {
  const labels = ['pool', 'model', 'class'] as const;
  const jobs = metrics.gauge(
    'sluice_backlog_jobs',
    'Jobs that were accepted and have not ended; the same at every gateway, absent while it is not known.',
    labels,
  );
  const tokens = metrics.gauge('sluice_backlog_tokens', 'Tokens of the inputs of those jobs.', labels);

  function forget(): void {
    jobs.clear();
    tokens.clear();
  }

  return {
    async refresh() {
      const rows = await backlog.read().catch(() => undefined);
      forget();
      if (rows === undefined) return;
      for (const { name: model, pool, classes } of catalogue.models) {
        for (const jobClass of classes) {
          jobs.of({ pool, model, class: jobClass });
          tokens.of({ pool, model, class: jobClass });
        }
      }
      for (const { pool, model, class: jobClass, ...row } of rows) {
        jobs.of({ pool, model, class: jobClass }).set(row.jobs);
        tokens.of({ pool, model, class: jobClass }).set(row.inputTokens);
      }
    },
  };
}
