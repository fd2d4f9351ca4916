import { withDeadline } from '@sluice/runtime';

export interface HealthCheck {
  readonly name: string;
  /** Whether the gateway can admit nothing without it. */
  readonly required: boolean;
  readonly check: () => Promise<boolean> | boolean;
}

export interface HealthOptions {
  readonly checks: readonly HealthCheck[];
  readonly draining: AbortSignal;
}

/** Whether work should be sent here. */
export interface Health {
  /** Asks the required parts only. */
  ready(): Promise<boolean>;
  /** Asks all parts; the state of each by its name, for everybody to read. */
  report(): Promise<HealthReport>;
}

export interface HealthReport {
  readonly ok: boolean;
  readonly draining: boolean;
  readonly parts: Readonly<Record<string, 'ok' | 'unavailable'>>;
}

/** A server that hangs counts as unavailable after this; probes themselves often wait no longer than a second. */
const CHECK_TIMEOUT_MS = 500;

export function createHealth({ checks, draining }: HealthOptions): Health {
  const running = new Map<string, Promise<boolean>>();

  /** One check at a time of each part, however many probes ask. */
  function run({ name, check }: HealthCheck): Promise<boolean> {
    const current = running.get(name);
    if (current) return current;
    const result = Promise.resolve()
      .then(check)
      .catch(() => false)
      .finally(() => running.delete(name));
    running.set(name, result);
    return result;
  }

  async function inspect(wanted: readonly HealthCheck[]) {
    const parts = await Promise.all(
      wanted.map(async (part) => {
        const timeout = new Error('the check took too long');
        const ok = await withDeadline(run(part), CHECK_TIMEOUT_MS, () => timeout).catch(() => false);
        return { ...part, ok };
      }),
    );
    return { ok: !draining.aborted && parts.every(({ ok, required }) => ok || !required), parts };
  }

  return {
    ready: async () => (await inspect(checks.filter(({ required }) => required))).ok,
    async report() {
      const { ok, parts } = await inspect(checks);
      const states = parts.map((part) => [part.name, part.ok ? 'ok' : 'unavailable'] as const);
      return { ok, draining: draining.aborted, parts: Object.fromEntries(states) };
    },
  };
}
