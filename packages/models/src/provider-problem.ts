import { ServiceError } from '@sluice/contracts';

/** How ONNX Runtime, CUDA, cuBLAS and cuDNN say that a graphics card has no memory left. */
const OUT_OF_MEMORY = /out of memory|memory ?allocation|alloc_failed|failed to allocate|available memory of \d+/i;

/**
 * What to say when an execution provider could not load a model that the processor can load.
 *
 * @param path of the model, for people.
 */
export function providerProblem(provider: string, path: string, cause: unknown): ServiceError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  const detail = OUT_OF_MEMORY.test(reason)
    ? `execution provider "${provider}" has not enough memory left for ${path}: ${reason}`
    : `execution provider "${provider}" was asked for and is not available on this machine: ${reason}`;
  return new ServiceError('model_unavailable', detail);
}
