import { isServiceError } from '@sluice/contracts';

/** How a call ended. */
export type Ended<T> = { readonly value: T } | { readonly error: string };

/** What Redis says of a script has the script's name and line around it. */
const CAUSES = /periods of the caller are over|turned while it was loaded|cannot be freed/;

/** Runs a call; what it rejects with is told in few words. Throws what no caller should ever see. */
export async function endOf<T>(call: () => T | Promise<T>): Promise<Ended<T>> {
  try {
    return { value: await call() };
  } catch (error) {
    if (error instanceof RangeError) return { error: error.message };
    if (!isServiceError(error)) throw error;
    return { error: `${error.code}: ${CAUSES.exec(String(error.cause))?.[0] ?? String(error.cause)}` };
  }
}
