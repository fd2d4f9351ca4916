import { delay, withDeadline } from './deadline.js';
import { ConfigError } from './config-error.js';
import { endEarlySignals } from './early-signals.js';
import type { Service } from './lifecycle.js';
import type { Logger } from './logger.js';

/** Ports that a program listens on; those that it does not have are absent. */
export interface ReadyPorts {
  /** Where it serves tenants. */
  readonly port?: number | undefined;
  /** Where it serves probes and metrics. */
  readonly opsPort?: number | undefined;
}

export interface AppOptions {
  readonly name: string;
  readonly logger: Logger;
  /** How long work in flight may take to finish after SIGTERM, in milliseconds. */
  readonly drainTimeoutMs: number;
  readonly lifecycle: Service;
  /** Sends what the program has yet to tell about itself, for at most so many milliseconds; what becomes of that changes no exit code. */
  readonly flush?: ((withinMs: number) => Promise<void>) | undefined;
  /** What a parent process is told when the program works. */
  readonly onReady?: () => ReadyPorts;
  /** What SIGHUP does, which ends the program when this is absent. */
  readonly onHangUp?: () => void;
}

/** However long the drain took, so much is left for the flush; and more than that is not waited for. Milliseconds. */
const FLUSH = { least: 250, most: 3_000 };

/**
 * Runs a program until it is told to end: starts it, tells a parent that forked it, and on SIGTERM, SIGINT or the
 * loss of that parent drains it. A second signal ends it at once, and a drain that overruns as well, with exit code 1;
 * whatever was in flight is then redelivered by the broker.
 */
export async function runApp(options: AppOptions): Promise<void> {
  const { name, logger, drainTimeoutMs, lifecycle } = options;
  let ending = false;

  /** Resolves with the exit code. */
  async function drain(): Promise<number> {
    try {
      await withDeadline(lifecycle.stop(), drainTimeoutMs, () => new Error(`did not drain in ${drainTimeoutMs} ms`));
      return 0;
    } catch (error) {
      logger.error({ err: error }, `${name} did not end cleanly`);
      return 1;
    }
  }

  async function flush(leftMs: number): Promise<void> {
    if (!options.flush) return;
    const withinMs = Math.min(FLUSH.most, Math.max(FLUSH.least, leftMs));
    try {
      await Promise.race([options.flush(withinMs), delay(withinMs)]);
    } catch (error) {
      logger.warn({ err: error }, 'what was left to tell could not be sent');
    }
  }

  async function end(reason: string): Promise<void> {
    if (ending) {
      logger.warn({ reason }, 'told to end again, ending at once');
      process.exit(1);
    }
    ending = true;
    logger.info({ reason }, `${name} is draining`);
    const endsAtMs = performance.now() + drainTimeoutMs;
    const code = await drain();
    await flush(endsAtMs - performance.now());
    if (code === 0) logger.info(`${name} has ended`);
    exit(logger, code);
  }

  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void end(signal));
  endEarlySignals();
  if (options.onHangUp) process.on('SIGHUP', options.onHangUp);
  // n.b. a forked child must not outlive a parent that was killed; without an IPC channel this event never comes.
  process.once('disconnect', () => void end('the parent process is gone'));
  if (process.send !== undefined && !process.connected) void end('the parent process is gone');
  process.on('unhandledRejection', (error) => {
    logger.fatal({ err: error }, 'a promise was rejected and nobody looked');
    exit(logger, 1);
  });

  try {
    await lifecycle.start();
  } catch (error) {
    if (ending) return; // told to end while it started; that goes its own way
    logger.fatal({ err: error }, `${name} could not start`);
    exit(logger, 1);
    return;
  }
  if (ending) return;
  logger.info(options.onReady?.() ?? {}, `${name} is ready`);
  process.send?.({ type: 'ready', ...options.onReady?.() });
}

/** Ends a program whose configuration cannot be read, before there is a logger; prints every problem. */
export function exitOnConfigError(error: unknown): never {
  if (error instanceof ConfigError) process.stderr.write(`${error.message}\n`);
  else process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.exit(78); // EX_CONFIG of sysexits.h
}

function exit(logger: Logger, code: number): void {
  logger.flush(() => process.exit(code));
}
