import type { BookedJob, Books, Entry } from '../src/chaos/outsider/books.js';
import type { EvidenceParts } from '../src/chaos/outsider/evidence.js';
import type { Observation, QuotaSample, Seen, Sent, ShownLimit } from '../src/chaos/outsider/observations.js';

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

/** A run whose parts a test may falsify. */
export interface MadeUpRun {
  events: Mutable<Observation>[];
  jobs: Mutable<BookedJob>[];
  entries: Mutable<Entry>[];
  rest: Mutable<Omit<Books, 'jobs' | 'entries'>>;
  finalSeen: Mutable<Seen>[];
  finalLimits: Mutable<QuotaSample>[];
}

const T0 = Date.UTC(2026, 5, 15, 12);
const TENANT = 'acme';
const KEY = 'key-1';
const TOKENS = 100;
const NANO_USD = 1_500n;

/** Three jobs that ended well: `plain`, `keyed` (sent twice, contradicted once) and `dropped` (canceled before it began). */
export function rightRun(): MadeUpRun {
  const run: MadeUpRun = {
    events: [],
    jobs: [],
    entries: [],
    rest: {
      prices: [
        { model: 'm', meter: 'input', fromMs: 0, toMs: T0 + 3_600_000, nanoUsdPerMillion: 5_000_000n },
        { model: 'm', meter: 'input', fromMs: T0 + 3_600_000, toMs: null, nanoUsdPerMillion: 9_000_000n },
        { model: 'm', meter: 'request', fromMs: 0, toMs: null, nanoUsdPerMillion: 1_000_000_000n },
      ],
      deadLetters: [],
      today: new Map([[TENANT, '2026-06-15']]),
      reconciliations: [{ view: 'v_recon_x', rows: 0, first: [] }],
    },
    finalSeen: [],
    finalLimits: [],
  };
  addJob(run, { name: 'plain', afterMs: 0 });
  addJob(run, { name: 'keyed', afterMs: 10_000, key: 'idem-1' });
  addJob(run, { name: 'dropped', afterMs: 20_000, state: 'canceled' });
  const keyed = sent('keyed', 11_000, { attempt: 1, purpose: 'repeat', idempotencyKey: 'idem-1' });
  run.events.push(keyed, answered('keyed', 11_010, 'accepted', 202));
  run.events.push(sent('other', 12_000, { purpose: 'conflict', idempotencyKey: 'idem-1' }));
  run.events.push(answered('other', 12_010, 'refused', 422));
  run.events.push(sent('limited', 13_000, {}), answered('limited', 13_010, 'refused', 429));
  run.events.push(sent('nonsense', 14_000, { purpose: 'invalid' }), answered('nonsense', 14_010, 'refused', 400));
  run.events.push(sent('lost', 15_000, {}), answered('lost', 16_000, 'unknown'));
  run.events.push({
    ...{ kind: 'canceled', atMs: T0 + 20_030, askedAtMs: T0 + 20_020, jobId: 'job-dropped', tenantId: TENANT },
    ...{ status: 200, state: 'canceled' },
  });
  run.events.push({ ...sample(), atMs: T0 + 10_500, limits: limits(TOKENS, TOKENS, 1) });
  run.finalLimits.push(sample());
  return run;
}

export interface AddedJob {
  readonly name: string;
  /** After the run began. */
  readonly afterMs: number;
  readonly key?: string;
  /** Succeeded when absent. */
  readonly state?: string;
  /** How long it was open; 100 ms when absent. */
  readonly openMs?: number;
}

/** Adds a job as it should be: sent, accepted, recorded, ended, billed and seen. */
export function addJob(run: MadeUpRun, { name, afterMs, key, state = 'succeeded', openMs = 100 }: AddedJob): void {
  const used = state === 'succeeded' ? TOKENS : 0;
  const amountNanoUsd = state === 'succeeded' ? NANO_USD : 0n;
  const [atMs, endMs] = [T0 + afterMs, T0 + afterMs + openMs];
  const job = { jobId: `job-${name}`, tenantId: TENANT, apiKeyId: KEY, model: 'm', atMs };
  run.events.push(sent(name, afterMs, key === undefined ? {} : { idempotencyKey: key }));
  run.events.push(answered(name, afterMs + 10, 'accepted', 202));
  run.jobs.push({ ...job, reservedTokens: TOKENS, request: name, keyHash: null });
  const common = { ...job, cachedTokens: 0, overageTokens: 0, overageNanoUsd: 0n, day: '2026-06-15' };
  run.entries.push({
    ...{ ...common, phase: 1, state: null, inputTokens: TOKENS, outputTokens: 0 },
    ...{ amountNanoUsd: 0n, reservedTokens: TOKENS, recordedAtMs: atMs + 20 },
  });
  run.entries.push({
    ...{ ...common, phase: 2, state, inputTokens: used, outputTokens: 0 },
    ...{ amountNanoUsd, reservedTokens: TOKENS, recordedAtMs: endMs },
  });
  const seen = {
    ...({ kind: 'seen', jobId: job.jobId, tenantId: TENANT, state, amountNanoUsd: String(amountNanoUsd) } as const),
    usage: { inputTokens: used, outputTokens: 0, cachedTokens: 0 },
    ...(state === 'succeeded' && { outputHash: `output of ${name}`, distance: 0 }),
  };
  run.events.push({ ...seen, by: 'poll', askedAtMs: endMs + 5, atMs: endMs + 10 });
  run.finalSeen.push({ ...seen, by: 'final', askedAtMs: T0 + 60_000, atMs: T0 + 60_010 });
}

export function sent(request: string, afterMs: number, more: Partial<Sent>): Sent {
  return {
    ...{ kind: 'sent', atMs: T0 + afterMs, request, attempt: 1, purpose: 'first', via: 'http', tenantId: TENANT },
    ...{ apiKeyId: KEY, model: 'm', inputHash: 'i', bodyHash: 'b', ...more },
  };
}

export function answered(
  request: string,
  afterMs: number,
  outcome: 'accepted' | 'refused' | 'unknown',
  status?: number,
): Observation {
  return {
    ...{ kind: 'answered', atMs: T0 + afterMs, request, attempt: 1, outcome },
    ...(status !== undefined && { status }),
    ...(outcome === 'accepted' && { jobId: `job-${request}` }),
  };
}

function sample(): QuotaSample {
  return { kind: 'quota', atMs: T0 + 60_000, tenantId: TENANT, apiKeyId: KEY, limits: limits(2 * TOKENS, 0, 0) };
}

function limits(used: number, held: number, open: number): ShownLimit[] {
  const tenant = { scope: 'tenant', soft: false, overage: 0 } as const;
  return [
    { ...tenant, name: 'tokens-per-day', kind: 'quota', unit: 'tokens', max: 250, used, held },
    {
      ...tenant,
      name: 'money-per-month',
      kind: 'quota',
      unit: 'nanoUsd',
      max: 10_000,
      used: used * 15,
      held: held * 15,
    },
    { ...tenant, name: 'tokens-per-minute', kind: 'rate', unit: 'tokens', max: 600, used: 0, held: 0 },
    { ...tenant, name: 'concurrent-jobs', kind: 'inFlight', unit: 'requests', max: 1, used: 0, held: open },
  ];
}

/** As `gatherEvidence` takes it. */
export function partsOf({ events, jobs, entries, rest, finalSeen, finalLimits }: MadeUpRun): EvidenceParts {
  return { observations: { seed: 1, events }, books: { ...rest, jobs, entries }, finalSeen, finalLimits };
}
