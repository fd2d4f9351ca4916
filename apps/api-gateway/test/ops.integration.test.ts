import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createFixture, send, type Fixture, type Gateway } from './gateway-fixture.js';

describe('the ops server of a gateway', () => {
  let fixture: Fixture;
  let gateway: Gateway;
  beforeAll(async () => {
    fixture = await createFixture();
    gateway = await fixture.startGateway({ SLUICE_OPS_PORT: '0' });
  });
  afterAll(() => fixture.close());

  it('answers probes, with the state of each part', async () => {
    expect((await send(gateway.opsUrl, '/livez')).status).toBe(200);
    expect((await send(gateway.opsUrl, '/readyz')).status).toBe(200);
    const { status, body } = await send(gateway.opsUrl, '/health');
    expect([status, body]).toEqual([
      200,
      {
        ok: true,
        live: true,
        detail: {
          ok: true,
          draining: false,
          parts: expect.objectContaining({ rabbitmq: 'ok', redis: 'ok', postgres: 'ok', fence: 'ok' }),
        },
      },
    ]);
  });

  it('shows metrics on its own port only', async () => {
    const page = await (await fetch(`${gateway.opsUrl}/metrics`)).text();
    expect(page).toMatch(/^sluice_build_info\{app="api-gateway",version="[\d.]+"\} 1$/m);
    expect(page).toMatch(/^process_resident_memory_bytes \d+$/m);
    expect((await send(gateway.url, '/metrics')).status).toBe(404);
    expect((await send(gateway.opsUrl, '/v1/models')).status).toBe(404);
  });
});
