type Result<T, E extends Error = Error> = { ok: true; value: T } | { ok: false; error: E };

export async function attempt<T>(work: () => Promise<T>): Promise<Result<T>> {
  try {
    return { ok: true, value: await work() };
  } catch (error: unknown) {
    return { ok: false, error: error instanceof Error ? error : new Error(String(error)) };
  }
}

export function isFailure<T>(result: Result<T>): result is { ok: false; error: Error } {
  return !result.ok;
}
