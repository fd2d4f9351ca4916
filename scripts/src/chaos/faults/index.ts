import type { FaultKind } from '../fault.js';
import { killCollector, killGateway, killWorker, restartApp } from './kill-apps.js';
import { blackHole, cutFrame, delay, halfOpen, refuse, resetLink } from './network.js';
import { diskFull, lockTable, readOnly, terminateBackends } from './postgres.js';
import { killInference, pauseApp, pauseInference } from './processes.js';
import { closeConnections, diskAlarm, memoryAlarm } from './rabbitmq.js';
import { clientPause, flush, flushScripts, oldData, outOfMemory } from './redis.js';
import { killPostgres, killRabbitMq, killRedis, pausePostgres, pauseRabbitMq, pauseRedis } from './servers.js';

/** Everything that can go wrong here. */
export const FAULT_KINDS: readonly FaultKind[] = [
  ...[killGateway, killWorker, killInference, killCollector, killRedis, killPostgres, killRabbitMq],
  ...[pauseApp, pauseInference, pauseRedis, pausePostgres, pauseRabbitMq, restartApp],
  ...[resetLink, blackHole, halfOpen, refuse, delay, cutFrame],
  ...[flush, flushScripts, outOfMemory, clientPause, oldData],
  ...[memoryAlarm, diskAlarm, closeConnections],
  ...[terminateBackends, lockTable, readOnly, diskFull],
];

/** The kinds of these names, in this order. @throws Error naming those that do not exist. */
export function kindsNamed(names: readonly string[]): readonly FaultKind[] {
  const unknown = names.filter((name) => !FAULT_KINDS.some((kind) => kind.name === name));
  if (unknown.length > 0) {
    const known = FAULT_KINDS.map(({ name }) => name).join(', ');
    throw new Error(`there is no fault named ${unknown.join(', ')}; there are: ${known}`);
  }
  return names.flatMap((name) => FAULT_KINDS.find((kind) => kind.name === name) ?? []);
}
