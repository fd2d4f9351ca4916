import { pino, destination, type DestinationStream, type Logger } from 'pino';

export type { Logger } from 'pino';

export interface LoggerOptions {
  /** Program name, in every line as `app`. */
  readonly app: string;
  /** `debug`, `info`, `warn`, `error` or `silent`. */
  readonly level: string;
  /** Where lines go; stdout without blocking when absent. */
  readonly stream?: DestinationStream;
}

/**
 * One JSON object a line. Prompts and outputs are never logged; keys that could carry a secret are cut out as a
 * second line of defence.
 */
export function createLogger({ app, level, stream }: LoggerOptions): Logger {
  return pino(
    {
      level,
      base: { app, pid: process.pid },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      redact: {
        paths: ['apiKey', 'authorization', 'password', 'input', 'output', '*.apiKey', '*.authorization', '*.password'],
        censor: '[redacted]',
      },
    },
    stream ?? destination({ sync: false, minLength: 0 }),
  );
}
