import type { ShownLimit } from '../src/chaos/outsider/observations.js';
import { addJob, answered, sent, type MadeUpRun } from './chaos-verdict-run.js';

/** Every check, by a short name. */
export const CHECKS = {
  accepted: 'every accepted job has exactly one end, the same by HTTP and in the ledger',
  whole: 'every job has exactly one reserve and one terminal entry',
  final: 'an end that was told never changes',
  bills: 'each bill is what HTTP shows and what the prices make of it',
  origin: 'no job without a request that was accepted or whose answer is unknown',
  refused: 'what was refused made no job, and what is invalid is refused',
  keys: 'one Idempotency-Key has one job, and another body under it is refused',
  quotas: 'no quota and no budget was passed',
  samples: 'whenever limits were looked at, use and holds were within them',
  rates: 'no rate was passed in a window of any length',
  flights: 'never more was in flight than may be',
  redis: 'Redis equals the ledger, and nothing is held',
  canceled: 'what was canceled stays canceled, and nothing else is',
  results: 'equal inputs have equal results, and failures a reason',
  internal: 'no submission was answered as a defect',
  stuck: 'nothing is stuck',
  views: 'every view of reconciliation is empty',
  letters: 'every dead letter is of a job that has ended',
} as const;
export type CheckKey = keyof typeof CHECKS;

/** What goes wrong, in words; what is said of it; which checks find it, the first of them by that saying; and how it is made. */
export type Violation = readonly [
  what: string,
  said: RegExp,
  found: readonly CheckKey[],
  falsify: (run: MadeUpRun) => void,
];

function find<T>(list: readonly T[], is: (one: T) => boolean): T {
  const found = list.find(is);
  if (found === undefined) throw new Error('there is no such thing in the made-up run');
  return found;
}
export const entry = (run: MadeUpRun, name: string, phase: number) =>
  find(run.entries, (one) => one.jobId === `job-${name}` && one.phase === phase);
export const final = (run: MadeUpRun, name: string) => find(run.finalSeen, ({ jobId }) => jobId === `job-${name}`);
export const booked = (run: MadeUpRun, name: string) => find(run.jobs, ({ jobId }) => jobId === `job-${name}`);
export function seen(run: MadeUpRun, name: string) {
  const found = find(run.events, (event) => event.kind === 'seen' && event.jobId === `job-${name}`);
  return found as Extract<typeof found, { kind: 'seen' }>;
}
export function shown(run: MadeUpRun, name: string): { -readonly [Key in keyof ShownLimit]: ShownLimit[Key] } {
  return find(run.finalLimits[0]?.limits ?? [], (limit) => limit.name === name);
}
const without = <T>(list: readonly T[], one: T): T[] => list.filter((other) => other !== one);

export const VIOLATIONS: readonly Violation[] = [
  [
    'an accepted job vanishes',
    /is not recorded/,
    ['accepted', 'final', 'redis'],
    (run) => {
      run.jobs = without(run.jobs, booked(run, 'plain'));
      run.entries = run.entries.filter(({ jobId }) => jobId !== 'job-plain');
      Object.assign(final(run, 'plain'), { state: 'missing', usage: undefined, outputHash: undefined });
    },
  ],
  [
    'an accepted job never ends',
    /has no end in the ledger/,
    ['accepted', 'whole', 'redis', 'stuck'],
    (run) => (run.entries = without(run.entries, entry(run, 'plain', 2))),
  ],
  [
    'HTTP and the ledger tell different ends',
    /HTTP says succeeded, the ledger failed/,
    ['accepted'],
    (run) => (entry(run, 'plain', 2).state = 'failed'),
  ],
  [
    'a job is billed twice',
    /has 2 terminal entries/,
    ['whole', 'quotas', 'redis'],
    (run) => run.entries.push({ ...entry(run, 'plain', 2) }),
  ],
  [
    'a job is reserved twice',
    /has 2 reserve entries/,
    ['whole'],
    (run) => run.entries.push({ ...entry(run, 'plain', 1) }),
  ],
  [
    'a job has a bill and no reserve',
    /has 0 reserve entries/,
    ['whole'],
    (run) => (run.entries = without(run.entries, entry(run, 'plain', 1))),
  ],
  [
    'a job that ended has another end later',
    /failed, and then succeeded/,
    ['final'],
    (run) => (seen(run, 'plain').state = 'failed'),
  ],
  [
    'a job that ended is open again',
    /succeeded, and later queued/,
    ['final'],
    (run) => {
      const end = seen(run, 'plain');
      run.events.push({ ...end, state: 'queued', askedAtMs: end.atMs + 1, atMs: end.atMs + 2 });
    },
  ],
  [
    'the result of a job changes',
    /the result changed/,
    ['final'],
    (run) => (seen(run, 'plain').outputHash = 'another'),
  ],
  [
    'a bill is not what the prices make of it',
    /billed 1501 nano-USD, the prices make 1500/,
    ['bills', 'redis'],
    (run) => {
      entry(run, 'plain', 2).amountNanoUsd = 1_501n;
      for (const one of [final(run, 'plain'), seen(run, 'plain')]) one.amountNanoUsd = '1501';
    },
  ],
  [
    'HTTP shows another amount than the ledger bills',
    /HTTP shows 1499 nano-USD/,
    ['bills'],
    (run) => {
      for (const one of [final(run, 'plain'), seen(run, 'plain')]) one.amountNanoUsd = '1499';
    },
  ],
  [
    'HTTP shows another use than the ledger bills',
    /HTTP shows 99 \+ 0 \+ 0 tokens/,
    ['bills'],
    (run) => {
      const usage = { inputTokens: 99, outputTokens: 0, cachedTokens: 0 };
      for (const one of [final(run, 'plain'), seen(run, 'plain')]) one.usage = usage;
    },
  ],
  [
    'use beyond the hold is not booked as overage',
    /used were 10 beyond the hold/,
    ['bills'],
    (run) => (entry(run, 'plain', 2).reservedTokens = 90),
  ],
  [
    'a job is of a request that nobody sent',
    /never sent/,
    ['origin'],
    (run) => (booked(run, 'plain').request = 'somebody'),
  ],
  [
    "a job is recorded as another tenant's",
    /another tenant's job/,
    ['origin'],
    (run) => (booked(run, 'plain').tenantId = 'other'),
  ],
  [
    'a request makes two jobs',
    /one request made several jobs/,
    ['origin', 'quotas', 'redis'],
    (run) => {
      addJob(run, { name: 'again', afterMs: 30_000 });
      booked(run, 'again').request = 'plain';
    },
  ],
  [
    'a job is another than its client was told of',
    /its client was told of job job-else/,
    ['origin', 'accepted'],
    (run) => {
      const answer = find(run.events, (event) => event.kind === 'answered' && event.request === 'plain');
      Object.assign(answer, { jobId: 'job-else' });
    },
  ],
  [
    'a refused request makes a job',
    /only refused/,
    ['origin', 'refused', 'quotas', 'redis'],
    (run) => {
      addJob(run, { name: 'sneaked', afterMs: 30_000 });
      booked(run, 'sneaked').request = 'limited';
    },
  ],
  [
    'an invalid request is accepted',
    /an invalid request was accepted/,
    ['refused', 'accepted'],
    (run) => run.events.push(answered('nonsense', 14_020, 'accepted', 202)),
  ],
  [
    'one key has two jobs',
    /one key has 2 jobs/,
    ['keys', 'quotas', 'redis'],
    (run) => addJob(run, { name: 'second', afterMs: 30_000, key: 'idem-1' }),
  ],
  [
    'a contradiction is answered as something else',
    /was answered 400/,
    ['keys'],
    (run) => {
      run.events.push(sent('odd', 30_000, { purpose: 'conflict', idempotencyKey: 'idem-1' }));
      run.events.push(answered('odd', 30_010, 'refused', 400));
    },
  ],
  [
    'a quota is passed',
    /acme: tokens-per-day in 2026-06-15: 200 used of 150/,
    ['quotas', 'samples'],
    (run) => (shown(run, 'tokens-per-day').max = 150),
  ],
  [
    'a budget is passed',
    /acme: money-per-month in 2026-06: 3000 used of 2999/,
    ['quotas', 'samples'],
    (run) => (shown(run, 'money-per-month').max = 2_999),
  ],
  [
    'more is held than may be at some moment',
    /2 held of 1/,
    ['samples'],
    (run) => {
      const one = find(run.events, ({ kind }) => kind === 'quota');
      const limits = (one as unknown as { readonly limits: ShownLimit[] }).limits;
      Object.assign(
        find(limits, ({ name }) => name === 'concurrent-jobs'),
        { held: 2 },
      );
    },
  ],
  [
    'a burst passes a rate',
    /acme: tokens-per-minute: \d+ at .*, at most 650/,
    ['rates', 'quotas', 'redis'],
    (run) => {
      // What the canceled job gave back would make room for one more.
      entry(run, 'dropped', 2).reservedTokens = 0;
      for (let count = 0; count < 7; count++) addJob(run, { name: `burst-${count}`, afterMs: 30_000 + count });
    },
  ],
  [
    'more is open at once than may be',
    /acme: concurrent-jobs: 2 at/,
    ['flights'],
    (run) => {
      for (const name of ['plain', 'keyed']) entry(run, name, 2).recordedAtMs = booked(run, 'keyed').atMs + 20_000;
    },
  ],
  [
    'Redis has used less than the ledger',
    /Redis has 199 used, the ledger 200/,
    ['redis'],
    (run) => (shown(run, 'tokens-per-day').used = 199),
  ],
  ['a hold leaks', /100 are still held/, ['redis', 'samples'], (run) => (shown(run, 'tokens-per-day').held = 100)],
  [
    'Redis forgets overage',
    /Redis has 0 overage, the ledger 7/,
    ['redis', 'bills'],
    (run) => (entry(run, 'plain', 2).overageTokens = 7),
  ],
  [
    'a job that was said to be canceled is not',
    /was answered 200, it is succeeded/,
    ['canceled'],
    (run) => {
      const cancel = find(run.events, ({ kind }) => kind === 'canceled');
      run.events.push({ ...cancel, jobId: 'job-plain' } as typeof cancel);
    },
  ],
  [
    'a job is canceled that nobody canceled',
    /nobody canceled it/,
    ['canceled'],
    (run) => (run.events = run.events.filter(({ kind }) => kind !== 'canceled')),
  ],
  [
    'a job that was said to have ended is canceled',
    /answered 409, it is canceled/,
    ['canceled'],
    (run) =>
      Object.assign(
        find(run.events, ({ kind }) => kind === 'canceled'),
        { status: 409, state: undefined },
      ),
  ],
  [
    'equal inputs have different results',
    /0\.1 away from that of an equal input/,
    ['results'],
    (run) => (seen(run, 'plain').distance = 0.1),
  ],
  [
    'a job succeeds without a result',
    /succeeded without a result/,
    ['results'],
    (run) => {
      for (const one of [final(run, 'plain'), seen(run, 'plain')]) delete (one as { outputHash?: string }).outputHash;
    },
  ],
  [
    'a defect is told to a client',
    /answered as a defect/,
    ['internal'],
    (run) => run.events.push(answered('lost', 16_010, 'unknown', 500)),
  ],
  [
    'a view of reconciliation has rows',
    /v_recon_x has 2 rows/,
    ['views'],
    (run) => (run.rest.reconciliations = [{ view: 'v_recon_x', rows: 2, first: [{ job_id: 1 }] }]),
  ],
  ['there are no views to run', /no view/, ['views'], (run) => (run.rest.reconciliations = [])],
  [
    'a dead letter is of no job',
    /a dead letter of no known job/,
    ['letters'],
    (run) => (run.rest.deadLetters = [{ id: 1, queue: 'dead', reason: 'r', type: 't', jobId: null, messageId: 'm' }]),
  ],
  ['no limit is shown', /no limit was shown/, ['redis'], (run) => (run.finalLimits = [])],
];
