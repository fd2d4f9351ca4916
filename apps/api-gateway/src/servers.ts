import { createBrokerConnection, type BrokerConnection } from '@sluice/broker';
import {
  connectRedis,
  createJobWaiter,
  createQuota,
  redisServer,
  type JobWaiter,
  type Quota,
  type RedisServer,
} from '@sluice/quota';
import type { Logger } from '@sluice/runtime';
import { createStore, type Store } from '@sluice/store';
import type { GatewayConfig } from './config.js';

export const NAME = 'api-gateway';
const STATEMENT_TIMEOUT_MS = 5_000;

/** What a gateway talks to. None of it is started. */
export interface GatewayServers {
  readonly store: Store;
  readonly quota: Quota;
  /** Hears of the ends of jobs, over a connection of its own. */
  readonly waiter: JobWaiter;
  readonly redis: RedisServer;
  /** A new connection to RabbitMQ; the purpose is shown to operators. */
  readonly connect: (purpose: string) => BrokerConnection;
}

/** The real servers, by the addresses of the configuration. */
export function connectServers(config: GatewayConfig, logger: Logger): GatewayServers {
  const { redisUrl, keyPrefix } = config;
  const redis = connectRedis({ url: redisUrl, name: NAME, logger });
  return {
    store: createStore({
      url: config.postgresUrl,
      applicationName: NAME,
      poolSize: config.poolSize,
      statementTimeoutMs: STATEMENT_TIMEOUT_MS,
      logger,
    }),
    quota: createQuota({ redis, keyPrefix, logger }),
    waiter: createJobWaiter({ url: redisUrl, keyPrefix, logger }),
    redis: redisServer(redis),
    connect: (purpose) => createBrokerConnection({ url: config.rabbitmqUrl, name: `${NAME} ${purpose}`, logger }),
  };
}
