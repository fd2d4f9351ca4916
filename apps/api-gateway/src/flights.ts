/** Admissions between the beginning of their reservation and the answer to their publish. */
export interface Flights {
  /** Runs `work` as one of them. It must not wait for a load: loads wait for what is in flight. */
  track<T>(work: () => Promise<T>): Promise<T>;
  /** Resolves when those in flight now are over; later ones do not count. */
  drain(): Promise<void>;
  readonly size: number;
}

export function createFlights(): Flights {
  const open = new Set<Promise<unknown>>();
  return {
    get size() {
      return open.size;
    },
    async track(work) {
      const flight = work();
      open.add(flight);
      try {
        return await flight;
      } finally {
        open.delete(flight);
      }
    },
    async drain() {
      await Promise.allSettled(open);
    },
  };
}
