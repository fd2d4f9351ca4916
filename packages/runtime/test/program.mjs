import { clearInterval, setInterval } from 'node:timers';
import { createLogger, runApp } from '../dist/index.js';

const [mode] = process.argv.slice(2);
const logger = createLogger({ app: 'program', level: 'info' });
const never = new Promise(() => undefined);
const alive = setInterval(() => undefined, 1_000);

await runApp({
  name: 'program',
  logger,
  drainTimeoutMs: 500,
  lifecycle: {
    start: async () => undefined,
    async stop() {
      if (mode === 'hanging-drain') await never;
      clearInterval(alive);
      logger.info('drained');
    },
  },
  async flush(withinMs) {
    logger.info(`flushing within ${Math.round(withinMs)} ms`);
    if (mode === 'hanging-flush') await never;
    if (mode === 'failing-flush') throw new Error('nobody listens');
  },
});
