import type { Metrics } from '@sluice/telemetry';
import type { InferenceMemory } from '../inference/inference-host.js';
import { loadedFor, type ModelRoutes } from './served-models.js';
import type { VersionLabel } from './version-labels.js';

type Models = ReadonlyMap<string, ModelRoutes>;
/** Bytes by a version's key. */
type MemoryByKey = ReadonlyMap<string, number>;

export interface ModelMetrics {
  /** The files were read again, and this is wrong with them. */
  reloaded(problems: readonly string[]): void;
  /** Brings the gauges up to date, before they are rendered. */
  update(now: ServedNow): void;
}

/** What is served now, and what cannot be. */
export interface ServedNow {
  readonly models: Models;
  readonly memory: InferenceMemory;
  /** Why versions could not be loaded, by their keys. */
  readonly unloadable: ReadonlyMap<string, string>;
  /** What is wrong with the files, one sentence each. */
  readonly problems: readonly string[];
}

/** `labelOf` says how metrics name a version. */
export function createModelMetrics(metrics: Metrics, labelOf: (key: string) => VersionLabel): ModelMetrics {
  const reloads = metrics.counter('sluice_worker_model_reloads_total', 'Times that changed files were read.');
  const failures = metrics.counter(
    'sluice_worker_model_reload_failures_total',
    'Times that not everything could be served as the files say.',
  );
  const bytes = metrics.gauge(
    'sluice_worker_model_memory_bytes',
    'What loading a version added to the resident memory of the inference process that was started last.',
    ['model', 'version'],
  );
  const processBytes = metrics.gauge(
    'sluice_worker_inference_process_memory_bytes',
    'Resident memory of each inference process now.',
    ['pid'],
  );
  const refused = metrics.gauge(
    'sluice_worker_model_unloadable',
    'One for each version that is not served, or compared with, because it could not be loaded.',
    ['model', 'version'],
  );
  const wrong = metrics.gauge('sluice_worker_model_problems', 'What is wrong with the files of the models, how many.');
  return {
    reloaded(problems) {
      reloads.add();
      if (problems.length > 0) failures.add();
    },
    update({ models, memory, unloadable, problems }) {
      wrong.set(problems.length);
      processBytes.clear();
      for (const [pid, size] of memory.processes) processBytes.of({ pid: String(pid) }).set(size);
      refused.clear();
      for (const key of unloadable.keys()) refused.of(labelOf(key)).set(1);
      bytes.clear();
      for (const { key } of [...models.values()].flatMap(loadedFor)) {
        const size = memory.models.get(key);
        if (size !== undefined) bytes.of(labelOf(key)).set(size);
      }
    },
  };
}

/** The models as `/health` shows them. */
export function modelDetails(models: Models, memory: MemoryByKey) {
  return [...models].map(([name, routes]) => {
    const { main, canary, shadow } = routes;
    return {
      name,
      version: main.model.version,
      ...(canary && {
        canary: { version: canary.served.model.version, percent: canary.percent, stickyBy: canary.stickyBy },
      }),
      ...(shadow && {
        shadow: { version: shadow.served.model.version, percent: shadow.percent, stickyBy: shadow.stickyBy },
      }),
      memoryBytes: Object.fromEntries(
        loadedFor(routes).map(({ key, model }) => [model.version, memory.get(key) ?? null]),
      ),
    };
  });
}
