import { describe, expect, it } from '@jest/globals';
import { aptRuns } from './installation.js';

describe('aptRuns', () => {
  it('installs all that is missing in one run that waits for the lock', () => {
    const [install, ...more] = aptRuns(['rabbitmq-server', 'postgresql'], true);
    expect(more).toEqual([]);
    expect(install?.[0]).toBe('install');
    expect(install).toEqual(expect.arrayContaining(['-y', '--no-install-recommends', 'DPkg::Lock::Timeout=300']));
    expect(install?.slice(-2)).toEqual(['rabbitmq-server', 'postgresql']);
  });

  it('updates the package lists first when there are none', () => {
    expect(aptRuns(['redis-server'], false).map(([verb]) => verb)).toEqual(['update', 'install']);
  });
});
