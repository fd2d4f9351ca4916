import { createGateway } from '@sluice/api-gateway/composition';
import { createWorker } from '@sluice/ml-worker/composition';
import { createCollector } from '@sluice/results-collector/composition';
import type { SimProcess } from '../../kernel/index.js';
import type { Sabotage } from '../defects/index.js';
import type { Oracle } from '../oracle/oracle.js';
import { createSimQuota, createSimRedis, type SimRedisOptions } from '../servers/redis.js';
import { createSimStore } from '../servers/store.js';
import { createSimWaiter } from '../servers/waiter.js';
import type { World } from '../world.js';
import { connector, kindOf, type AppKind, type RunningApp } from './app.js';
import { createSimInference } from './inference.js';
import { catalogue, servedPool } from './models.js';
import { collectorConfig, gatewayConfig, workerConfig } from './settings.js';

export interface StartOptions {
  readonly world: World;
  readonly oracle: Oracle;
  readonly sabotage: Sabotage;
}

/** What a process talks to, perhaps sabotaged. */
function serversOf({ world, oracle, sabotage }: StartOptions, process: SimProcess, kind: AppKind) {
  const { kernel } = world;
  const redisOptions: SimRedisOptions = {
    ...{ kernel, process, model: world.quota, nowMs: () => world.redisNowMs() },
    afterCommand: (command) => oracle.afterCommand(command),
    latenessMs: () => world.outages.latenessMs('redis'),
  };
  const servers = {
    store: createSimStore({
      ...{ kernel, process, model: world.store, nowMs: () => world.postgresNowMs() },
      afterStatement: (method) => oracle.afterStatement(method),
      latenessMs: () => world.outages.latenessMs('postgres'),
    }),
    quota: createSimQuota(redisOptions),
    redis: createSimRedis(redisOptions),
    waiter: createSimWaiter(kernel, process, world.publisher),
    connect: connector(world, process, sabotage.connect),
  };
  return sabotage.servers?.(servers, kind) ?? servers;
}

/** Starts a program, by the kind that its name says, within its process. */
export async function startApp(options: StartOptions, process: SimProcess): Promise<RunningApp> {
  const { world } = options;
  const { logger } = world;
  const kind = kindOf(process.name);
  const servers = serversOf(options, process, kind);
  switch (kind) {
    case 'gateway': {
      const config = gatewayConfig(world.scenario.plans);
      const gateway = createGateway({ config, catalogue, logger, servers, listen: false });
      return { lifecycle: gateway.lifecycle, gateway };
    }
    case 'collector':
      return { lifecycle: createCollector(collectorConfig, logger, { servers }).lifecycle };
    case 'worker': {
      const random = world.random.fork(`inference of ${process.name} ${process.epoch}`);
      const inference = createSimInference({
        ...{ random, ...world.scenario.inference },
        onRan: (text) => options.oracle.ran(text),
      });
      const config = workerConfig(process.name);
      const { connect } = servers;
      const injected = { served: servedPool, host: inference, connect, inferenceModulePath: '' };
      return { lifecycle: await createWorker({ config, logger, ...injected }), inference };
    }
    default:
      return kind satisfies never;
  }
}
