import type { Database } from './database.js';
import { loadStatement } from './statements.js';

/** A quota was used to a percentage of its maximum for the first time in its period. */
export interface LimitAlert {
  readonly id: number;
  readonly tenantId: string;
  /** As in `RateLimit` headers; see `limitName`. */
  readonly limit: string;
  /** API key or model; empty for the tenant as a whole. */
  readonly subject: string;
  /** First day of the period in the tenant's time zone, `2026-11-01`. */
  readonly periodStart: string;
  readonly percent: number;
  /** Settled use and maximum when it was raised: tokens, or nano-USD. */
  readonly used: bigint;
  readonly max: bigint;
  /** Unix milliseconds. */
  readonly raisedAtMs: number;
}

export interface LimitAlerts {
  /**
   * Raises the alerts that have become due and returns them. Each is raised once for its limit, subject, period and
   * percentage, even if the maximum is changed later; of several callers at once one gets it. Looks at the last day and month as
   * well, with the limits of their end, because jobs end after the period in which they were accepted. Reads the roll-up of
   * these two months of every tenant that has alerts: call it every minute or so, not more often.
   */
  raiseLimitAlerts(): Promise<readonly LimitAlert[]>;
  /** Alerts that are not marked as sent, oldest first. */
  unsentAlerts(limit: number): Promise<readonly LimitAlert[]>;
  /** True when the alert had not been marked before. */
  markAlertSent(id: number): Promise<boolean>;
}

/** Sums two months of the roll-up of all tenants with alerts: about 2 s for a million rows. */
const RAISE_TIMEOUT_MS = 300_000;

const statements = {
  raise: loadStatement('raise-limit-alerts'),
  unsent: loadStatement('unsent-alerts'),
  markSent: loadStatement('mark-alert-sent'),
};

interface AlertRow {
  readonly alert_id: bigint;
  readonly tenant_id: string;
  readonly limit_name: string;
  readonly subject: string;
  readonly period_start: string;
  readonly percent: number;
  readonly used: string;
  readonly max: string;
  readonly raised_at_ms: string;
}

export function createLimitAlerts(database: Database): LimitAlerts {
  return {
    async raiseLimitAlerts() {
      const rows = await database.session({ statementTimeoutMs: RAISE_TIMEOUT_MS }, (run) =>
        run<AlertRow & Record<string, unknown>>(statements.raise),
      );
      return rows.map(toAlert);
    },
    async unsentAlerts(limit) {
      const rows = await database.run<AlertRow & Record<string, unknown>>(statements.unsent, [limit]);
      return rows.map(toAlert);
    },
    async markAlertSent(id) {
      return (await database.run(statements.markSent, [id])).length > 0;
    },
  };
}

function toAlert(row: AlertRow): LimitAlert {
  return {
    id: Number(row.alert_id),
    tenantId: row.tenant_id,
    limit: row.limit_name,
    subject: row.subject,
    periodStart: row.period_start,
    percent: row.percent,
    used: BigInt(row.used),
    max: BigInt(row.max),
    raisedAtMs: Number(row.raised_at_ms),
  };
}
