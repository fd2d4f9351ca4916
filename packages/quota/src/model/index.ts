export { createModelClient, type Exchange } from './model-client.js';
export { createQuotaModel, type QuotaImage, type QuotaModel, type QuotaModelOptions } from './quota-model.js';
export { finish, type Steps } from './steps.js';
