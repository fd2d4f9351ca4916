import { describe, expect, it } from '@jest/globals';
import { createLifecycle, type LifecyclePart } from './lifecycle.js';
import { createLogger } from './logger.js';

const logger = createLogger({ app: 'test', level: 'silent' });

function recording(names: readonly string[], events: string[]): LifecyclePart[] {
  return names.map((name) => ({
    name,
    start: async () => void events.push(`+${name}`),
    stop: async () => void events.push(`-${name}`),
  }));
}

describe('createLifecycle', () => {
  it('starts in order and stops in reverse', async () => {
    const events: string[] = [];
    const lifecycle = createLifecycle(recording(['a', 'b', 'c'], events), logger);
    await lifecycle.start();
    expect(lifecycle.state).toBe('running');
    await lifecycle.stop();
    expect(events).toEqual(['+a', '+b', '+c', '-c', '-b', '-a']);
    expect(lifecycle.state).toBe('stopped');
  });

  it('stops what had started when a part fails, the failed part included', async () => {
    const events: string[] = [];
    const parts = recording(['a', 'b', 'c'], events);
    parts[1] = { ...parts[1], name: 'b', start: () => Promise.reject(new Error('no')) };
    const lifecycle = createLifecycle(parts, logger);
    await expect(lifecycle.start()).rejects.toThrow('no');
    expect(events).toEqual(['+a', '-b', '-a']);
    expect(lifecycle.state).toBe('failed');
    await lifecycle.stop();
  });

  it('may be stopped twice, before it started, and while it starts', async () => {
    const events: string[] = [];
    const unstarted = createLifecycle(recording(['a'], events), logger);
    await Promise.all([unstarted.stop(), unstarted.stop()]);
    expect(events).toEqual([]);

    let refuse = (_error: Error): void => undefined;
    const waiting = new Promise<void>((_resolve, reject) => (refuse = reject));
    const [, late] = recording(['x', 'late'], events);
    const lifecycle = createLifecycle(
      [
        { name: 'slow', start: () => waiting, stop: async () => refuse(new Error('stopped')) },
        late ?? { name: 'late' },
      ],
      logger,
    );
    const starting = lifecycle.start().catch((error: Error) => error.message);
    await lifecycle.stop();
    expect(await starting).toBe('stopped');
    expect(events).toEqual([]);
    expect(lifecycle.state).toBe('stopped');
  });

  it('goes on stopping when a part does not stop cleanly', async () => {
    const events: string[] = [];
    const parts = recording(['a', 'b'], events);
    parts[1] = { ...parts[1], name: 'b', stop: () => Promise.reject(new Error('stuck')) };
    const lifecycle = createLifecycle(parts, logger);
    await lifecycle.start();
    await lifecycle.stop();
    expect(events).toEqual(['+a', '+b', '-a']);
  });
});
