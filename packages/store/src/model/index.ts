export type { ModelApiKey, ModelProducer, ModelTenant } from './accounts.js';
export type { ModelReconciliation } from './reconcile.js';
export type { Steps } from './steps.js';
export {
  createStoreModel,
  MODELLED_METHODS,
  type ModelledCalls,
  type ModelledMethod,
  type StoreModel,
  type StoreModelOptions,
} from './store-model.js';
export type { LedgerEntry, UsageEntry } from './tables.js';
