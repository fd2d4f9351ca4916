import { describe, expect, it } from '@jest/globals';
import { lastError } from './last-error.js';

const line = (level: string, msg: string, message?: string): string =>
  JSON.stringify({ level, app: 'a', msg, ...(message !== undefined && { err: { message, stack: 'somewhere' } }) });

describe('lastError', () => {
  it('is the last line of level error or fatal, with what was thrown', () => {
    const log = [
      line('error', 'first', 'one'),
      line('fatal', 'a could not start', 'listen EADDRINUSE'),
      line('info', 'closed'),
    ];
    expect(lastError(`${log.join('\n')}\n`)).toBe('a could not start: listen EADDRINUSE');
    expect(lastError(line('error', 'alone'))).toBe('alone');
  });

  it('is the whole list of problems of a configuration', () => {
    const problems = 'environment:\n  SLUICE_PORT: must be a number\n  SLUICE_REDIS_URL: is missing';
    expect(lastError(`${problems}\n`)).toBe(problems);
  });

  it('is the message of a crash, not its stack or notices of Node', () => {
    const crash =
      'file:///a.js:3\n  throw x\n  ^\n\nTypeError: x is not a function\n    at a.js:3\n\nNode.js v20.20.0\n';
    const notice = '(node:12) ExperimentalWarning: new\n(Use `node --trace-warnings ...` to show where)\n';
    expect(lastError(`${line('error', 'earlier')}\n${notice}${crash}`)).toBe('TypeError: x is not a function');
    expect(lastError(`${line('error', 'earlier')}\n${notice}`)).toBe('earlier');
  });

  it('takes a line that was cut off for text', () => {
    expect(lastError('{"level":"err')).toBe('{"level":"err');
  });

  it('is undefined when nothing went wrong on record', () => {
    expect(lastError('')).toBeUndefined();
    expect(lastError(line('info', 'ready'))).toBeUndefined();
  });
});
