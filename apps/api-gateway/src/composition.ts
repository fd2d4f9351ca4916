/**
 * The gateway without its servers, for a simulation of the suite. Nothing that ships imports this.
 */
export { createCatalogue, type Catalogue, type PublicModel } from './catalogue.js';
export type { GatewayConfig } from './config.js';
export { createGateway, type Gateway, type GatewayOptions } from './gateway.js';
export { hashApiKey } from './api-keys.js';
export type { Admitted } from './admission.js';
export type { JobView } from './job-view.js';
export type { GatewayServers } from './servers.js';
export { parseSubmission, type Submission } from './submission.js';
