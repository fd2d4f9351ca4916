import { setTimeout as sleep } from 'node:timers/promises';
import type { LocalServer, ServerName } from '@sluice/local-services';
import { CannotInject, type FaultKind, type Heal } from '../fault.js';
import type { World } from '../world.js';

/** n.b. RabbitMQ 3.10 that is killed within half a second of declaring a quorum queue takes a minute to come back. */
const RABBITMQ_SETTLE_MS = 2_000;
const ATTEMPTS = 4;
const RETRY_MS = 1_000;

/** kill -9 of the whole server; started again on its data when the fault is over. */
export const killRedis = killing('kill Redis', 6, 'redis', [100, 4_000]);
export const killPostgres = killing('kill PostgreSQL', 6, 'postgres', [100, 4_000]);
export const killRabbitMq = killing('kill RabbitMQ', 4, 'rabbitmq', [100, 2_000]);

/** All processes of the server stand still, and go on when the fault is over. */
export const pauseRedis = pausing('pause Redis', 4, 'redis');
export const pausePostgres = pausing('pause PostgreSQL', 4, 'postgres');
export const pauseRabbitMq = pausing('pause RabbitMQ', 4, 'rabbitmq');

function killing(
  name: string,
  weight: number,
  target: ServerName,
  durationMs: readonly [lowest: number, highest: number],
): FaultKind {
  return {
    name,
    weight,
    targets: () => [target],
    durationMs,
    async inject(world) {
      await settled(world, target);
      await running(world.server(target)).kill();
      return restarting(world, target);
    },
  };
}

function pausing(name: string, weight: number, target: ServerName): FaultKind {
  return {
    name,
    weight,
    targets: () => [target],
    durationMs: [200, 8_000],
    async inject({ server }) {
      const victim = running(server(target));
      victim.pause();
      return async () => victim.resume();
    },
  };
}

async function settled({ rabbitmqStartedAtMs }: World, target: ServerName): Promise<void> {
  const leftMs = rabbitmqStartedAtMs + RABBITMQ_SETTLE_MS - performance.now();
  if (target === 'rabbitmq' && leftMs > 0) await sleep(leftMs);
}

/** @throws CannotInject when it does not run, or is not ours to end. */
export function running(server: LocalServer): LocalServer {
  if (server.source !== 'binaries') throw new CannotInject(`${server.name} comes from ${server.source}`);
  if (server.pid === undefined) throw new CannotInject(`${server.name} does not run`);
  return server;
}

/** Starts a server again that was killed, or ended by itself; child processes may need a moment to notice. */
export function restarting(world: World, name: ServerName): Heal {
  return async () => {
    const server = world.server(name);
    for (let attempt = 1; server.pid === undefined; attempt++) {
      try {
        await server.restart();
      } catch (error) {
        if (attempt === ATTEMPTS) throw error;
        await sleep(RETRY_MS);
      }
    }
    if (name === 'rabbitmq') world.rabbitmqStartedAtMs = performance.now();
  };
}
