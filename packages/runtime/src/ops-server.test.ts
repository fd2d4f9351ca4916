import { afterEach, describe, expect, it } from '@jest/globals';
import { createLogger } from './logger.js';
import { createOpsServer, type OpsServer } from './ops-server.js';

const logger = createLogger({ app: 'test', level: 'silent' });
let server: OpsServer | undefined;
afterEach(async () => server?.stop());

async function serving(state: { live: boolean; ready: boolean | Error }, metrics?: () => string): Promise<string> {
  server = createOpsServer({
    host: '127.0.0.1',
    port: 0,
    live: () => state.live,
    ready: () => (state.ready instanceof Error ? Promise.reject(state.ready) : state.ready),
    detail: () => ({ inFlight: 3 }),
    ...(metrics && { metrics }),
    logger,
  });
  await server.start();
  return `http://127.0.0.1:${server.port}`;
}

describe('createOpsServer', () => {
  it('tells liveness and readiness apart', async () => {
    const url = await serving({ live: true, ready: false });
    expect((await fetch(`${url}/livez`)).status).toBe(200);
    expect((await fetch(`${url}/readyz?verbose`)).status).toBe(503);
    const health = await fetch(`${url}/health`);
    expect(health.status).toBe(503);
    expect(await health.json()).toEqual({ ok: false, live: true, detail: { inFlight: 3 } });
    expect((await fetch(`${url}/other`)).status).toBe(404);
  });

  it('is not ready when the check itself fails', async () => {
    const url = await serving({ live: true, ready: new Error('secret host name') });
    const response = await fetch(`${url}/readyz`);
    expect(response.status).toBe(503);
    expect(await response.text()).not.toContain('secret');
  });

  it('shows metrics where there are some', async () => {
    const url = await serving({ live: true, ready: true }, () => 'up 1\n');
    const response = await fetch(`${url}/metrics`);
    expect([response.status, response.headers.get('content-type')]).toEqual([
      200,
      'text/plain; version=0.0.4; charset=utf-8',
    ]);
    expect(await response.text()).toBe('up 1\n');
    await server?.stop();
    expect((await fetch(`${await serving({ live: true, ready: true })}/metrics`)).status).toBe(404);
  });

  it('has further pages where they are given', async () => {
    server = createOpsServer({
      ...{ host: '127.0.0.1', port: 0, live: () => true, ready: () => true, detail: () => ({}), logger },
      page: async (path) =>
        path === '/depth' ? { status: 418, contentType: 'application/problem+json', body: { depth: 3 } } : undefined,
    });
    await server.start();
    const url = `http://127.0.0.1:${server.port}`;
    const found = await fetch(`${url}/depth?of=x`);
    expect([found.status, found.headers.get('content-type')]).toEqual([418, 'application/problem+json']);
    expect(await found.json()).toEqual({ depth: 3 });
    expect((await fetch(`${url}/other`)).status).toBe(404);
  });

  it('does nothing when it has no port, and stops twice', async () => {
    server = createOpsServer({
      host: '127.0.0.1',
      port: undefined,
      live: () => true,
      ready: () => true,
      detail: () => ({}),
      logger,
    });
    await server.start();
    expect(server.port).toBeUndefined();
    await server.stop();
    await server.stop();
  });
});
