import { describe, expect, it } from '@jest/globals';
import { createLogger } from './logger.js';

/** What a logger wrote of one line. */
function written(log: (logger: ReturnType<typeof createLogger>) => void): Record<string, unknown> {
  const lines: string[] = [];
  log(createLogger({ app: 'test', level: 'info', stream: { write: (line) => void lines.push(line) } }));
  expect(lines).toHaveLength(1);
  return JSON.parse(lines[0] ?? '') as Record<string, unknown>;
}

describe('createLogger', () => {
  it('writes one object a line, with the level as a word and the ids it is given', () => {
    const line = written((logger) => logger.info({ jobId: 'a job', traceId: 'a trace' }, 'done'));
    expect(line).toMatchObject({ app: 'test', level: 'info', jobId: 'a job', traceId: 'a trace', msg: 'done' });
    expect(new Date(String(line['time'])).toISOString()).toBe(line['time']);
  });

  it.each(['apiKey', 'authorization', 'password', 'input', 'output'])('cuts out %s, also one level down', (name) => {
    const line = written((logger) =>
      logger.warn({ [name]: 'a secret', message: { [name]: ['a secret'] } }, 'went wrong'),
    );
    expect(line).toMatchObject({ [name]: '[redacted]', message: { [name]: '[redacted]' } });
  });

  it('cuts it out of what a child logger adds', () => {
    expect(
      JSON.stringify(written((logger) => logger.child({ part: 'x' }).error({ input: 'a prompt' }, 'no'))),
    ).not.toContain('prompt');
  });
});
