import { describe, expect, it } from '@jest/globals';
import { definitionsOf, scopesOf } from './definitions.js';
import type { Limit } from './limits.js';

const rate: Limit = { name: 'rate', kind: 'rate', unit: 'tokens', max: 10, windowMs: 1000 };
const period = { id: '2026-01', startsAtMs: 0, endsAtMs: 1, nextId: '2026-02', nextEndsAtMs: 2 };
const quota: Limit = { name: 'quota', kind: 'quota', unit: 'nanoUsd', max: 10, period };
const inFlight: Limit = { name: 'in-flight', kind: 'inFlight', unit: 'requests', max: 10, soft: true };

describe('definitionsOf', () => {
  it.each<[string, Limit]>([
    ['a name with spaces', { ...quota, name: 'a b' }],
    ['the name of another', { ...quota, name: 'rate' }],
    ['no maximum', { ...rate, max: 0 }],
    ['a fraction', { ...quota, max: 1.5 }],
    ['a maximum beyond exact integers', { ...quota, max: 2 ** 53 }],
    ['a bucket beyond exact integers', { ...rate, max: 2 ** 50 }],
    ['no window', { name: 'x', kind: 'rate', unit: 'tokens', max: 1 }],
    ['a period that is none of its own', { ...inFlight, period }],
    ['no period', { name: 'quota', kind: 'quota', unit: 'tokens', max: 1 }],
    ['a window that is none of its own', { ...quota, windowMs: 1 }],
    ['a period id that is no day or month', { ...quota, period: { ...period, id: 'a' } }],
    ['the same period twice', { ...quota, period: { ...period, nextId: '2026-01' } }],
    ['a period that ends before it starts', { ...quota, period: { ...period, endsAtMs: 0 } }],
  ])('refuses a limit with %s', (_, limit) => {
    expect(() => definitionsOf([rate, limit])).toThrow(RangeError);
  });

  it('lists limits as the scripts read them', () => {
    const { json } = definitionsOf([rate, quota, inFlight]);
    expect(JSON.parse(json)).toEqual([
      ['rate', 2, 10, 10, 1000],
      ['quota', 6, 10, 202601, 0, 1, 202602, 2],
      ['in-flight', 7, -1],
    ]);
  });

  it('has a version that changes with everything but the period', () => {
    const { version } = definitionsOf([rate, quota]);
    const later = { id: '2026-02', startsAtMs: 1, endsAtMs: 2, nextId: '2026-03', nextEndsAtMs: 3 };
    expect(Number.isSafeInteger(version)).toBe(true);
    expect(definitionsOf([rate, { ...quota, period: later }]).version).toBe(version);
    const others: Limit[][] = [
      [quota, rate],
      [rate],
      [rate, { ...quota, max: 11 }],
      [rate, { ...quota, soft: true }],
      [rate, { ...quota, unit: 'tokens' }],
      [{ ...rate, windowMs: 999 }, quota],
    ];
    const versions = others.map((limits) => definitionsOf(limits).version);
    expect(new Set([version, ...versions]).size).toBe(others.length + 1);
    expect(definitionsOf([])).toEqual({ version: 0, json: '[]' });
  });
});

describe('scopesOf', () => {
  it('puts the limits of a job in order and refuses those of another', () => {
    const job = { apiKeyId: 'k', model: 'm' };
    const model = { scope: 'model', subject: 'm', limits: [rate] } as const;
    expect(scopesOf([model], job)).toEqual([[], [], [rate]]);
    expect(() => scopesOf([{ ...model, subject: 'n' }], job)).toThrow(RangeError);
    expect(() => scopesOf([model, model], job)).toThrow(RangeError);
  });
});
