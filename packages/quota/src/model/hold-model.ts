import { MOST_NOTES } from '../bounds.js';
import type { HoldRef } from '../expired-holds.js';
import type { JobSnapshot, Settlement, SettleOutcome } from '../quota.js';
import { withSample } from './histogram.js';
import type { Steps } from './steps.js';
import { alive, endHold, type Source, type TenantModel } from './tenant-model.js';

const NOTHING = { tokens: 0, nanoUsd: 0 };

/** The one command that ends a hold with what was used. */
export function settleAt(
  source: Source,
  settlement: Settlement,
  { nowMs, snapshotTtlMs }: { readonly nowMs: number; readonly snapshotTtlMs: number },
): SettleOutcome {
  const { jobId, outputTokens, state } = settlement;
  const tenant = source.tenant(settlement.tenantId);
  const used = { tokens: settlement.tokens, nanoUsd: settlement.nanoUsd };
  const known = tenant.jobs.get(jobId);
  const snapshot = alive(known, nowMs);
  if (snapshot) {
    const expiresAtMs = Math.max(nowMs + snapshotTtlMs, known?.expiresAtMs ?? 0);
    tenant.jobs.set(jobId, { value: { ...snapshot, state }, expiresAtMs });
  }
  if (!source.isLoaded(tenant)) {
    noteEnd(source, tenant, { jobId, used, nowMs });
    tenant.loadedIn = undefined;
    tenant.holds.delete(jobId);
    return 'early';
  }
  const hold = tenant.holds.get(jobId);
  if (!hold) return 'missing';
  endHold(tenant, jobId, { used, requests: 1n, nowMs });
  if (hold.learns && state === 'succeeded')
    tenant.learned.set(hold.model, withSample(tenant.learned.get(hold.model), outputTokens));
  return 'settled';
}

/** A load under way takes note, or has to begin anew. */
function noteEnd(
  source: Source,
  tenant: TenantModel,
  { jobId, used, nowMs }: { jobId: string; used: Settlement | typeof NOTHING; nowMs: number },
): void {
  const load = alive(tenant.load, nowMs);
  if (!load || !tenant.load) return;
  const notes = load.notes.has(jobId) ? load.notes : new Map([...load.notes, [jobId, used]]);
  // Ticket and sign of life are kept beside the notes.
  const isKept = load.run === source.run() && notes.size + 2 <= MOST_NOTES;
  tenant.load = isKept ? { ...tenant.load, value: { ...load, notes } } : undefined;
}

/** `release` and, without an owner, `dropHold` of the package, command by command. */
export function* releaseSteps(source: Source, { tenantId, jobId }: HoldRef, owner?: string): Steps<boolean> {
  yield 'hget';
  const keyHash = source.tenant(tenantId).holds.get(jobId)?.keyHash ?? '';
  const nowMs = yield 'release';
  const tenant = source.tenant(tenantId);
  const hold = tenant.holds.get(jobId);
  if (!hold || (owner !== undefined && hold.owner !== owner)) return false;
  if (source.isLoaded(tenant)) endHold(tenant, jobId, { used: NOTHING, requests: 0n, nowMs });
  else {
    tenant.loadedIn = undefined;
    tenant.holds.delete(jobId);
  }
  tenant.jobs.delete(jobId);
  if (alive(tenant.keys.get(keyHash), nowMs)?.jobId === jobId) tenant.keys.delete(keyHash);
  return true;
}

const BEFORE: Readonly<Record<'queued' | 'running', readonly JobSnapshot['state'][]>> = {
  queued: ['reserved'],
  running: ['reserved', 'queued'],
};

/** The one command behind `confirm` and `running`. */
export function progressAt({ jobs }: TenantModel, jobId: string, state: 'queued' | 'running', nowMs: number): boolean {
  const kept = jobs.get(jobId);
  const snapshot = alive(kept, nowMs);
  if (!kept || !snapshot || !BEFORE[state].includes(snapshot.state)) return false;
  jobs.set(jobId, { ...kept, value: { ...snapshot, state } });
  return true;
}
