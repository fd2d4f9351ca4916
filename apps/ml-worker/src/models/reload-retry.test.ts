import { afterEach, beforeEach, expect, it, jest } from '@jest/globals';
import { createReloadRetry, type ReloadRetry } from './reload-retry.js';

const MINUTE_MS = 60_000;

let isNeeded: boolean;
let triedAtMinute: number[];
let retry: ReloadRetry;

beforeEach(() => {
  jest.useFakeTimers({ now: 0 });
  isNeeded = true;
  triedAtMinute = [];
  retry = createReloadRetry({
    isNeeded: () => isNeeded,
    retry: async () => void triedAtMinute.push(Date.now() / MINUTE_MS),
  });
  retry.start();
});

afterEach(() => {
  retry.stop();
  jest.useRealTimers();
});

it('tries after a minute, then after pauses that double up to a quarter of an hour', async () => {
  await jest.advanceTimersByTimeAsync(61 * MINUTE_MS);
  expect(triedAtMinute).toEqual([1, 3, 7, 15, 30, 45, 60]);
});

it('tries nothing while everything is loaded, and begins with a minute again', async () => {
  await jest.advanceTimersByTimeAsync(8 * MINUTE_MS);
  isNeeded = false;
  await jest.advanceTimersByTimeAsync(20 * MINUTE_MS);
  expect(triedAtMinute).toEqual([1, 3, 7]);
  isNeeded = true;
  await jest.advanceTimersByTimeAsync(3 * MINUTE_MS);
  expect(triedAtMinute).toEqual([1, 3, 7, 29, 31]);
});

it('tries nothing after it was stopped', async () => {
  retry.stop();
  await jest.advanceTimersByTimeAsync(10 * MINUTE_MS);
  expect(triedAtMinute).toEqual([]);
});
