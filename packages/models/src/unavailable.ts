import { ServiceError } from '@sluice/contracts';

export function unavailable(detail: string, cause?: unknown): ServiceError {
  return new ServiceError('model_unavailable', detail, { cause });
}
