// The part of autocannon that is used here; the package has no types of its own.
declare module 'autocannon' {
  import type { EventEmitter } from 'node:events';

  interface Options {
    readonly url: string;
    readonly connections: number;
    /** Number of requests, divided evenly among the connections. */
    readonly amount: number;
    /** Seconds. */
    readonly timeout: number;
    readonly requests: readonly {
      readonly method: 'POST';
      readonly headers: Readonly<Record<string, string>>;
      readonly body: string;
    }[];
  }

  /**
   * Emits `response` (client, statusCode, bytes, milliseconds) and `reqError` (error). n.b. `done` comes with the next
   * tick of a second, so it does not say when the last answer came.
   */
  type Instance = EventEmitter & { stop(): void };

  export default function autocannon(options: Options, done: (error: Error | null) => void): Instance;
}
