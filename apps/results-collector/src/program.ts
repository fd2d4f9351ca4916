import { randomUUID } from 'node:crypto';
import { createLogger, exitOnConfigError, runApp } from '@sluice/runtime';
import { openTracing } from '@sluice/telemetry';
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
const name = 'results-collector';
const logger = createLogger({ app: name, level: config.logLevel });
const tracing = await openTracing({
  ...{ settings: config.tracing, serviceName: name, instanceId: randomUUID(), logger },
  begins: false,
});
const collector = createCollector(config, logger, { tracing });
await runApp({
  name,
  logger,
  drainTimeoutMs: config.drainTimeoutMs,
  lifecycle: collector.lifecycle,
  flush: (withinMs) => tracing.stop(withinMs),
  onReady: () => ({ opsPort: collector.opsPort }),
});
