import { delay, withDeadline, type Logger, type Service } from '@sluice/runtime';
import { createBackoff } from './backoff.js';
import { REFRESH_MS, TRUST_MS, type FenceMemberFacts, type FenceRegistry } from './fence-registry.js';

const REGISTER_TIMEOUT_MS = 10_000;
const RETRY = { firstMs: 200, maxMs: 5_000 };

export interface FenceRegistrationOptions {
  readonly registry: FenceRegistry;
  readonly member: FenceMemberFacts;
  /** After each success. */
  readonly onRegistered: () => void;
  readonly logger: Logger;
}

export interface FenceRegistration extends Service {
  /** The member is in the registry and cannot have been forgotten. */
  readonly valid: boolean;
  /** Registers again soon. */
  renew(): void;
}

/** Keeps a member in the registry: at once, on `renew`, every ten minutes, and as often as it takes when that fails. */
export function createFenceRegistration(options: FenceRegistrationOptions): FenceRegistration {
  const { registry, member, onRegistered, logger } = options;
  const halt = new AbortController();
  let wake = new AbortController();
  let registeredAtMs: number | undefined;
  let running: Promise<void> | undefined;

  async function run(): Promise<void> {
    let backoff = createBackoff(RETRY);
    while (!halt.signal.aborted) {
      wake = new AbortController();
      const registered = await register();
      if (registered) backoff = createBackoff(RETRY);
      await delay(registered ? REFRESH_MS : backoff.next(), AbortSignal.any([halt.signal, wake.signal]));
    }
  }

  async function register(): Promise<boolean> {
    const beganMs = performance.now();
    try {
      const tooLate = (): Error => new Error(`no answer within ${REGISTER_TIMEOUT_MS} ms`);
      await withDeadline(registry.register(member), REGISTER_TIMEOUT_MS, tooLate);
      registeredAtMs = beganMs;
      onRegistered();
      return true;
    } catch (error) {
      logger.warn({ err: error }, 'not registered for fences yet');
      return false;
    }
  }

  return {
    get valid() {
      return registeredAtMs !== undefined && performance.now() - registeredAtMs < TRUST_MS;
    },
    renew: () => wake.abort(),
    start() {
      running ??= run();
      return Promise.resolve();
    },
    async stop() {
      halt.abort();
      await running;
    },
  };
}
