import { describe, expect, it } from '@jest/globals';
import { canInstall, chooseSources, type Facts } from './resolution.js';

const NOTHING: Facts = {
  given: {},
  installed: { postgres: false, redis: false, rabbitmq: false },
  canInstall: false,
  docker: false,
};

describe('chooseSources', () => {
  it('prefers a given URL to everything else', () => {
    const facts = { ...everything(), given: { redis: 'redis://there' } };
    expect(chooseSources(facts).redis).toEqual({ source: 'environment', url: 'redis://there' });
    expect(chooseSources(facts).postgres).toEqual({ source: 'binaries' });
  });

  it('prefers programs to packages and packages to containers', () => {
    const installed = { postgres: true, redis: false, rabbitmq: false };
    const sources = (facts: Facts) =>
      Object.fromEntries(Object.entries(chooseSources(facts)).map(([k, v]) => [k, v.source]));
    expect(sources({ ...everything(), installed })).toEqual({
      postgres: 'binaries',
      redis: 'installation',
      rabbitmq: 'installation',
    });
    expect(sources({ ...everything(), installed, canInstall: false })).toEqual({
      postgres: 'binaries',
      redis: 'docker',
      rabbitmq: 'docker',
    });
    expect(sources(NOTHING)).toEqual({ postgres: 'none', redis: 'none', rabbitmq: 'none' });
  });
});

describe('canInstall', () => {
  const debian = { uid: 0, aptGet: true, osRelease: 'NAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n' };

  it('is true for root on Debian, Ubuntu and what is like them', () => {
    expect(canInstall(debian)).toBe(true);
    expect(canInstall({ ...debian, osRelease: 'ID=ubuntu\nID_LIKE=debian' })).toBe(true);
    expect(canInstall({ ...debian, osRelease: 'ID=linuxmint\nID_LIKE="ubuntu debian"' })).toBe(true);
  });

  it('is false for other users, other systems and without apt-get', () => {
    expect(canInstall({ ...debian, uid: 1000 })).toBe(false);
    expect(canInstall({ ...debian, aptGet: false })).toBe(false);
    expect(canInstall({ ...debian, osRelease: 'ID=fedora\nNAME="not debian"' })).toBe(false);
    expect(canInstall({ ...debian, osRelease: '' })).toBe(false);
  });
});

function everything(): Facts {
  return { given: {}, installed: { postgres: true, redis: true, rabbitmq: true }, canInstall: true, docker: true };
}
