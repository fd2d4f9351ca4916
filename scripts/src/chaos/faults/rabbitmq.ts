import type { LocalServer } from '@sluice/local-services';
import { z } from 'zod';
import { CannotInject, type FaultKind, NOTHING_TO_HEAL } from '../fault.js';
import { running } from './servers.js';

const TARGET = ['rabbitmq'];
/** Prints the alarms that are raised now, `[]` when there is none. */
const ALARMS = ['eval', 'rabbit_alarm:get_alarms().'];
const connectionsSchema = z.array(z.object({ name: z.string() }));

function alarm(name: string, raise: readonly string[], lower: readonly string[]): FaultKind {
  return {
    name,
    weight: 3,
    targets: () => TARGET,
    durationMs: [500, 5_000],
    async inject({ server }) {
      const broker = running(server('rabbitmq'));
      const lowerAgain = async (): Promise<void> => void (await broker.administer(lower));
      const raised = await raiseAlarm(broker, raise).catch((error: unknown) => String(error));
      if (raised === true) return lowerAgain;
      // The tool may have run out of time and raised it all the same.
      await lowerAgain().catch(lowerAgain);
      throw new CannotInject(raised === false ? 'the broker raises no alarm' : raised);
    },
  };
}

/** Whether an alarm is there afterwards. */
async function raiseAlarm(broker: LocalServer, how: readonly string[]): Promise<boolean> {
  await broker.administer(how);
  return (await broker.administer(ALARMS)).trim() !== '[]';
}

/** The broker takes no publishes as long as it believes to use too much memory. */
export const memoryAlarm = alarm(
  'RabbitMQ memory alarm',
  ['set_vm_memory_high_watermark', 'absolute', '1MB'],
  ['set_vm_memory_high_watermark', '0.4'],
);

/** The broker takes no publishes as long as it believes that its disk is full. */
export const diskAlarm = alarm(
  'RabbitMQ disk alarm',
  ['set_disk_free_limit', '100000GB'],
  ['set_disk_free_limit', '50MB'],
);

/** The broker closes every connection, as an operator may ask it to. */
export const closeConnections: FaultKind = {
  name: 'RabbitMQ closes all connections',
  weight: 3,
  targets: () => TARGET,
  durationMs: [0, 0],
  async inject({ management }) {
    const connections = connectionsSchema.parse(await management('GET', 'connections?columns=name'));
    if (connections.length === 0) throw new CannotInject('the broker counts no connection');
    await Promise.all(connections.map(({ name }) => management('DELETE', `connections/${encodeURIComponent(name)}`)));
    return NOTHING_TO_HEAL;
  },
};
