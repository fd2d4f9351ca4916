import { withDeadline } from '@sluice/runtime';
import { Router } from 'express';
import { sendJson } from '../middleware/respond.js';

export interface HealthCheck {
  readonly name: string;
  /** Whether the gateway can admit nothing without it. */
  readonly required: boolean;
  readonly check: () => Promise<boolean> | boolean;
}

export interface HealthRoutesOptions {
  readonly checks: readonly HealthCheck[];
  readonly draining: AbortSignal;
}

/** A server that hangs counts as unavailable after this; probes themselves often wait no longer than a second. */
const CHECK_TIMEOUT_MS = 500;

/** `/livez`: the process answers. `/readyz`: send work here. `/health`: the same, with each part's state. */
export function healthRoutes({ checks, draining }: HealthRoutesOptions): Router {
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

  const router = Router();
  router.get('/livez', (_request, response) => sendJson(response, 200, { ok: true }));
  router.get('/readyz', async (_request, response) => {
    const { ok } = await inspect(checks.filter(({ required }) => required));
    sendJson(response, ok ? 200 : 503, { ok });
  });
  router.get('/health', async (_request, response) => {
    const { ok, parts } = await inspect(checks);
    const states = Object.fromEntries(parts.map((part) => [part.name, part.ok ? 'ok' : 'unavailable']));
    sendJson(response, ok ? 200 : 503, { ok, draining: draining.aborted, ...states });
  });
  return router;
}
