/** Pause before what could not be loaded is tried again though no file has changed, doubled while that does not help. */
const RETRY_AFTER_MS = { first: 60_000, longest: 900_000 } as const;

export interface ReloadRetryOptions {
  /** Whether anything could not be loaded when that was last tried. */
  readonly isNeeded: () => boolean;
  /** Tries again. Never rejects. */
  readonly retry: () => Promise<void>;
}

export interface ReloadRetry {
  start(): void;
  stop(): void;
}

/**
 * Tries again what could not be loaded, since the reason may pass without a change of files: memory that others needed, a disk that was
 * slow.
 */
export function createReloadRetry({ isNeeded, retry }: ReloadRetryOptions): ReloadRetry {
  let timer: NodeJS.Timeout | undefined;
  let pauseMs: number = RETRY_AFTER_MS.first;
  let stopped = false;

  function arm(): void {
    if (!stopped) timer = setTimeout(() => void look(), pauseMs);
  }

  async function look(): Promise<void> {
    if (isNeeded()) await retry();
    pauseMs = isNeeded() ? Math.min(RETRY_AFTER_MS.longest, pauseMs * 2) : RETRY_AFTER_MS.first;
    arm();
  }

  return {
    start: arm,
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}
