import { describe, expect, it } from '@jest/globals';
import { periodOf } from '@sluice/quota';
import { eachWithBench } from './fixture.js';
import type { Bench } from './workbench.js';

const HOUR_MS = 3_600_000;
const FROM = '2026-01-01T00:00:00Z';
const TO = '2028-01-01T00:00:00Z';

let bench: Bench;
eachWithBench((fresh) => (bench = fresh));

interface SqlPeriod {
  readonly zone: string;
  readonly at: number;
  readonly day: string;
  readonly day_from: number;
  readonly day_to: number;
  readonly month: string;
  readonly month_from: number;
  readonly month_to: number;
}

/** What the views of the database call the day and the month of a time. */
function sqlPeriods(zones: readonly string[], times: readonly number[]): Promise<readonly SqlPeriod[]> {
  const rows = bench.query(
    `SELECT zone, at, day::text, to_char(month, 'YYYY-MM') AS month,
            extract(epoch FROM day_begins(day, zone))::float8 * 1000 AS day_from,
            extract(epoch FROM day_begins(day + 1, zone))::float8 * 1000 AS day_to,
            extract(epoch FROM day_begins(month, zone))::float8 * 1000 AS month_from,
            extract(epoch FROM day_begins((month + interval '1 month')::date, zone))::float8 * 1000 AS month_to
     FROM unnest($1::text[], $2::float8[]) AS asked (zone, at)
     CROSS JOIN LATERAL (SELECT to_timestamp(at / 1000) AT TIME ZONE zone) AS l (local)
     CROSS JOIN LATERAL (SELECT local::date, date_trunc('month', local)::date) AS p (day, month)`,
    [zones, times],
  );
  return rows as Promise<unknown> as Promise<readonly SqlPeriod[]>;
}

/** The hours in which clocks are changed within two years, of every zone that tenants may have, and three ordinary times. */
async function samples(): Promise<{ readonly zones: string[]; readonly times: number[] }> {
  const rows = (await bench.query(
    `WITH zones AS (SELECT DISTINCT ON (lower(name)) name AS zone FROM v_time_zones),
     offsets AS (
       SELECT zone, at, (at AT TIME ZONE zone) - (at AT TIME ZONE 'UTC') AS ahead
       FROM zones, generate_series($1::timestamptz, $2::timestamptz, interval '12 hours') AS at
     )
     SELECT zone, extract(epoch FROM at)::float8 * 1000 AS at,
            ahead <> lag(ahead, 1, ahead) OVER (PARTITION BY zone ORDER BY at) AS changed
     FROM offsets`,
    [FROM, TO],
  )) as unknown as readonly { readonly zone: string; readonly at: number; readonly changed: boolean }[];
  const zones: string[] = [];
  const times: number[] = [];
  const add = (zone: string, at: number): void => void (zones.push(zone), times.push(at));
  for (const { zone, at, changed } of rows) {
    if (changed) for (let hours = -36; hours <= 24; hours++) add(zone, at + hours * HOUR_MS + 1_800_000);
  }
  for (const zone of new Set(rows.map(({ zone: name }) => name))) {
    for (const at of ['2026-02-28T23:30:00Z', '2026-07-01T00:00:00Z', '2027-12-31T12:00:00Z'])
      add(zone, Date.parse(at));
  }
  return { zones, times };
}

describe('every time zone that a tenant may have', () => {
  it('has the same days and months for quotas as for statements', async () => {
    const { zones, times } = await samples();
    expect(new Set(zones).size).toBeGreaterThan(400);
    const known = new Set(zones.filter(isKnownHere));
    // The store takes no zone that this program does not know, whatever PostgreSQL says.
    expect(known.size).toBeGreaterThan(400);
    const differing: unknown[] = [];
    for (const row of await sqlPeriods(zones, times)) {
      if (!known.has(row.zone)) continue;
      const day = periodOf('day', row.zone, row.at);
      const month = periodOf('month', row.zone, row.at);
      const here = [day.id, day.startsAtMs, day.endsAtMs, month.id, month.startsAtMs, month.endsAtMs];
      const there = [row.day, row.day_from, row.day_to, row.month, row.month_from, row.month_to];
      if (here.some((value, index) => value !== there[index])) differing.push({ ...row, here });
    }
    expect(differing).toEqual([]);
  });
});

function isKnownHere(timeZone: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone });
    return true;
  } catch {
    return false;
  }
}
