import { closeRedis, redisReady, type RedisConnection } from './connection.js';

/** The server behind a connection, as far as a program asks it for itself and not through `Quota`. */
export interface RedisServer {
  /** Resolves when commands can be sent. @throws ServiceError `quota_unavailable` after `timeoutMs` milliseconds. */
  ready(timeoutMs: number): Promise<void>;
  /** Rejects when it does not answer. */
  ping(): Promise<unknown>;
  /** Its clock, in Unix milliseconds with a fraction. Rejects when it does not answer. */
  nowMs(): Promise<number>;
  /** Closes the connection for good; safe twice. */
  close(): Promise<void>;
}

export function redisServer(redis: RedisConnection): RedisServer {
  return {
    ready: (timeoutMs) => redisReady(redis, timeoutMs),
    ping: () => redis.ping(),
    async nowMs() {
      const [seconds, microseconds] = await redis.time();
      return Number(seconds) * 1_000 + Number(microseconds) / 1_000;
    },
    close: () => closeRedis(redis),
  };
}
