export interface Availability {
  /** Asks the server; never rejects. */
  check(): Promise<void>;
  /** To be called when work with the server failed: it counts as away until the next good answer. */
  failed(): void;
  /** The last answer was good and is not older than allowed. */
  readonly up: boolean;
}

export interface AvailabilityOptions {
  /** Rejects when the server does not answer. */
  readonly ping: () => Promise<unknown>;
  /** Milliseconds. */
  readonly maxAgeMs: number;
  /** Milliseconds of a clock that is never set. */
  readonly monotonicMs: () => number;
}

/** Remembers whether a server answered lately. */
export function createAvailability({ ping, maxAgeMs, monotonicMs }: AvailabilityOptions): Availability {
  let answeredAtMs: number | undefined;
  return {
    async check() {
      try {
        await ping();
        answeredAtMs = monotonicMs();
      } catch {
        answeredAtMs = undefined;
      }
    },
    failed() {
      answeredAtMs = undefined;
    },
    get up() {
      return answeredAtMs !== undefined && monotonicMs() - answeredAtMs <= maxAgeMs;
    },
  };
}
