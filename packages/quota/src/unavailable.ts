import { isServiceError, ServiceError } from '@sluice/contracts';

/** Runs work on Redis; whatever fails rejects as `quota_unavailable` with the cause. */
export async function onRedis<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw isServiceError(error) ? error : unavailable(error);
  }
}

export function unavailable(cause: unknown): ServiceError {
  return new ServiceError('quota_unavailable', 'Quota cannot be checked now, try again shortly.', {
    cause,
    retryAfterSeconds: 1,
  });
}
