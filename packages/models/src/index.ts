export { differences, requireSameKind, tokenizerId } from './compatibility.js';
export { modelDigest } from './digests.js';
export * from './model.js';
export { createModelWatch, type ModelWatch, type ModelWatchOptions } from './model-watch.js';
export { decodeOutput, TOP_LABELS } from './output.js';
export { lookOfVersion, openModelRepository, type ModelRepository } from './repository.js';
export { createTokenizer, type Tokenizer } from './tokenizer.js';
export {
  jsonElements,
  decodeTensorData,
  readTensorData,
  tensorSize,
  type DataProblem,
  type TensorBytes,
} from './tensors/tensor-data.js';
export { encodeTensorOutput } from './tensors/tensor-output.js';
export { leastOutputTokens, misfits, tensorTokens } from './tensors/tensor-fit.js';
export { buildModels, type BuildModelsOptions } from './build-models.js';
export { findShadow, findVersions, type ModelVersions, type SideVersion } from './versions.js';
