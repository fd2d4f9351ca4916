import { createLogger, exitOnConfigError, runApp } from '@sluice/runtime';
import { createCollector } from './collector.js';
import { readConfig, type Config } from './config.js';

function configuration(): Config {
  try {
    return readConfig(process.env);
  } catch (error) {
    return exitOnConfigError(error);
  }
}

const config = configuration();
const logger = createLogger({ app: 'results-collector', level: config.logLevel });
const collector = createCollector(config, logger);
await runApp({
  name: 'results-collector',
  logger,
  drainTimeoutMs: config.drainTimeoutMs,
  lifecycle: collector.lifecycle,
  onReady: () => ({ opsPort: collector.opsPort }),
});
