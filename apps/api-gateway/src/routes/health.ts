import { Router } from 'express';
import type { Health } from '../health.js';
import { sendJson } from '../middleware/respond.js';

/** `/livez`: the process answers. `/readyz`: send work here. `/health`: the same, with each part's state. */
export function healthRoutes(health: Health): Router {
  const router = Router();
  router.get('/livez', (_request, response) => sendJson(response, 200, { ok: true }));
  router.get('/readyz', async (_request, response) => {
    const ok = await health.ready();
    sendJson(response, ok ? 200 : 503, { ok });
  });
  router.get('/health', async (_request, response) => {
    const { ok, draining, parts } = await health.report();
    sendJson(response, ok ? 200 : 503, { ok, draining, ...parts });
  });
  return router;
}
