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

/** Cut out of every line, and of what stands one level down in it. */
const SECRETS = ['apiKey', 'authorization', 'password', 'input', 'output'];

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
        paths: SECRETS.flatMap((name) => [name, `*.${name}`]),
        censor: '[redacted]',
      },
    },
    stream ?? destination({ sync: false, minLength: 0 }),
  );
}
