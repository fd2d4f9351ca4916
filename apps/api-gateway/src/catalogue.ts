import { ServiceError, type ModelFile, type ModelsFile } from '@sluice/contracts';
import { createTokenizer, findVersions, openModelRepository, type Tokenizer } from '@sluice/models';

/** A model as tenants know it. */
export interface PublicModel {
  readonly name: string;
  readonly version: string;
  readonly pool: string;
  readonly description: string;
  readonly classes: readonly string[];
  readonly facts: ModelFile;
  readonly tokenizer: Tokenizer;
}

export interface Catalogue {
  readonly models: readonly PublicModel[];
  /** @throws ServiceError `model_not_found`, naming the field `model`. */
  find(name: string): PublicModel;
}

/**
 * Joins `config/models.yaml` with the model repository. The gateway counts input tokens with the same tokenizer files
 * as the worker, so the hold is exact.
 *
 * @throws ServiceError `model_unavailable` when a configured model is missing or broken.
 */
export async function loadCatalogue(file: ModelsFile, modelDir: string): Promise<Catalogue> {
  const repository = await openModelRepository(modelDir);
  const models = await Promise.all(
    Object.entries(file.models).map(async ([name, entry]): Promise<PublicModel> => {
      // n.b. which version runs a job is decided by the worker; all of them count tokens alike.
      const { main: model } = await findVersions(repository, name, entry);
      return {
        name,
        version: model.version,
        pool: entry.pool,
        description: entry.description ?? model.file.description,
        classes: file.pools[entry.pool]?.classes ?? [],
        facts: model.file,
        tokenizer: await createTokenizer(model),
      };
    }),
  );
  return createCatalogue(models);
}

export function createCatalogue(models: readonly PublicModel[]): Catalogue {
  const byName = new Map(models.map((model) => [model.name, model]));
  return {
    models,
    find(name) {
      const model = byName.get(name);
      if (model) return model;
      throw new ServiceError('model_not_found', `No model "${name.slice(0, 64)}" exists; GET /v1/models lists them.`, {
        fields: [{ field: 'model', reason: 'names no model' }],
      });
    },
  };
}
