import { readFileSync } from 'node:fs';
import type { Redis } from 'ioredis';
import { closeRedis, connectRedis, createQuota, redisReady, type Quota } from '../../src/index.js';
import { defineScripts, SCRIPTS, scriptText, type ScriptName } from '../../src/scripts.js';
import { logger } from '../redis.js';
import { ownRedis } from '../servers.js';
import { SNAPSHOT_TTL_MS } from './ledger.js';

export const PREFIX = 'property';
/** A moment at which every test begins, in 2031. */
export const BEGIN_MS = 1_930_000_000_000;
const CLOCK = 'clock';
const TIME = "redis.call('TIME')";
const READ_CLOCK = `redis.call('HMGET', '${CLOCK}', 'seconds', 'microseconds')`;
const lua = (name: string) => readFileSync(new URL(`${name}.lua`, import.meta.url), 'utf8');
const [DUMP, AGE] = [lua('dump'), lua('age')];

/** What Redis keeps: by key its parts, bytes as latin-1. */
export type Dump = ReadonlyMap<string, readonly string[]>;

export interface Client {
  readonly redis: Redis;
  readonly quota: Quota;
}

export type ClockedRedis = Awaited<ReturnType<typeof openClockedRedis>>;

/**
 * A Redis of its own whose scripts read a clock that the test sets: the scripts are those of the package but for that one
 * call. Time stands still while nobody moves it, and so do the keys that expire.
 */
export async function openClockedRedis() {
  const server = await ownRedis();
  await server.start();
  const clients = new Set<Client>();
  let control = await connect();
  let nowMs = BEGIN_MS;

  async function connect(): Promise<Client> {
    const redis = connectRedis({ url: server.url, name: 'quota-property', logger }) as Redis;
    await redisReady(redis, 5_000);
    defineScripts(redis);
    for (const name of Object.keys(SCRIPTS) as ScriptName[]) {
      const texts = scriptText(name).split(TIME);
      if (texts.length !== 2) throw new Error(`the script ${name} should ask for the time in one place`);
      const text = texts.join(READ_CLOCK);
      redis.defineCommand(`quota_${name}`, { numberOfKeys: SCRIPTS[name].keys, lua: text });
    }
    const client = { redis, quota: createQuota({ redis, keyPrefix: PREFIX, logger, snapshotTtlMs: SNAPSHOT_TTL_MS }) };
    await client.quota.inspect('nobody');
    clients.add(client);
    return client;
  }

  async function setClock(toMs: number): Promise<void> {
    await control.redis.eval(AGE, 0, PREFIX, toMs - nowMs);
    nowMs = toMs;
    await control.redis.hset(CLOCK, ...clockFields(toMs));
  }

  async function disconnect(): Promise<void> {
    await Promise.all([...clients].map(({ redis }) => closeRedis(redis)));
    clients.clear();
  }

  await setClock(BEGIN_MS);
  return {
    server,
    connect,
    /** The first client. */
    control: () => control,
    nowMs: () => nowMs,
    setClock,
    /** FLUSHALL; the clock goes on. */
    async flush(): Promise<void> {
      await control.redis.eval(FLUSH, 0, ...clockFields(nowMs).slice(1, 4));
    },
    /** Another process on what was saved last; clients are gone. `agedMs`: how much time has passed since it was saved. */
    async restart(agedMs: number): Promise<void> {
      await disconnect();
      await server.stop();
      await server.start();
      control = await connect();
      await control.redis.eval(AGE, 0, PREFIX, agedMs);
      await control.redis.hset(CLOCK, ...clockFields(nowMs));
    },
    async dump(): Promise<Dump> {
      const rows = (await control.redis.callBuffer('EVAL', DUMP, 0, PREFIX)) as Buffer[][];
      const texts = rows.map((row) => row.map((part) => part.toString('latin1')));
      return new Map(texts.map(([key = '', ...parts]) => [Buffer.from(key, 'latin1').toString(), inOrder(parts)]));
    },
    async close(): Promise<void> {
      await disconnect();
      await server.close();
    },
  };
}

/** Redis may give the fields of a hash in another order each time. */
function inOrder([type = '', ...parts]: readonly string[]): readonly string[] {
  if (type !== 'hash') return [type, ...parts];
  const pairs = parts.flatMap((field, i) => (i % 2 === 0 ? [[field, parts[i + 1] ?? ''] as const] : []));
  return [type, ...pairs.sort(([a], [b]) => (a < b ? -1 : 1)).flat()];
}

/** A script, so that no command comes between. */
const FLUSH = `redis.call('FLUSHALL') return redis.call('HSET', '${CLOCK}', 'seconds', ARGV[1], 'microseconds', ARGV[3])`;

/** Name and value of each part, as TIME would answer. */
export function clockFields(nowMs: number): [string, number, string, number] {
  return ['seconds', Math.floor(nowMs / 1_000), 'microseconds', (nowMs % 1_000) * 1_000];
}

/** The fields of a hash of a dump. */
export function fieldsOf(dump: Dump, key: string): ReadonlyMap<string, Buffer> {
  const [, ...parts] = dump.get(key) ?? [];
  const fields = new Map<string, Buffer>();
  for (let i = 0; i < parts.length; i += 2) {
    fields.set(Buffer.from(parts[i] ?? '', 'latin1').toString(), Buffer.from(parts[i + 1] ?? '', 'latin1'));
  }
  return fields;
}
