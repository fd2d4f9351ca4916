import { StringDecoder } from 'node:string_decoder';
import type { Readable } from 'node:stream';
import type { Logger } from '@sluice/runtime';

/** Characters of a line; the rest of it is left out. */
const LONGEST_LINE = 500;
/** Lines of a process in a minute; further ones are counted. */
const MOST_LINES = 100;
const MINUTE_MS = 60_000;

/**
 * Makes what a process writes lines of the worker's log: ONNX Runtime writes its own words to stderr. However much it writes,
 * little of it is kept and logged.
 */
export function logLines(streams: readonly Readable[], pid: number | undefined, logger: Logger): void {
  let minuteBeganMs = -Infinity;
  let lines = 0;
  let leftOut = 0;

  function tellLeftOut(): void {
    if (leftOut > 0)
      logger.warn({ child: pid, lines: leftOut }, 'an inference process wrote too much, lines are left out');
    leftOut = 0;
  }

  function log(line: string): void {
    const nowMs = performance.now();
    if (nowMs - minuteBeganMs >= MINUTE_MS) {
      tellLeftOut();
      [minuteBeganMs, lines] = [nowMs, 0];
    }
    lines += 1;
    if (lines > MOST_LINES) leftOut += 1;
    else logger.warn({ child: pid, line }, 'an inference process wrote');
  }

  for (const stream of streams) readLines(stream, log).once('close', tellLeftOut);
}

/** Gives the begin of each line, without keeping more than that. */
function readLines(stream: Readable, onLine: (line: string) => void): Readable {
  const decoder = new StringDecoder('utf8');
  let line = '';

  function extend(part: string): void {
    if (line.length < LONGEST_LINE) line += part.slice(0, LONGEST_LINE - line.length);
  }

  function end(): void {
    onLine(line.replace(/\r$/, ''));
    line = '';
  }

  stream.on('data', (chunk: Buffer) => {
    const [first = '', ...others] = decoder.write(chunk).split('\n');
    extend(first);
    for (const part of others) {
      end();
      extend(part);
    }
  });
  stream.on('end', () => {
    if (line !== '') end();
  });
  return stream;
}
