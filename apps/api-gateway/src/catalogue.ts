import { ServiceError, type ModelFile } from '@sluice/contracts';
import type { Tokenizer } from '@sluice/models';

/** A model as tenants know it. */
export interface PublicModel {
  readonly name: string;
  readonly version: string;
  readonly pool: string;
  readonly description: string;
  readonly classes: readonly string[];
  readonly facts: ModelFile;
  /** Undefined: the model takes tensors. */
  readonly tokenizer: Tokenizer | undefined;
}

export interface Catalogue {
  readonly models: readonly PublicModel[];
  /** @throws ServiceError `model_not_found`, naming the field `model`. */
  find(name: string): PublicModel;
}

/** A catalogue whose models can be exchanged. */
export interface ChangingCatalogue extends Catalogue {
  /** From now on these are the models; requests under way keep the one that they found. */
  replace(models: readonly PublicModel[]): void;
}

export function createCatalogue(first: readonly PublicModel[]): ChangingCatalogue {
  let models = first;
  let byName = namesOf(first);
  return {
    get models() {
      return models;
    },
    find(name) {
      const model = byName.get(name);
      if (model) return model;
      throw new ServiceError('model_not_found', `No model "${name.slice(0, 64)}" exists; GET /v1/models lists them.`, {
        fields: [{ field: 'model', reason: 'names no model' }],
      });
    },
    replace(next) {
      [models, byName] = [next, namesOf(next)];
    },
  };
}

function namesOf(models: readonly PublicModel[]): ReadonlyMap<string, PublicModel> {
  return new Map(models.map((model) => [model.name, model]));
}
