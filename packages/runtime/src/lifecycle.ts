import type { Logger } from './logger.js';

/**
 * Anything long-lived. `start` resolves when it works; `stop` resolves when nothing of it is left, is safe twice,
 * and is safe when `start` was never called or failed.
 */
export interface Service {
  start(): Promise<void>;
  stop(): Promise<void>;
}

export interface LifecyclePart {
  /** For the log. */
  readonly name: string;
  readonly start?: () => Promise<void>;
  readonly stop?: () => Promise<void>;
}

export type LifecycleState = 'created' | 'starting' | 'running' | 'draining' | 'stopped' | 'failed';

export interface Lifecycle extends Service {
  readonly state: LifecycleState;
}

/**
 * Starts parts in order and stops them in reverse. A part's `stop` may be called while its `start` is under way.
 *
 * ```
 * created ─start▶ starting ─▶ running ─stop▶ draining ─▶ stopped
 *                    └─(a part fails: those that started are stopped)─▶ failed
 * ```
 */
export function createLifecycle(parts: readonly LifecyclePart[], logger: Logger): Lifecycle {
  let state: LifecycleState = 'created';
  let stopping: Promise<void> | undefined;
  let starting: Promise<void> | undefined;
  const started: LifecyclePart[] = [];

  async function startParts(): Promise<void> {
    state = 'starting';
    for (const part of parts) {
      if (stopping) return;
      started.push(part);
      await part.start?.();
    }
    if (!stopping) state = 'running';
  }

  async function stopParts(final: LifecycleState): Promise<void> {
    state = 'draining';
    for (const part of started.splice(0).reverse()) {
      try {
        await part.stop?.();
      } catch (error) {
        logger.error({ err: error, part: part.name }, 'a part did not stop cleanly');
      }
    }
    state = final;
  }

  return {
    get state() {
      return state;
    },
    start() {
      starting ??= startParts().catch(async (error: unknown) => {
        if (!stopping) await stopParts('failed');
        throw error;
      });
      return starting;
    },
    stop() {
      // n.b. a part that is still starting is stopped as well: it may be waiting for a server that is not there.
      stopping ??= (async () => {
        if (state === 'failed') return;
        await stopParts('stopped');
        await starting?.catch(() => undefined);
      })();
      return stopping;
    },
  };
}
