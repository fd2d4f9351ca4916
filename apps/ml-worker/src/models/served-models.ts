import { ServiceError, type Batching, type JobClass, type ModelsFile } from '@sluice/contracts';
import { createTokenizer, openModelRepository, type Model, type Tokenizer } from '@sluice/models';
import type { KeyedModel } from '../inference/inference-protocol.js';
import type { BatchLimits } from '../scheduling/batching.js';

/** A public model that this worker serves. */
export interface ServedModel extends KeyedModel {
  readonly tokenizer: Tokenizer;
  /** Bounds of its batches that `models.yaml` sets; those of the worker hold for the rest. */
  readonly batching?: Partial<BatchLimits>;
}

/** What a worker serves. */
export interface ServedPool {
  readonly pool: string;
  /** Classes that have a queue in the pool. */
  readonly classes: readonly JobClass[];
  /** By public name. */
  readonly models: ReadonlyMap<string, ServedModel>;
  /** Each version once, even when several public names lead to it. */
  readonly versions: readonly KeyedModel[];
}

export interface LoadServedPoolOptions {
  readonly pool: string;
  readonly modelsFile: ModelsFile;
  /** Directory of the model repository. */
  readonly modelDirectory: string;
}

/**
 * Finds every model of a pool in the model repository and makes its tokenizer.
 *
 * @throws ServiceError `model_unavailable` when the pool is unknown or serves nothing, or a model's files are missing
 *   or wrong.
 */
export async function loadServedPool(options: LoadServedPoolOptions): Promise<ServedPool> {
  const { pool, modelsFile } = options;
  const classes = modelsFile.pools[pool]?.classes;
  if (!classes) throw new ServiceError('model_unavailable', `models.yaml has no pool "${pool}".`);

  const repository = await openModelRepository(options.modelDirectory);
  const versions = new Map<string, ServedModel>();
  const models = new Map<string, ServedModel>();
  for (const [name, entry] of Object.entries(modelsFile.models)) {
    if (entry.pool !== pool) continue;
    const key = `${entry.repository ?? name}/${entry.version}`;
    const model =
      versions.get(key) ?? (await serve(key, await repository.find(entry.repository ?? name, entry.version)));
    versions.set(key, model);
    const served = entry.batching ? { ...model, batching: limitsOf(entry.batching) } : model;
    models.set(name, served);
  }
  if (models.size === 0) throw new ServiceError('model_unavailable', `No model belongs to the pool "${pool}".`);
  // n.b. only plain data goes to the inference processes, a tokenizer does not.
  return { pool, classes, models, versions: [...versions.values()].map(({ key, model }) => ({ key, model })) };
}

/** By the worker's names. */
function limitsOf(batching: Batching): Partial<BatchLimits> {
  const { maxBatchTokens, maxPaddingRatio, maxBatchDelayMs, targetLatencyMs } = batching;
  return {
    ...(maxBatchTokens !== undefined && { maxTokens: maxBatchTokens }),
    ...(maxPaddingRatio !== undefined && { maxPadding: maxPaddingRatio }),
    ...(maxBatchDelayMs !== undefined && { maxDelayMs: maxBatchDelayMs }),
    ...(targetLatencyMs !== undefined && { targetLatencyMs }),
  };
}

async function serve(key: string, model: Model): Promise<ServedModel> {
  return { key, model, tokenizer: await createTokenizer(model) };
}
