import { describe, expect, it, jest } from '@jest/globals';
import { ServiceError } from '@sluice/contracts';
import { createMetrics } from '@sluice/telemetry';
import type { ModelBacklog } from '@sluice/store';
import { backlogPage, createBacklogMetrics } from './backlog-pages.js';
import { createBacklog } from './backlog.js';
import type { PublicModel } from './catalogue.js';

const model = (name: string, pool: string): PublicModel =>
  ({ name, pool, classes: ['interactive', 'batch'] }) as unknown as PublicModel;
const row = (name: string, jobs: number, inputTokens: number): ModelBacklog => {
  return { model: name, class: 'batch', jobs, inputTokens };
};

function backlogOf(read: () => Promise<readonly ModelBacklog[]>) {
  const clock = { nowMs: 50_000 };
  const store = { backlog: jest.fn(read) };
  const catalogue = { models: [model('small', 'text'), model('large', 'text'), model('idle', 'other')] };
  const pools = ['text', 'other'];
  const backlog = createBacklog({ store, catalogue, pools, now: () => clock.nowMs });
  return { backlog, store, catalogue, clock };
}

describe('the backlog at a gateway', () => {
  it('sums up the models of a pool, and knows those that moved to another', async () => {
    const { backlog, catalogue } = backlogOf(async () => [
      row('large', 2, 900),
      row('gone', 5, 50),
      row('small', 1, 7),
    ]);
    expect(await backlog.ofPool('text')).toEqual({ pool: 'text', jobs: 3, tokens: 907 });
    expect(await backlog.ofPool('other')).toEqual({ pool: 'other', jobs: 0, tokens: 0 });
    expect((await backlog.read()).find(({ model: name }) => name === 'gone')?.pool).toBe('');
    catalogue.models[1] = model('large', 'other');
    expect(await backlog.ofPool('other')).toEqual({ pool: 'other', jobs: 2, tokens: 900 });
    await expect(backlog.ofPool('constructor')).rejects.toMatchObject({ code: 'not_found' });
  });

  it('reads at most once a second, also while a reading is under way or failed', async () => {
    let fail = false;
    const { backlog, store, clock } = backlogOf(async () => {
      if (fail) throw new ServiceError('store_unavailable', 'No.');
      return [row('small', store.backlog.mock.calls.length, 0)];
    });
    await Promise.all([backlog.read(), backlog.read()]);
    clock.nowMs += 999;
    expect((await backlog.read())[0]?.jobs).toBe(1);
    clock.nowMs += 1;
    fail = true;
    await expect(backlog.read()).rejects.toMatchObject({ code: 'store_unavailable' });
    await expect(backlog.read()).rejects.toMatchObject({ code: 'store_unavailable' });
    expect(store.backlog).toHaveBeenCalledTimes(2);
    [fail, clock.nowMs] = [false, clock.nowMs + 1_000];
    expect((await backlog.read())[0]?.jobs).toBe(3);
  });

  it('is not known when PostgreSQL does not answer, which is no reason to ask again', async () => {
    const { backlog, store, clock } = backlogOf(() => new Promise(() => undefined));
    await expect(backlog.read()).rejects.toMatchObject({ code: 'store_unavailable' });
    clock.nowMs += 60_000;
    const page = await backlogPage(backlog, '/backlog/text');
    expect(page).toMatchObject({ status: 503, contentType: 'application/problem+json', body: { retryable: true } });
    expect(store.backlog).toHaveBeenCalledTimes(1);
  });

  it('has a page for each pool and no other', async () => {
    const { backlog } = backlogOf(async () => [row('small', 1, 7)]);
    expect(await backlogPage(backlog, '/backlog/text')).toEqual({
      ...{ status: 200, contentType: 'application/json' },
      body: { pool: 'text', jobs: 1, tokens: 7 },
    });
    expect(await backlogPage(backlog, '/backlog/none')).toMatchObject({ status: 404, body: { code: 'not_found' } });
    expect(await backlogPage(backlog, '/backlog/text/more')).toBeUndefined();
    expect(await backlogPage(backlog, '/backlogs')).toBeUndefined();
  });

  it('shows 0 for what is known to be idle, and nothing of what is not known', async () => {
    let isAway = false;
    const { backlog, catalogue, clock } = backlogOf(async () => {
      if (isAway) throw new ServiceError('store_unavailable', 'No.');
      return [row('small', 2, 30)];
    });
    const metrics = createMetrics();
    const gauges = createBacklogMetrics({ metrics, backlog, catalogue });
    const samples = (): readonly string[] =>
      metrics
        .render()
        .split('\n')
        .filter((line) => /^[^#]/.test(line));
    await gauges.refresh();
    expect(samples()).toHaveLength(2 * 3 * 2);
    expect(samples()).toContain('sluice_backlog_tokens{class="batch",model="small",pool="text"} 30');
    expect(samples()).toContain('sluice_backlog_jobs{class="interactive",model="small",pool="text"} 0');
    [isAway, clock.nowMs] = [true, clock.nowMs + 1_000];
    await gauges.refresh();
    expect(samples()).toEqual([]);
  });
});
