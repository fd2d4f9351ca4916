import { cp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CannotInject, type FaultKind, NOTHING_TO_HEAL } from '../fault.js';
import { restarting, running } from './servers.js';

const TARGET = ['redis'];
const AOF_FOLDER = 'appendonlydir';
const AOF_MANIFEST = 'appendonly.aof.manifest';

/** Redis forgets everything, as after a failover to an empty replica. */
export const flush: FaultKind = {
  name: 'FLUSHALL',
  weight: 6,
  targets: () => TARGET,
  durationMs: [0, 0],
  async inject({ withRedis }) {
    await withRedis((redis) => redis.flushall());
    return NOTHING_TO_HEAL;
  },
};

/** Redis forgets its scripts. */
export const flushScripts: FaultKind = {
  name: 'SCRIPT FLUSH',
  weight: 2,
  targets: () => TARGET,
  durationMs: [0, 0],
  async inject({ withRedis }) {
    await withRedis((redis) => redis.script('FLUSH'));
    return NOTHING_TO_HEAL;
  },
};

/** Every command that may need memory fails with OOM; reads and deletions work. */
export const outOfMemory: FaultKind = {
  name: 'Redis out of memory',
  weight: 4,
  targets: () => TARGET,
  durationMs: [500, 5_000],
  async inject({ withRedis }) {
    await withRedis((redis) => redis.config('SET', 'maxmemory', '1mb'));
    return () => withRedis(async (redis) => void (await redis.config('SET', 'maxmemory', '0')));
  },
};

/** No command is answered, but connections are accepted. */
export const clientPause: FaultKind = {
  name: 'CLIENT PAUSE',
  weight: 3,
  targets: () => TARGET,
  durationMs: [200, 5_000],
  async inject({ withRedis }, { durationMs }) {
    await withRedis((redis) => redis.client('PAUSE', durationMs, 'ALL'));
    return NOTHING_TO_HEAL;
  },
};

/** Redis dies, and comes back with what it knew a while ago, as from a backup or a replica that lagged behind. */
export const oldData: FaultKind = {
  name: 'Redis on old data',
  weight: 4,
  targets: () => TARGET,
  durationMs: [500, 4_000],
  async inject(world, { number, durationMs }) {
    const server = running(world.server('redis'));
    const data = join(server.dataDirectory ?? '', AOF_FOLDER);
    const copy = join(world.directory, `redis-${number}`);
    await copyWhole(data, copy);
    await sleep(durationMs);
    await running(server).kill();
    await rm(data, { recursive: true });
    await cp(copy, data, { recursive: true });
    await rm(copy, { recursive: true });
    return restarting(world, 'redis');
  },
};

/** n.b. files of a rewrite that happens meanwhile would not fit together; the end of a file may be cut, Redis allows that. */
async function copyWhole(data: string, copy: string): Promise<void> {
  const manifest = (): Promise<string> => readFile(join(data, AOF_MANIFEST), 'utf8');
  for (let attempt = 1; attempt <= 3; attempt++) {
    const before = await manifest();
    await rm(copy, { recursive: true, force: true });
    await cp(data, copy, { recursive: true });
    if (before === (await manifest())) return;
  }
  throw new CannotInject('the append-only file is being rewritten');
}
