import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createMetrics } from './metrics.js';
import { createProcessMetrics, type ProcessMetrics } from './process-metrics.js';

const BLOCKED_MS = 80;

describe('createProcessMetrics', () => {
  let watch: ProcessMetrics;
  let render: () => string;
  beforeEach(async () => {
    const metrics = createMetrics();
    render = () => metrics.render();
    watch = createProcessMetrics(metrics, 'tested');
    await watch.start();
  });
  afterEach(() => watch.stop());

  function valueOf(sample: string, page = render()): number {
    const line = page.split('\n').find((each) => each.startsWith(`${sample} `));
    return Number(line?.slice(sample.length));
  }

  /** n.b. the timer has to have fired once before, and to fire once after. */
  async function block(): Promise<void> {
    await sleep(30);
    for (const startedAt = performance.now(); performance.now() - startedAt < BLOCKED_MS;);
    await sleep(30);
  }

  const longestMs = (): number => valueOf('sluice_event_loop_delay_seconds{quantile="1"}') * 1000;

  it('sees for how long nothing else could run', async () => {
    // n.b. on a busy machine the watch's own timer may be late to both sides of a pause.
    let longest = 0;
    for (let round = 0; round < 20 && longest <= BLOCKED_MS / 2; round++) {
      await block();
      longest = longestMs();
    }
    expect(longest).toBeGreaterThan(BLOCKED_MS / 2);
  });

  it('tells of the event loop only since the last look', async () => {
    await block();
    render();
    expect(longestMs()).toBe(0);
  });

  it('counts processor time once, and garbage collections', async () => {
    const cpuSeconds = (): number => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1e6;
    };
    render();
    const least = cpuSeconds();
    for (const from = cpuSeconds(); cpuSeconds() - from < 0.05;);
    render();
    const page = render();
    const counted = valueOf('process_cpu_seconds_total', page);
    expect(counted).toBeGreaterThan(least + 0.05);
    expect(counted).toBeLessThanOrEqual(cpuSeconds());
    for (const name of ['process_resident_memory_bytes', 'nodejs_heap_size_used_bytes', 'process_start_time_seconds'])
      expect(valueOf(name, page)).toBeGreaterThan(0);
    const collected = (): number => valueOf('nodejs_gc_duration_seconds_count{kind="minor"}');
    for (let round = 0; round < 200 && !(collected() > 0); round++) {
      Array.from({ length: 100_000 }, (_, index) => ({ index }));
      await sleep(1);
    }
    expect(collected()).toBeGreaterThan(0);
  });

  it('shows the delay of the event loop as a summary, which its label needs', () => {
    expect(render()).toContain('# TYPE sluice_event_loop_delay_seconds summary\n');
  });

  it('names the program and its version', () => {
    expect(render()).toMatch(/^sluice_build_info\{app="tested",version="\d+\.\d+\.\d+"\} 1$/m);
  });
});
