import { isServiceError, ServiceError } from '@sluice/contracts';
import type { Store } from '@sluice/store';
import { MODELLED_METHODS, type Steps, type StoreModel } from '@sluice/store/model';
import type { Kernel, SimProcess } from '../../kernel/index.js';
import { ServerLost } from './outages.js';

export interface SimStoreOptions {
  readonly kernel: Kernel;
  readonly process: SimProcess;
  readonly model: StoreModel;
  /** PostgreSQL's clock, Unix milliseconds. */
  readonly nowMs: () => number;
  /** Hears, at the server, that a statement has run. */
  readonly afterStatement: (method: string) => void;
  /** How much later than usual an answer arrives now, in milliseconds; asked at the server. */
  readonly latenessMs: () => number;
}

type Method = (...args: readonly never[]) => Promise<unknown>;

/** The store as one process has it: each statement is an event at the server, and its answer one of the process. */
export function createSimStore(options: SimStoreOptions): Store {
  const { kernel, process, model, nowMs, afterStatement, latenessMs } = options;

  async function statement<T>(name: string, run: () => T): Promise<T> {
    let lateMs = 0;
    try {
      return await kernel.call(process, 'postgres', name, () => {
        const result = run();
        afterStatement(name);
        lateMs = latenessMs();
        return result;
      });
    } catch (error) {
      throw error instanceof ServerLost ? unavailable(error) : error;
    } finally {
      if (lateMs > 0) await new Promise((resolve) => void setTimeout(resolve, lateMs));
    }
  }

  async function drive<T>(name: string, steps: Steps<T>): Promise<T> {
    let step = steps.next();
    while (step.done !== true) step = await statement(name, () => steps.next(nowMs()));
    return step.value;
  }

  const methods = Object.fromEntries(
    MODELLED_METHODS.map((name): [string, Method] => {
      const call = model[name] as (...args: readonly unknown[]) => unknown;
      return [name, (...args) => statement(name, () => call(nowMs(), ...args))];
    }),
  );
  const own: Partial<Store> = {
    recordFacts: (facts) => drive('recordFacts', model.steps.recordFacts(facts)),
    expiredOpenHolds: (limit, deadlinesMs) =>
      drive('expiredOpenHolds', model.steps.expiredOpenHolds(limit, deadlinesMs)),
    start: () => statement('ping', () => undefined),
    stop: () => Promise.resolve(),
    // Nothing of what is simulated is about alerts, partitions, retention or upgrades.
    ensurePartitions: () => Promise.resolve(),
    correctBacklog: () => Promise.resolve(0),
    raiseLimitAlerts: () => Promise.resolve([]),
    unsentAlerts: () => Promise.resolve([]),
    listPartitions: () => Promise.resolve([]),
  };
  return { ...methods, ...own } as unknown as Store;
}

function unavailable(cause: unknown): ServiceError {
  return isServiceError(cause) ? cause : new ServiceError('store_unavailable', 'PostgreSQL was lost.', { cause });
}
