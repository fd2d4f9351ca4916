import { fileURLToPath } from 'node:url';
import { createLogger, exitOnConfigError, runApp } from '@sluice/runtime';
import { openTracing } from '@sluice/telemetry';
import { loadConfig, type WorkerConfig } from './config.js';
import { createWorker } from './worker.js';

const config: WorkerConfig = await loadConfig(process.env).catch(exitOnConfigError);
const logger = createLogger({ app: 'ml-worker', level: config.logLevel }).child({ worker: config.workerId });
const inferenceModulePath = fileURLToPath(new URL('./inference/inference-process.js', import.meta.url));

const tracing = await openTracing({
  settings: config.tracing,
  serviceName: 'ml-worker',
  instanceId: config.workerId,
  begins: false,
  logger,
});
const worker = await createWorker({ config, logger, tracing, inferenceModulePath }).catch((error: unknown) => {
  logger.fatal({ err: error }, 'ml-worker cannot serve its models');
  return new Promise<never>(() => logger.flush(() => process.exit(1)));
});
await runApp({
  name: 'ml-worker',
  logger,
  drainTimeoutMs: config.drainTimeoutMs,
  lifecycle: worker,
  flush: (withinMs) => tracing.stop(withinMs),
  onReady: () => ({ opsPort: worker.opsPort }),
  onHangUp: () => void worker.reload(),
});
