import { ServiceError } from '@sluice/contracts';
import type { Quota, RedisServer } from '@sluice/quota';
import { createModelClient, type QuotaModel } from '@sluice/quota/model';
import type { Kernel, SimProcess } from '../../kernel/index.js';

export interface SimRedisOptions {
  readonly kernel: Kernel;
  readonly process: SimProcess;
  readonly model: QuotaModel;
  /** Redis' clock, Unix milliseconds, whole. */
  readonly nowMs: () => number;
  /** Hears, at the server, that a command has run. */
  readonly afterCommand: (command: string) => void;
  /** How much later than usual an answer arrives now, in milliseconds; asked at the server. */
  readonly latenessMs: () => number;
}

/** How long a lost connection takes to be tried again, milliseconds. */
const RETRY_MS = 100;

/** The quota as one process has it: each command is an event at the server, and its answer one of the process. */
export function createSimQuota(options: SimRedisOptions): Quota {
  const { kernel, process, model, nowMs, afterCommand, latenessMs } = options;
  return createModelClient(model, async (command, run) => {
    let lateMs = 0;
    try {
      return await kernel.call(process, 'redis', command, () => {
        try {
          return run(nowMs());
        } finally {
          afterCommand(command);
          lateMs = latenessMs();
        }
      });
    } finally {
      if (lateMs > 0) await new Promise((resolve) => void setTimeout(resolve, lateMs));
    }
  });
}

/** Redis as the process asks it for itself. */
export function createSimRedis({ kernel, process, nowMs }: SimRedisOptions): RedisServer {
  const ask = <T>(command: string, run: () => T): Promise<T> => kernel.call(process, 'redis', command, run);
  return {
    async ready(timeoutMs) {
      const giveUpMs = performance.now() + timeoutMs;
      for (;;) {
        const answered = await ask('ping', () => true).catch(() => false);
        if (answered) return;
        if (performance.now() >= giveUpMs) throw new ServiceError('quota_unavailable', 'Redis did not answer.');
        await new Promise((resolve) => void setTimeout(resolve, RETRY_MS));
      }
    },
    ping: () => ask('ping', () => 'PONG'),
    nowMs: () => ask('time', nowMs),
    close: () => Promise.resolve(),
  };
}
