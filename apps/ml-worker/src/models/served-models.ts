import type { CanaryPolicy, JobClass, ShadowPolicy } from '@sluice/contracts';
import { isTextModel, type TensorModel, type TextModel, type Tokenizer } from '@sluice/models';
import type { KeyedModel } from '../inference/inference-protocol.js';
import type { BatchLimits } from '../scheduling/batching.js';

interface Served {
  /** Bounds of its batches that `models.yaml` sets; those of the worker hold for the rest. */
  readonly batching?: Partial<BatchLimits>;
}

export interface ServedTextModel extends KeyedModel<TextModel>, Served {
  readonly tokenizer: Tokenizer;
}

export interface ServedTensorModel extends KeyedModel<TensorModel>, Served {
  readonly tokenizer?: never;
}

/** One version of a model that this worker can run. */
export type ServedModel = ServedTextModel | ServedTensorModel;

export function isServedText(served: ServedModel): served is ServedTextModel {
  return served.tokenizer !== undefined;
}

/** Whether a model takes texts: only of those can anybody make up runs and measure them. */
export function hasTexts(keyed: KeyedModel): keyed is KeyedModel<TextModel> {
  return isTextModel(keyed.model);
}

/** The versions of a public model, and who gets which. */
export interface ModelRoutes {
  /** For everybody else. */
  readonly main: ServedModel;
  readonly canary?: { readonly served: ServedModel } & Pick<CanaryPolicy, 'percent' | 'stickyBy'>;
  readonly shadow?: Shadow;
}

/** A version that jobs which the main version answered are compared with. */
export interface Shadow extends Pick<ShadowPolicy, 'percent' | 'stickyBy' | 'tolerance'> {
  readonly served: ServedTextModel;
}

/** What a worker serves. */
export interface ServedPool {
  readonly pool: string;
  /** Classes that have a queue in the pool. */
  readonly classes: readonly JobClass[];
  /** By public name. */
  readonly models: ReadonlyMap<string, ModelRoutes>;
  /** Each version once, even when several public names lead to it. */
  readonly versions: readonly KeyedModel[];
}

/** The versions of one model that jobs are answered by. */
export function servedBy({ main, canary }: ModelRoutes): readonly ServedModel[] {
  return canary ? [main, canary.served] : [main];
}

/** The versions of one model that are loaded anywhere. */
export function loadedFor(routes: ModelRoutes): readonly ServedModel[] {
  const { shadow } = routes;
  return shadow ? [...servedBy(routes), shadow.served] : servedBy(routes);
}

/** Every version that jobs of these models are answered by, once. n.b. plain data only, for it goes to the inference processes. */
export function versionsOf(models: ReadonlyMap<string, ModelRoutes>): readonly KeyedModel[] {
  const all = [...models.values()].flatMap(servedBy);
  return [...new Map(all.map(({ key, model }) => [key, { key, model }])).values()];
}
