import { parseArgs } from 'node:util';

export interface StartOptions {
  readonly once: boolean;
  readonly quiet: boolean;
  readonly gateways: number;
  readonly workers: number;
  readonly collectors: number;
  readonly port: number;
}

export const USAGE = `Usage: npm start -- [options]

  --once           run the first jobs, check the books, stop; exit code 0 when everything is right
  --gateways N     how many API gateways (1)
  --workers N      how many workers (1)
  --collectors N   how many results collectors (1)
  --port N         port of the first gateway (8080, or a free one when that is taken)
  --quiet          print the addresses and the outcome only
  --help           this text
`;

/** Reads the command line. @throws Error naming the option that is wrong. */
export function parseStartOptions(args: readonly string[]): StartOptions | 'help' {
  const { values } = parseArgs({
    args: [...args],
    options: {
      once: { type: 'boolean', default: false },
      quiet: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
      gateways: { type: 'string', default: '1' },
      workers: { type: 'string', default: '1' },
      collectors: { type: 'string', default: '1' },
      port: { type: 'string', default: '-1' },
    },
  });
  if (values.help) return 'help';
  return {
    once: values.once,
    quiet: values.quiet,
    gateways: count('gateways', values.gateways),
    workers: count('workers', values.workers),
    collectors: count('collectors', values.collectors),
    port: values.port === '-1' ? -1 : wholeNumber('port', values.port, 0, 65_535),
  };
}

function count(name: string, text: string): number {
  return wholeNumber(name, text, 1, 16);
}

function wholeNumber(name: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= min && value <= max) return value;
  throw new Error(`--${name} must be a whole number from ${min} to ${max}, not "${text}"`);
}
