import { parseEnvironment } from '@sluice/runtime';
import { z } from 'zod';
import { redisUrl } from '../config.js';

const schema = z.object({
  SLUICE_POSTGRES_URL: z.url(),
  SLUICE_REDIS_URL: redisUrl,
  SLUICE_KEY_PREFIX: z.string().min(1).default('sluice'),
});

/**
 * Reads the environment.
 *
 * @throws ConfigError listing every problem.
 */
export function readReconcileConfig(environment: NodeJS.ProcessEnv) {
  const env = parseEnvironment(schema, environment);
  return { postgresUrl: env.SLUICE_POSTGRES_URL, redisUrl: env.SLUICE_REDIS_URL, keyPrefix: env.SLUICE_KEY_PREFIX };
}
