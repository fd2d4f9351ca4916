import { isServiceError } from '@sluice/contracts';
import type { Quota } from '../quota.js';
import { unavailable } from '../unavailable.js';
import { checkAmounts, checkCount } from '../values.js';
import type { QuotaModel } from './quota-model.js';
import type { Steps } from './steps.js';

/**
 * The way of one command to Redis and of its answer back: calls `run` with the time of Redis' clock (Unix milliseconds)
 * at the moment when Redis runs the command, and resolves with what it returns when the answer has arrived. Rejects
 * where the connection is lost: before the command is run, or after. What `run` throws is the answer too.
 */
export type Exchange = <T>(command: string, run: (nowMs: number) => T) => Promise<T>;

/** A client of the model, as `createQuota` makes one of Redis. A rejected exchange rejects as `quota_unavailable`. */
export function createModelClient(model: QuotaModel, exchange: Exchange): Quota {
  const findExpiredHolds = model.expiredHolds();

  async function send<T>(command: string, run: (nowMs: number) => T): Promise<T> {
    try {
      return await exchange(command, run);
    } catch (error) {
      throw isServiceError(error) || error instanceof RangeError ? error : unavailable(error);
    }
  }
  async function drive<T>(steps: Steps<T>): Promise<T> {
    let step = steps.next(0);
    while (!step.done) step = await send(step.value, (nowMs) => steps.next(nowMs));
    return step.value;
  }

  return {
    reserve: async (reservation) => drive(model.reserve(reservation)),
    release: async (hold) => drive(model.release(hold)),
    dropHold: async (hold) => drive(model.dropHold(hold)),
    confirm: (job) => send('progress', (nowMs) => model.confirm(nowMs, job)),
    async running(jobs) {
      await Promise.all(jobs.map((job) => send('progress', (nowMs) => model.running(nowMs, job))));
    },
    async settle(settlements) {
      for (const settlement of settlements) {
        checkAmounts(settlement);
        checkCount('outputTokens', settlement.outputTokens);
      }
      return Promise.all(settlements.map((one) => send('settle', (nowMs) => model.settle(nowMs, one))));
    },
    status: async (tenantId, scopes) => send('status', (nowMs) => model.status(nowMs, tenantId, scopes)),
    beginLoad: (async (tenantId, limits) =>
      drive(limits ? model.beginLoad(tenantId, limits) : model.beginLoad(tenantId))) as Quota['beginLoad'],
    keepLoad: (ticket) => send('keep', (nowMs) => model.keepLoad(nowMs, ticket)),
    leaveLoad: (ticket) => send('keep', (nowMs) => model.leaveLoad(nowMs, ticket)),
    load: async (facts) => drive(model.load(facts)),
    unload: async (tenantId) => drive(model.unload(tenantId)),
    inspect: (tenantId) => send('hgetall', () => model.inspect(tenantId)),
    tenants: (cursor) => send('sscan', () => model.tenants(cursor)),
    snapshot: (tenantId, jobId) => send('get', (nowMs) => model.snapshot(nowMs, tenantId, jobId)),
    expiredHolds: async (query) => drive(findExpiredHolds(query)),
  };
}
