import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createMetrics } from '@sluice/telemetry';
import { createEventLoopDelay, type EventLoopDelay } from './event-loop-delay.js';

const BLOCKED_MS = 80;

describe('createEventLoopDelay', () => {
  let delay: EventLoopDelay;
  let render: () => string;
  beforeEach(async () => {
    const metrics = createMetrics();
    render = () => metrics.render();
    delay = createEventLoopDelay(metrics);
    await delay.start();
  });
  afterEach(() => delay.stop());

  function longestMs(): number {
    delay.update();
    const line = /^sluice_worker_event_loop_delay_seconds\{quantile="1"\} (\S+)$/m.exec(render());
    return Number(line?.[1]) * 1000;
  }

  /** n.b. the timer has to have fired once before, and to fire once after. */
  async function block(): Promise<void> {
    await sleep(30);
    for (const startedAt = performance.now(); performance.now() - startedAt < BLOCKED_MS;);
    await sleep(30);
  }

  it('sees for how long nothing else could run', async () => {
    await block();
    expect(longestMs()).toBeGreaterThan(BLOCKED_MS / 2);
  });

  it('tells only of what came after the last look', async () => {
    await block();
    delay.update();
    expect(longestMs()).toBe(0);
  });
});
