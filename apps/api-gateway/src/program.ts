import { randomUUID } from 'node:crypto';
import { createLogger, exitOnConfigError, runApp } from '@sluice/runtime';
import { openTracing } from '@sluice/telemetry';
import { openCatalogue } from './catalogue-files.js';
import { loadConfig } from './config.js';
import { createGateway } from './gateway.js';
import { NAME } from './servers.js';

const config = await loadConfig(process.env).catch(exitOnConfigError);
const logger = createLogger({ app: NAME, level: config.logLevel });
const { catalogue, watch } = await openCatalogue({ ...config, logger }).catch(exitOnConfigError);
const tracing = await openTracing({
  ...{ settings: config.tracing, serviceName: NAME, instanceId: randomUUID(), logger },
  begins: true,
});
const gateway = createGateway({ config, catalogue, watch, tracing, logger });

await runApp({
  name: NAME,
  logger,
  drainTimeoutMs: config.drainTimeoutMs,
  lifecycle: gateway.lifecycle,
  flush: (withinMs) => tracing.stop(withinMs),
  onReady: () => ({ port: gateway.port, opsPort: gateway.opsPort }),
  onHangUp: () => void watch.check(),
});
