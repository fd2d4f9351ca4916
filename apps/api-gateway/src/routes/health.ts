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

/** `/livez`: the process answers. `/readyz`: send work here. `/health`: the same, with each part's state. */
export function healthRoutes({ checks, draining }: HealthRoutesOptions): Router {
  async function inspect() {
    const parts = await Promise.all(
      checks.map(async ({ name, required, check }) => {
        const ok = await Promise.resolve()
          .then(check)
          .catch(() => false);
        return { name, required, ok };
      }),
    );
    return { ok: !draining.aborted && parts.every(({ ok, required }) => ok || !required), parts };
  }

  const router = Router();
  router.get('/livez', (_request, response) => sendJson(response, 200, { ok: true }));
  router.get('/readyz', async (_request, response) => {
    const { ok } = await inspect();
    sendJson(response, ok ? 200 : 503, { ok });
  });
  router.get('/health', async (_request, response) => {
    const { ok, parts } = await inspect();
    const states = Object.fromEntries(parts.map((part) => [part.name, part.ok ? 'ok' : 'unavailable']));
    sendJson(response, ok ? 200 : 503, { ok, draining: draining.aborted, ...states });
  });
  return router;
}
