import type { TracingLogger } from './open-tracing.js';

/** Time between two lines about spans that nobody will see, at least. */
const LINE_EVERY_MS = 60_000;
const MOST_CHARACTERS = 200;

/** Tells of recorded spans that did not arrive: of all of them, in a line a minute at most. */
export interface LostSpans {
  /** @param reason of these; a line gives the latest. n.b. may quote what a collector answered, so it is cut. */
  add(spans: number, reason: string): void;
  /** Tells of those that no line has told of yet. To be called at the end. */
  tellRest(): void;
}

export function createLostSpans(logger: TracingLogger): LostSpans {
  let untold = 0;
  let latest = '';
  let quiet: NodeJS.Timeout | undefined;

  function tell(): void {
    logger.warn({ spans: untold, reason: latest }, 'spans could not be sent and are lost');
    untold = 0;
    quiet = setTimeout(() => {
      quiet = undefined;
      if (untold > 0) tell();
    }, LINE_EVERY_MS);
    quiet.unref();
  }

  return {
    add(spans, reason) {
      untold += spans;
      latest = reason.slice(0, MOST_CHARACTERS);
      if (!quiet) tell();
    },
    tellRest() {
      if (untold > 0) tell();
      clearTimeout(quiet);
    },
  };
}
