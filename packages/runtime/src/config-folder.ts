import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  modelNamesSchema,
  modelsFileSchema,
  plansFileFor,
  plansFileSchema,
  pricesFileFor,
  pricesFileSchema,
  type ModelNames,
  type ModelsFile,
  type PlansFile,
  type PricesFile,
} from '@sluice/contracts';
import type { z } from 'zod';
import { loadConfigFile } from './config-file.js';

/** The files of `config/`. Each call reads its file, validates it and freezes it. All throw `ConfigError`. */
export interface ConfigFolder {
  models(): Promise<ModelsFile>;
  /** What `models.yaml` looks like from outside, without reading it: another text when it has changed. */
  modelsLook(): Promise<string>;
  /** Also refuses limits on models that `models.yaml` does not have. */
  plans(): Promise<PlansFile>;
  /** Also refuses prices of models that `models.yaml` does not have. */
  prices(): Promise<PricesFile>;
}

/** Opens a folder of `models.yaml`, `plans.yaml` and `prices.yaml`; nothing is read before it is asked for. */
export function openConfigFolder(directory: string, environment: NodeJS.ProcessEnv): ConfigFolder {
  const load = <Schema extends z.ZodType>(name: string, schema: Schema): Promise<z.output<Schema>> =>
    loadConfigFile(join(directory, name), schema, environment);

  /** As far as they can be read: what is wrong with `models.yaml` is told by `models`. */
  function modelNames(): Promise<ModelNames | undefined> {
    return load('models.yaml', modelNamesSchema).catch(() => undefined);
  }

  return {
    models: () => load('models.yaml', modelsFileSchema),
    async modelsLook() {
      const facts = await stat(join(directory, 'models.yaml')).catch(() => undefined);
      return facts ? `${facts.size} ${facts.mtimeMs} ${facts.ino}` : 'none';
    },
    async plans() {
      const models = await modelNames();
      return load('plans.yaml', models ? plansFileFor(models) : plansFileSchema);
    },
    async prices() {
      const models = await modelNames();
      return load('prices.yaml', models ? pricesFileFor(models) : pricesFileSchema);
    },
  };
}
