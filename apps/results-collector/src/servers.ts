import { createBrokerConnection, type BrokerConnection } from '@sluice/broker';
import { connectRedis, createQuota, redisServer, type Quota, type RedisServer } from '@sluice/quota';
import type { Logger } from '@sluice/runtime';
import { createStore, type Store } from '@sluice/store';
import type { Config } from './config.js';

export const NAME = 'results-collector';
/** With the margin of the client shorter than the usual drain: a batch that hangs may still fail in time. */
const STATEMENT_TIMEOUT_MS = 15_000;
/** For dead letters, the sweep, partitions and health. */
const FURTHER_POSTGRES_CONNECTIONS = 4;

/** What a collector talks to. None of it is started. */
export interface CollectorServers {
  readonly store: Store;
  readonly quota: Quota;
  readonly redis: RedisServer;
  /** A new connection to RabbitMQ; the purpose is shown to operators. */
  readonly connect: (purpose: string) => BrokerConnection;
}

/** The real servers, by the addresses of the configuration. */
export function connectServers(config: Config, logger: Logger): CollectorServers {
  const redis = connectRedis({ url: config.redisUrl, name: NAME, logger });
  return {
    store: createStore({
      url: config.postgresUrl,
      applicationName: NAME,
      poolSize: config.batchesInProgress + FURTHER_POSTGRES_CONNECTIONS,
      statementTimeoutMs: STATEMENT_TIMEOUT_MS,
      logger,
    }),
    quota: createQuota({ redis, keyPrefix: config.keyPrefix, logger }),
    redis: redisServer(redis),
    connect: (purpose) => createBrokerConnection({ url: config.rabbitmqUrl, name: `${NAME}: ${purpose}`, logger }),
  };
}
