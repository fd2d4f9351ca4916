import type { Amounts } from './quota.js';

/** Throws a RangeError unless `value` is a whole number, 0 … 2^53 − 1: what Redis' scripts keep exactly. */
export function checkCount(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0)
    throw new RangeError(`${name} must be a whole number from 0, not ${value}`);
}

/** Throws a RangeError unless both amounts can be kept exactly. */
export function checkAmounts({ tokens, nanoUsd }: Amounts): void {
  checkCount('tokens', tokens);
  checkCount('nanoUsd', nanoUsd);
}

/** Throws a RangeError unless `value` is text without line breaks. */
export function checkText(name: string, value: string): void {
  if (value === '' || value.includes('\n')) throw new RangeError(`${name} must be a line of text`);
}
