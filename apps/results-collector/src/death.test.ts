import { describe, expect, it } from '@jest/globals';
import { HEADERS } from '@sluice/contracts';
import { deathOf, endOf, isStrangers } from './death.js';

const DELIVERY_LIMIT = { reason: 'delivery_limit', queue: 'work.cpu.standard', count: 1 };
const RETRY = { reason: 'expired', queue: 'retry.5s', count: 2 };

describe('deathOf', () => {
  it('believes the header of the part that gave up', () => {
    const headers = {
      [HEADERS.reason]: 'inference_crashed: four times',
      [HEADERS.source]: 'work.cpu.standard',
      'x-death': [RETRY],
    };
    expect(deathOf({ queue: 'dead', headers })).toEqual({
      reason: 'inference_crashed: four times',
      source: 'work.cpu.standard',
    });
  });

  it('takes the reason of the broker when the broker moved the message', () => {
    expect(deathOf({ queue: 'dead', headers: { 'x-death': [DELIVERY_LIMIT, RETRY] } })).toEqual({
      reason: 'delivery_limit',
      source: 'work.cpu.standard',
    });
  });

  it('knows a submission of another service by what the broker wrote, whatever it says of itself', () => {
    const disguised = {
      [HEADERS.source]: 'work.cpu.standard',
      'x-death': [{ reason: 'delivery_limit', queue: 'ingest' }],
    };
    expect(deathOf({ queue: 'dead', headers: disguised }).source).toBe('ingest');
    expect(deathOf({ queue: 'dead', headers: { [HEADERS.source]: 'ingest' } }).source).toBe('ingest');
  });

  it('tells what the broker moved as a stranger wrote it from the copy that the gateway made', () => {
    expect(isStrangers({ 'x-death': [{ reason: 'delivery_limit', queue: 'ingest' }] })).toBe(true);
    expect(isStrangers({ [HEADERS.source]: 'ingest', [HEADERS.reason]: 'invalid_json' })).toBe(false);
    expect(isStrangers({ 'x-death': [DELIVERY_LIMIT] })).toBe(false);
  });

  it('overlooks the retry tiers, in which every message expires', () => {
    expect(deathOf({ queue: 'dead', headers: { 'x-death': [RETRY, DELIVERY_LIMIT] } }).reason).toBe('delivery_limit');
  });

  it('calls what no queue took unroutable, even when it came through a retry tier', () => {
    expect(deathOf({ queue: 'unrouted', headers: { 'x-death': [RETRY] } })).toEqual({
      reason: 'unroutable',
      source: undefined,
    });
  });

  it.each([[undefined], ['text'], [[]], [[null, 7, {}]], [[{ reason: 1, queue: 2 }]]])(
    'survives a forged x-death: %j',
    (death) => {
      expect(deathOf({ queue: 'dead', headers: { 'x-death': death } })).toEqual({
        reason: 'unknown',
        source: undefined,
      });
    },
  );

  it('cuts a long reason', () => {
    expect(deathOf({ queue: 'dead', headers: { [HEADERS.reason]: 'x'.repeat(5_000) } }).reason).toHaveLength(500);
  });
});

describe('endOf', () => {
  const end = (reason: string) => endOf({ reason, source: undefined });

  it.each([
    ['inference_crashed: the process ended with SIGSEGV', 'inference_crashed', 'the process ended with SIGSEGV'],
    ['malformed_message: input: is missing', 'malformed_message', 'input: is missing'],
    ['attempts_exhausted', 'attempts_exhausted', 'The job failed at every attempt'],
    ['unroutable', 'unroutable', 'No queue exists for the pool and class of the job'],
    ['delivery_limit', 'attempts_exhausted', 'Every worker that took the job went away before it had finished it.'],
    ['rejected', 'attempts_exhausted', 'The job failed at every attempt'],
    ['constructor', 'attempts_exhausted', 'The job failed at every attempt'],
    ['', 'attempts_exhausted', 'The job failed at every attempt'],
  ])('a job that died of "%s" failed with %s', (reason, code, detail) => {
    expect(end(reason)).toEqual({ state: 'failed', error: { code, detail } });
  });

  it('a job that waited too long in its queue has expired', () => {
    expect(end('expired')).toEqual({
      state: 'expired',
      error: { code: 'expired', detail: 'The job waited in its queue for too long.' },
    });
  });
});
