import { MOST_ATTEMPTS } from '../bounds.js';
import type { LimitStatus, ScopedLimits } from '../limits.js';
import type { JobSnapshot, Reservation, ReserveOutcome } from '../quota.js';
import { checkReservation } from '../reservation.js';
import { unavailable } from '../unavailable.js';
import { statusesOf } from './limit-statuses.js';
import { reserveAt, type ReserveReply, type View } from './reserve-model.js';
import type { ScopeState } from './scope-model.js';
import type { Steps } from './steps.js';
import { alive, type Source } from './tenant-model.js';

/** `reserve` of the package, command by command. Throws what that rejects with. */
export function* reserveSteps(source: Source, reservation: Reservation): Steps<ReserveOutcome> {
  checkReservation(reservation);
  for (let attempt = 1; attempt <= MOST_ATTEMPTS; attempt++) {
    const outcome = yield* reserveOnce(source, reservation);
    if (outcome !== 'again') return outcome;
  }
  throw unavailable(new Error(`the idempotency key of job ${reservation.jobId} cannot be freed`));
}

function* reserveOnce(source: Source, reservation: Reservation): Steps<ReserveOutcome | 'again'> {
  let nowMs = yield 'reserve';
  let reply = send(source, reservation, { clockMs: nowMs, withDefinitions: false });
  if (reply.outcome === 'define') {
    nowMs = yield 'reserve';
    reply = send(source, reservation, { clockMs: nowMs, withDefinitions: true });
  }
  switch (reply.outcome) {
    case 'reserved':
      return withLimits({ outcome: reply.outcome, nowMs, ...learnedOf(reply.view) }, reservation, reply.view);
    case 'refused':
      return refused(reservation, reply, nowMs);
    case 'exists':
    case 'conflict':
      return yield* known(source, reservation, { reply, nowMs });
    case 'stale':
      return { outcome: 'stale', clearsInMs: reply.clearsInMs, nowMs };
    case 'key_unknown':
    case 'not_loaded':
      return { outcome: reply.outcome };
    case 'define':
      throw new Error('definitions were asked for twice');
    default:
      return reply satisfies never;
  }
}

function send(
  { tenant, isLoaded }: Source,
  reservation: Reservation,
  how: { readonly clockMs: number; readonly withDefinitions: boolean },
): ReserveReply {
  const asked = tenant(reservation.tenantId);
  if (!isLoaded(asked)) return { outcome: 'not_loaded' };
  try {
    return reserveAt(asked, reservation, how);
  } catch (error) {
    throw unavailable(error);
  }
}

/** The job, or its key, was here before: what it is depends on how far it came. */
function* known(
  source: Source,
  reservation: Reservation,
  { reply, nowMs }: { reply: Extract<ReserveReply, { outcome: 'exists' | 'conflict' }>; nowMs: number },
): Steps<ReserveOutcome | 'again'> {
  const { jobId, isHeld } = reply;
  let snapshot: JobSnapshot | undefined;
  if (reply.outcome === 'exists' || !isHeld) {
    const clockMs = yield 'get';
    snapshot = alive(source.tenant(reservation.tenantId).jobs.get(jobId), clockMs);
  }
  // A load has dropped its hold, so that the job is either not recorded, and never will be; or it has ended.
  const mayBeDropped = !isHeld && (!snapshot || snapshot.state === 'reserved');
  if (mayBeDropped && reservation.idempotency?.checked) {
    free(source, reservation, { jobId, clockMs: yield 'free' });
    return 'again';
  }
  if (mayBeDropped && snapshot) return { outcome: 'key_unknown' };
  if (reply.outcome === 'conflict') return { outcome: 'conflict', jobId };
  return withLimits({ outcome: 'exists' as const, jobId, snapshot, nowMs }, reservation, reply.view);
}

/** Frees the key of a job that was never accepted, if that is still so. */
function free(
  { tenant, isLoaded }: Source,
  { tenantId, idempotency }: Reservation,
  { jobId, clockMs }: { readonly jobId: string; readonly clockMs: number },
): void {
  const asked = tenant(tenantId);
  const { holds, jobs, keys } = asked;
  const keyHash = idempotency?.keyHash ?? '';
  if (!isLoaded(asked) || holds.has(jobId)) return;
  const snapshot = alive(jobs.get(jobId), clockMs);
  if (snapshot && snapshot.state !== 'reserved') return;
  if (alive(keys.get(keyHash), clockMs)?.jobId !== jobId) return;
  jobs.delete(jobId);
  keys.delete(keyHash);
}

function refused(
  { scopes }: Reservation,
  { name, clearsInMs, view }: Extract<ReserveReply, { outcome: 'refused' }>,
  nowMs: number,
): ReserveOutcome {
  const limits = limitsOf(scopes, view.scopes, nowMs);
  const limit = limits.find((status) => status.name === name);
  if (!limit) throw new Error(`refused by "${name}", which is not a limit of the job`);
  return {
    ...{ outcome: 'refused', limit, limits, nowMs, ...learnedOf(view) },
    clearsInMs: clearsInMs === Infinity ? undefined : clearsInMs,
  };
}

function learnedOf({ learned }: View): Pick<View, 'learned'> {
  return learned ? { learned } : {};
}

const ORDER = ['tenant', 'apiKey', 'model'] as const;

function limitsOf(scopes: readonly ScopedLimits[], kept: readonly ScopeState[], nowMs: number): readonly LimitStatus[] {
  const inOrder = scopes.map(({ scope }) => kept[ORDER.indexOf(scope)]);
  const statuses = statusesOf(scopes, inOrder, nowMs);
  if (!statuses) throw new Error('the scopes of an accepted reservation lack a limit');
  return statuses;
}

/** As in the package, statuses are computed when they are first read: most callers never do. */
function withLimits<T extends { readonly nowMs: number }>(outcome: T, { scopes }: Reservation, view: View) {
  let limits: readonly LimitStatus[] | undefined;
  return Object.defineProperty(outcome, 'limits', {
    enumerable: true,
    get: () => (limits ??= limitsOf(scopes, view.scopes, outcome.nowMs)),
  }) as T & { readonly limits: readonly LimitStatus[] };
}
