import { describe, expect, it } from '@jest/globals';
import { ServiceError } from '@sluice/contracts';
import { errorKind, toStoreError } from './postgres-errors.js';

function postgresError(code: string): Error {
  return Object.assign(new Error('from the server'), { code, severity: 'ERROR' });
}

describe('errorKind', () => {
  it.each([
    ['22003', 'data'],
    ['23514', 'data'],
    ['54000', 'data'],
    ['40P01', 'contention'],
    ['40001', 'contention'],
    ['57P01', 'unavailable'],
    ['57014', 'unavailable'],
    ['53300', 'unavailable'],
    ['25006', 'unavailable'],
    ['42P01', 'unavailable'],
  ])('takes SQLSTATE %s for %s', (code, kind) => {
    expect(errorKind(postgresError(code))).toBe(kind);
  });

  it('takes errors of the connection for unavailable, even when their code looks like data', () => {
    expect(errorKind(Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }))).toBe('unavailable');
    expect(errorKind(Object.assign(new Error('odd'), { code: '22003' }))).toBe('unavailable');
    expect(errorKind('thrown text')).toBe('unavailable');
  });
});

describe('toStoreError', () => {
  it('hides what happened behind store_unavailable and keeps it as the cause', () => {
    const cause = postgresError('57P01');
    const error = toStoreError(cause);
    expect(error).toBeInstanceOf(ServiceError);
    expect(error).toMatchObject({ code: 'store_unavailable', cause });
    expect((error as Error).message).not.toContain('server');
  });

  it('passes refused values on as they are', () => {
    const error = postgresError('23505');
    expect(toStoreError(error)).toBe(error);
  });
});
