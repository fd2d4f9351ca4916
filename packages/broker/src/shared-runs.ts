/**
 * Makes calls share runs (group commit): one run at a time, and every call gets the result of a run that began after the
 * call. However many calls there are, at most one run is under way and one waits.
 */
export function createSharedRuns<T>(run: () => Promise<T>): () => Promise<T> {
  let latest: Promise<unknown> = Promise.resolve();
  let waiting: Promise<T> | undefined;

  return () => {
    if (waiting !== undefined) return waiting;
    const mine = latest.then(() => {
      waiting = undefined;
      return run();
    });
    waiting = mine;
    latest = mine.catch(() => undefined);
    return mine;
  };
}
