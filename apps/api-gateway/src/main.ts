import { createLogger, exitOnConfigError, runApp } from '@sluice/runtime';
import { loadCatalogue } from './catalogue.js';
import { loadConfig } from './config.js';
import { createGateway } from './gateway.js';
import { NAME } from './servers.js';

const config = await loadConfig(process.env).catch(exitOnConfigError);
const logger = createLogger({ app: NAME, level: config.logLevel });
const catalogue = await loadCatalogue(config.models, config.modelDir).catch(exitOnConfigError);
const gateway = createGateway({ config, catalogue, logger });

await runApp({
  name: NAME,
  logger,
  drainTimeoutMs: config.drainTimeoutMs,
  lifecycle: gateway.lifecycle,
  onReady: () => ({ port: gateway.port }),
});
