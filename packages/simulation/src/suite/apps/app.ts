import { createBrokerConnection, type BrokerConnection } from '@sluice/broker';
import type { Lifecycle } from '@sluice/runtime';
import type { Gateway } from '@sluice/api-gateway/composition';
import type { SimProcess } from '../../kernel/index.js';
import type { Sabotage } from '../defects/index.js';
import type { World } from '../world.js';
import type { SimInference } from './inference.js';

export type AppKind = 'gateway' | 'collector' | 'worker';

/** One program as it runs in one process. */
export interface RunningApp {
  readonly lifecycle: Lifecycle;
  readonly gateway?: Gateway;
  readonly inference?: SimInference;
}

/** Puts a program together within its process. */
export type StartApp = (process: SimProcess) => Promise<RunningApp>;

/** How a process connects to the simulated RabbitMQ. */
export function connector(
  { rabbit, logger }: World,
  process: SimProcess,
  sabotage: Sabotage['connect'],
): (purpose: string) => BrokerConnection {
  const real = rabbit.connect(process);
  const connect = sabotage?.(real, kindOf(process.name)) ?? real;
  return (name) => createBrokerConnection({ url: 'amqp://sim', name, logger, connect });
}

export function kindOf(app: string): AppKind {
  return app.slice(0, app.indexOf('-')) as AppKind;
}
