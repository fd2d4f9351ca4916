import { runAll, type PoolUsage } from './pool.js';
import type { SeedOutcome, SeedRequest } from './seed-outcome.js';
import { addOutcome, emptyTotals, type Totals } from './totals.js';

/** How long after a seed its second run is handed out, in seeds: by then another process is likely to take it. */
const SECOND_RUN_AFTER = 70;

/** A run in which an invariant did not hold. */
export interface Finding {
  readonly request: SeedRequest;
  readonly outcome: SeedOutcome;
}

export interface CampaignOptions {
  readonly requests: Iterable<SeedRequest>;
  readonly processes: number;
  readonly suite?: string | undefined;
  /** Every how manyth request is run twice; 0 for none. */
  readonly verify: number;
  readonly maxFailures: number;
  /** Told from time to time. */
  readonly onProgress?: (totals: Totals, findings: number) => void;
}

export interface CampaignResult {
  readonly totals: Totals;
  readonly findings: readonly Finding[];
  /** How many requests were run twice and went the same way. */
  readonly verified: number;
  readonly usage: PoolUsage;
  readonly realMs: number;
}

/** Runs requests until they end or enough have failed. A run that goes another way the second time is a finding. */
export async function runCampaign(options: CampaignOptions): Promise<CampaignResult> {
  const { processes, suite, verify, maxFailures } = options;
  const totals = emptyTotals();
  const findings: Finding[] = [];
  const hashes = new Map<string, string>();
  let verified = 0;
  const beganMs = performance.now();

  function onOutcome(outcome: SeedOutcome, request: SeedRequest): boolean {
    const key = `${request.seed}/${request.crashAt?.join() ?? ''}`;
    const before = hashes.get(key);
    if (before === undefined) {
      addOutcome(totals, outcome);
      if (verify > 0) hashes.set(key, outcome.hash);
      if (outcome.failure) findings.push({ request, outcome });
    } else if (before === outcome.hash) verified += 1;
    else findings.push({ request, outcome: { ...outcome, failure: difference(before, outcome.hash) } });
    options.onProgress?.(totals, findings.length);
    return findings.length < maxFailures;
  }

  const usage = await runAll(withSecondRuns(options.requests, verify), { processes, suite, onOutcome });
  return { totals, findings, verified, usage, realMs: performance.now() - beganMs };
}

function difference(before: string, now: string): { invariant: string; detail: string } {
  return { invariant: 'determinism', detail: `The trace of the first run was ${before}, of the second ${now}.` };
}

/** The requests, and every `every`th of them again some time later. */
function* withSecondRuns(requests: Iterable<SeedRequest>, every: number): Generator<SeedRequest> {
  const later: { readonly at: number; readonly request: SeedRequest }[] = [];
  let count = 0;
  for (const request of requests) {
    yield request;
    if (every > 0 && count % every === 0) later.push({ at: count + SECOND_RUN_AFTER, request });
    count += 1;
    const due = later[0];
    if (due && due.at <= count) yield (later.shift() ?? due).request;
  }
  for (const { request } of later) yield request;
}

/** `count` seeds from `first`. */
export function* seedsFrom(first: number, count: number, defect?: string): Generator<SeedRequest> {
  for (let seed = first; seed < first + count; seed += 1) yield { seed, ...(defect !== undefined && { defect }) };
}

/** One seed with a crash at each of its points. */
export function* everyPoint(request: SeedRequest, points: number): Generator<SeedRequest> {
  for (let point = 1; point <= points; point += 1) yield { ...request, crashAt: [point] };
}
