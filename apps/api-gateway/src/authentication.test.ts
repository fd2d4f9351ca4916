import { describe, expect, it } from '@jest/globals';
import { ServiceError } from '@sluice/contracts';
import type { Principal } from '@sluice/store';
import { createAuthentication } from './authentication.js';

const acme: Principal = {
  ...{ tenantId: 'acme', apiKeyId: 'k', plan: 'demo', timeZone: 'UTC' },
  ...{ overrides: {}, keyLimits: {} },
};

/** A store that knows the keys in `known`, counts lookups, and can be switched off. */
function setUp(cacheTtlMs: number) {
  const state = { lookups: 0, revoked: false, away: false, nowMs: 0, expiresAtMs: Infinity };
  const authentication = createAuthentication({
    pepper: 'pepper',
    cacheTtlMs,
    now: () => state.nowMs,
    store: {
      findPrincipal: async (hash) => {
        state.lookups += 1;
        if (state.away) throw new ServiceError('store_unavailable', 'away');
        if (state.revoked || hash.length !== 32) return undefined;
        return { ...acme, ...(state.expiresAtMs < Infinity && { expiresAtMs: state.expiresAtMs }) };
      },
    },
  });
  const ask = () => authentication.authenticate('Bearer slk_good_key').catch((error: ServiceError) => error.code);
  return { state, ask };
}

describe('authentication', () => {
  it('asks once for many at the same time, and not again while the answer is fresh', async () => {
    const { state, ask } = setUp(60_000);
    expect(await Promise.all([ask(), ask(), ask()])).toEqual([acme, acme, acme]);
    await ask();
    expect(state.lookups).toBe(1);
  });

  it('asks each time when it may believe nothing', async () => {
    const { state, ask } = setUp(0);
    expect(await ask()).toEqual(acme);
    state.revoked = true;
    expect(await ask()).toBe('unauthenticated');
  });

  it('goes on with the same object while nothing has changed, since limits are kept by it', async () => {
    const { ask } = setUp(0);
    expect(await ask()).toBe(await ask());
  });

  it('believes an older answer only while PostgreSQL cannot be asked', async () => {
    const { state, ask } = setUp(0);
    await ask();
    state.away = true;
    expect(await ask()).toEqual(acme);
    Object.assign(state, { away: false, revoked: true });
    expect(await ask()).toBe('unauthenticated');
  });

  it('refuses a key from the moment it expires, however fresh the answer is, and whether or not PostgreSQL is away', async () => {
    for (const away of [false, true]) {
      const { state, ask } = setUp(60_000);
      state.expiresAtMs = 1_000;
      expect(await ask()).toMatchObject({ tenantId: 'acme' });
      Object.assign(state, { nowMs: 999, away });
      expect(await ask()).toMatchObject({ tenantId: 'acme' });
      state.nowMs = 1_000;
      expect(await ask()).toBe('unauthenticated');
    }
  });

  it('takes a key again that was given more time', async () => {
    const { state, ask } = setUp(60_000);
    Object.assign(state, { expiresAtMs: 1_000 });
    await ask();
    Object.assign(state, { nowMs: 1_000, expiresAtMs: 2_000 });
    expect(await ask()).toMatchObject({ expiresAtMs: 2_000 });
  });

  it('refuses a key it never saw while PostgreSQL is away, without calling it unknown', async () => {
    const { state, ask } = setUp(0);
    state.away = true;
    expect(await ask()).toBe('store_unavailable');
  });
});
