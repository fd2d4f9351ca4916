import type { Checker } from './invariant.js';
import type { LedgerWatch } from './ledger-watch.js';
import type { FirstHeld } from './redis-watch.js';
import { subjectOf, type Rule } from './rules.js';

/** A job that was accepted: from when it was held to when its end was recorded. */
interface Span {
  readonly subject: string;
  readonly fromMs: number;
  readonly toMs: number;
  /** By Redis' clock. */
  readonly redisMs: number;
  readonly held: number;
  /** What it used; of requests 1, or 0 when it ended unused. */
  readonly used: number;
}

export interface FlowCheckOptions {
  readonly rules: readonly Rule[];
  readonly checker: Checker;
  readonly ledger: LedgerWatch;
  readonly firstHeld: ReadonlyMap<string, FirstHeld>;
  /** Whether Redis' clock went on evenly: rates are kept by it. */
  readonly steadyClock: boolean;
}

const MINUTE_MS = 60_000;

/**
 * In the end, from times alone: at no moment were more jobs, or tokens, in flight than a limit allows, and in no stretch of
 * time were more accepted than a full bucket and what flows into it meanwhile.
 */
export function checkFlows(options: FlowCheckOptions): void {
  for (const rule of options.rules) {
    const spans = spansOf(rule, options);
    for (const subject of new Set(spans.map((span) => span.subject))) {
      const own = spans.filter((span) => span.subject === subject);
      if (rule.kind === 'inFlight') checkInFlight(rule, own, options.checker);
      else if (options.steadyClock) checkRate(rule, own, options.checker);
    }
  }
}

function spansOf(rule: Rule, { ledger, firstHeld }: FlowCheckOptions): readonly Span[] {
  if (rule.kind === 'quota') return [];
  const spans: Span[] = [];
  for (const [jobId, { reserve, end, endedAtMs = Infinity }] of ledger.jobs) {
    const held = firstHeld.get(jobId);
    const subject = reserve && subjectOf(rule, reserve);
    if (!reserve || !held || subject === undefined) continue;
    const tokens = (end?.inputTokens ?? 0) + (end?.outputTokens ?? 0);
    const isTokens = rule.unit === 'tokens';
    spans.push({
      ...{ subject, fromMs: held.atMs, toMs: endedAtMs, redisMs: held.redisMs },
      held: isTokens ? reserve.reservedTokens : 1,
      used: isTokens ? tokens : Math.min(1, tokens),
    });
  }
  return spans.sort((a, b) => a.fromMs - b.fromMs);
}

function checkInFlight(rule: Rule, spans: readonly Span[], { check }: Checker): void {
  for (const { fromMs } of spans) {
    const inFlight = spans.filter((span) => span.fromMs <= fromMs && fromMs < span.toMs);
    const sum = inFlight.reduce((total, { held }) => total + held, 0);
    check(
      'in-flight-within-limits',
      sum <= rule.max,
      () => `${describe(rule)}: ${sum} in flight ${Math.round(fromMs)} ms after the start`,
    );
  }
}

function checkRate(rule: Rule, spans: readonly Span[], { check }: Checker): void {
  spans.forEach(({ redisMs: fromMs }, first) => {
    let sum = 0;
    for (const { redisMs, used } of spans.slice(first)) {
      sum += used;
      const allowed = rule.max * (1 + (redisMs - fromMs) / MINUTE_MS);
      // n.b. Redis' clock counts whole milliseconds here.
      const tolerance = rule.max / MINUTE_MS;
      check(
        'rates-within-limits',
        sum <= allowed + tolerance,
        () => `${describe(rule)}: ${sum} accepted within ${redisMs - fromMs} ms`,
      );
    }
  });
}

function describe({ tenant, name, max }: Rule): string {
  return `${tenant.tenantId} ${name} (${max})`;
}
