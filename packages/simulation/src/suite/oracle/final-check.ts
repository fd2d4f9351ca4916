import { jobIdTimeMs } from '@sluice/contracts';
import type { StoredLimit } from '@sluice/quota';
import type { LedgerEntry } from '@sluice/store/model';
import type { World } from '../world.js';
import { inputName, type Answers, type Asked } from './answers.js';
import type { Checker } from './invariant.js';
import type { LedgerWatch } from './ledger-watch.js';

export interface FinalCheckOptions {
  readonly world: World;
  readonly answers: Answers;
  readonly ledger: LedgerWatch;
  readonly checker: Checker;
  /** Texts that ran to their end at some worker. */
  readonly ran: ReadonlySet<string>;
}

/** What must hold of answers and books when nothing happens any more. */
export function checkFinally(options: FinalCheckOptions): void {
  checkJobs(options);
  checkRequests(options);
  checkBills(options);
  checkRedis(options);
  checkBooks(options);
}

function checkJobs({ answers, ledger, checker: { check } }: FinalCheckOptions): void {
  for (const jobId of answers.jobs) {
    const booked = ledger.jobs.get(jobId);
    const isWhole = booked?.reserve !== undefined && booked.end !== undefined;
    const found = `${booked?.reserve ? 'a' : 'no'} reserve entry, ${booked?.end ? 'an' : 'no'} end`;
    check('accepted-job-ends-once', isWhole, () => `${jobId} was accepted and has ${found}`);
  }
  for (const [jobId, booked] of ledger.jobs) {
    const isWhole = booked.reserve !== undefined && booked.end !== undefined;
    check(
      'accepted-job-ends-once',
      isWhole,
      () => `${jobId} has ${booked.reserve ? 'no end' : 'an end and no beginning'}`,
    );
  }
  for (const [jobId, { state, bill }] of answers.ends) {
    const end = ledger.jobs.get(jobId)?.end;
    check('end-never-changes', end?.state === state, () => `${jobId} was shown as ${state}, is ${end?.state}`);
    const isSame = bill === undefined || bill === String(end?.amountNanoUsd);
    check('end-never-changes', isSame, () => `${jobId} was shown to cost ${bill}, costs ${end?.amountNanoUsd}`);
  }
}

/** Each recorded job leads back to a request, and no request to more jobs than it may have. */
function checkRequests({ world, answers, ledger, checker: { check } }: FinalCheckOptions): void {
  const jobsOf = new Map<string, string[]>();
  for (const [jobId, { reserve }] of ledger.jobs) {
    const name = reserve && inputOf(world, reserve);
    const isKnown = name !== undefined && answers.byInput.has(name);
    check('no-job-without-request', isKnown, () => `${jobId} is of "${name}", which nobody asked for`);
    if (name !== undefined) jobsOf.set(name, [...(jobsOf.get(name) ?? []), jobId]);
  }
  const byKey = new Map<string, string>();
  for (const [name, asked] of answers.byInput) {
    const jobs = jobsOf.get(name) ?? [];
    checkRequest(name, asked, jobs, check);
    const key = asked.request.key;
    if (key === undefined || jobs.length === 0) continue;
    check('one-job-per-key', !byKey.has(key), () => `${key} has the jobs of "${byKey.get(key)}" and "${name}"`);
    byKey.set(key, name);
  }
}

function checkRequest(name: string, asked: Asked, jobs: readonly string[], check: Checker['check']): void {
  const { request, accepted, unknown } = asked;
  const most = request.key === undefined ? accepted.size + unknown : Math.min(1, accepted.size + unknown);
  const invariant = request.key !== undefined && jobs.length > 1 ? 'one-job-per-key' : 'refused-request-has-no-job';
  check(invariant, jobs.length <= most, () => {
    return `${name}: ${accepted.size} answers 202, ${unknown} unknown, jobs ${jobs.join(', ')}`;
  });
}

function inputOf({ store, scenario }: World, { tenantId, jobId }: LedgerEntry): string | undefined {
  const record = store.findJob(0, tenantId, jobId);
  const tag = record?.metadata?.['request'];
  const request = scenario.requests.find((one) => one.tag === tag);
  if (!record || typeof tag !== 'string') return undefined;
  if (!request) return `${tag}: last`;
  const isOther = record.inputTokens !== Buffer.byteLength(request.text);
  return inputName(request, { input: isOther ? `${request.text} other` : request.text });
}

function checkBills({ world, ledger, ran, checker: { check } }: FinalCheckOptions): void {
  for (const [jobId, { reserve, end }] of ledger.jobs) {
    if (!reserve || !end) continue;
    const text = (inputOf(world, reserve) ?? '').replace(/^[^:]*: /, '');
    const { inputTokens, outputTokens, amountNanoUsd, state } = end;
    const isExact =
      outputTokens === 0 &&
      (state === 'succeeded' ? inputTokens === Buffer.byteLength(text) : inputTokens <= Buffer.byteLength(text));
    check('bill-is-price-times-usage', isExact, () => `${jobId} ${state}: ${inputTokens} tokens of "${text}"`);
    const price = priceOf(world, end);
    check('bill-is-price-times-usage', amountNanoUsd === price, () => `${jobId}: ${amountNanoUsd} instead of ${price}`);
    const isFree = inputTokens === 0 && amountNanoUsd === 0n;
    check(
      'only-what-ran-is-billed',
      isFree || ran.has(text),
      () => `${jobId} ${state} never ran and costs ${amountNanoUsd}`,
    );
  }
}

/** What the scenario's prices make of a use, by the date of the job; half a nano-USD is rounded up. */
function priceOf({ scenario }: World, { jobId, model, state, inputTokens }: LedgerEntry): bigint {
  const atMs = jobIdTimeMs(jobId);
  if (state === 'expired' || (state !== 'succeeded' && inputTokens === 0)) return 0n;
  let total = 0n;
  for (const price of scenario.prices) {
    if (price.model !== model || price.fromMs > atMs || atMs >= (price.toMs ?? Infinity)) continue;
    total += price.nanoUsdPerMillion * (price.meter === 'request' ? 1n : BigInt(inputTokens));
  }
  return (total + 500_000n) / 1_000_000n;
}

function checkRedis({ world, ledger, checker: { check } }: FinalCheckOptions): void {
  const ends = [...ledger.jobs.values()].flatMap(({ end }) => (end ? [end] : []));
  for (const { tenantId } of world.scenario.tenants) {
    const state = world.quota.inspect(tenantId);
    if (!state) continue;
    const strays = [...state.holds.keys()];
    check('no-hold-without-job', strays.length === 0, () => `${tenantId} still holds ${strays.join(', ')}`);
    for (const limit of state.limits) {
      if (limit.kind !== 'rate') {
        check('no-hold-without-job', limit.held === 0, () => `${tenantId} ${limit.name}: ${limit.held} held by nobody`);
      }
      if (limit.period === undefined || limit.period.endsAtMs <= world.redisNowMs()) continue;
      const used = usedOf(tenantId, limit, ends);
      const name = `${tenantId} ${limit.scope} ${limit.subject} ${limit.name}`;
      check(
        'redis-equals-ledger',
        BigInt(limit.used) === used,
        () => `${name}: Redis has ${limit.used}, the ledger ${used}`,
      );
    }
  }
}

function usedOf(tenantId: string, limit: StoredLimit, ends: readonly LedgerEntry[]): bigint {
  let sum = 0n;
  for (const end of ends) {
    const atMs = jobIdTimeMs(end.jobId);
    const { sinceMs = 0, endsAtMs = 0 } = limit.period ?? {};
    const subject = { tenant: '', apiKey: end.apiKeyId, model: end.model }[limit.scope];
    if (end.tenantId !== tenantId || subject !== limit.subject || atMs < sinceMs || atMs >= endsAtMs) continue;
    sum += limit.unit === 'nanoUsd' ? end.amountNanoUsd : BigInt(end.inputTokens + end.outputTokens);
  }
  return sum;
}

function checkBooks({ world, ledger, checker: { check } }: FinalCheckOptions): void {
  const sums = new Map<string, bigint>();
  for (const { end } of ledger.jobs.values()) {
    if (end) sums.set(end.tenantId, (sums.get(end.tenantId) ?? 0n) + end.amountNanoUsd + BigInt(end.inputTokens));
  }
  for (const row of world.store.rollup()) {
    sums.set(row.tenantId, (sums.get(row.tenantId) ?? 0n) - row.amountNanoUsd - BigInt(row.inputTokens));
  }
  for (const [tenantId, rest] of sums) {
    check('rollup-equals-ledger', rest === 0n, () => `${tenantId}: ledger and roll-up differ by ${rest}`);
  }
  for (const { view, rows } of world.store.reconcile(world.postgresNowMs())) {
    check('books-reconcile', rows === 0, () => `${view} has ${rows} rows`);
  }
}
