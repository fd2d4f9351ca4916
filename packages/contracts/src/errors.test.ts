import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { ERRORS, isServiceError, ServiceError, toProblem } from './errors.js';

describe('the error table', () => {
  it('is what docs/errors.md says, code for code', () => {
    const page = readFileSync(new URL('../../../docs/errors.md', import.meta.url), 'utf8');
    const rows = [...page.matchAll(/^\| `(\w+)` +\| (\d+) +\| (yes|no) +\| (.*?)\. /gm)].map(
      ([, code, status, retryable, title]) => [code, { status: Number(status), retryable: retryable === 'yes', title }],
    );
    expect(Object.fromEntries(rows)).toEqual(ERRORS);
  });

  it('has statuses of errors only, and retryable exactly where waiting can help', () => {
    for (const [code, { status, retryable }] of Object.entries(ERRORS)) {
      expect([code, status >= 400 && status < 600]).toEqual([code, true]);
      if (status === 503 || status === 429) expect([code, retryable]).toEqual([code, true]);
    }
  });
});

describe('toProblem', () => {
  it('carries code, fields and extensions', () => {
    const error = new ServiceError('rate_limited', 'Too fast.', {
      fields: [{ field: 'input', reason: 'too long' }],
      extensions: { limit: 'tokens-per-minute' },
    });
    expect(toProblem(error)).toEqual({
      type: 'urn:sluice:error:rate_limited',
      title: ERRORS.rate_limited.title,
      status: 429,
      detail: 'Too fast.',
      code: 'rate_limited',
      retryable: true,
      errors: [{ field: 'input', reason: 'too long' }],
      limit: 'tokens-per-minute',
    });
  });

  it('tells nothing of an error that is not ours', () => {
    const problem = toProblem(new Error('connect ECONNREFUSED db-7.internal:5432'));
    expect(problem.code).toBe('internal');
    expect(JSON.stringify(problem)).not.toContain('db-7');
  });

  it('never shows the cause', () => {
    const problem = toProblem(new ServiceError('store_unavailable', 'Later.', { cause: new Error('secret') }));
    expect(JSON.stringify(problem)).not.toContain('secret');
  });
});

describe('isServiceError', () => {
  it('recognises the brand, not the class', () => {
    expect(isServiceError({ isServiceError: true })).toBe(true);
    expect([null, undefined, 'x', new Error('x'), {}].map(isServiceError)).toEqual(Array(5).fill(false));
  });
});
