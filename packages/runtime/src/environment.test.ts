import { describe, expect, it } from '@jest/globals';
import { z } from 'zod';
import { bytes, days, duration, durationMs, parseEnvironment, wholeNumber } from './environment.js';

const schema = z.object({ URL: z.url(), PORT: wholeNumber(0, 65_535).default(80), WAIT: durationMs.default(5) });

describe('parseEnvironment', () => {
  it('applies defaults, counting an empty variable as absent', () => {
    expect(parseEnvironment(schema, { URL: 'http://a', PORT: '', WAIT: '2m' })).toEqual({
      URL: 'http://a',
      PORT: 80,
      WAIT: 120_000,
    });
  });

  it('lists every problem by variable and never repeats a value', () => {
    expect(() => parseEnvironment(schema, { PORT: '70000', WAIT: 's3cret' })).toThrow(
      /URL: is missing\n {2}PORT: .*\n {2}WAIT: must be a duration/,
    );
    expect(() => parseEnvironment(schema, { URL: 's3cret' })).not.toThrow(/s3cret/);
  });
});

describe('bytes', () => {
  it.each([
    ['512MiB', 2 ** 29],
    ['2GiB', 2 ** 31],
    ['64KiB', 2 ** 16],
    ['1TiB', 2 ** 40],
    ['10B', 10],
    ['4096', 4096],
  ])('reads %p', (text, amount) => {
    expect(bytes().parse(text)).toBe(amount);
  });

  it.each(['', '-1', '1.5GiB', '512MB', '512 M', '9007199254740992', '9000TiB'])('refuses %p', (text) => {
    expect(bytes().safeParse(text).success).toBe(false);
  });

  it('can demand a least amount, and says what it takes', () => {
    expect(bytes(2 ** 20).safeParse('1023KiB').error?.issues[0]?.message).toMatch(
      /^must be from 1048576 to \d+ bytes$/,
    );
    expect(bytes(2 ** 20).safeParse('much').error?.issues[0]?.message).toBe(
      'must be an amount of memory such as "512MiB" or "2GiB"',
    );
  });
});

describe('durationMs', () => {
  it.each([
    ['250ms', 250],
    ['25s', 25_000],
    ['5m', 300_000],
    ['1h', 3_600_000],
    ['20d', 1_728_000_000],
    [1500, 1500],
    ['1500', 1500],
  ])('reads %p', (text, ms) => {
    expect(durationMs.parse(text)).toBe(ms);
  });

  it.each(['', '-1s', '1 week', '1.5s', 'NaN', '25d', '999999999999d'])('refuses %p', (text) => {
    expect(durationMs.safeParse(text).success).toBe(false);
  });

  it('may have bounds', () => {
    expect(durationMs.parse('0')).toBe(0);
    expect(duration(1).safeParse('0s').success).toBe(false);
    expect(duration(5, 10).safeParse('11').error?.issues[0]?.message).toBe('must be from 5 ms to 10 ms');
  });
});

describe('days', () => {
  it('reads spans that no timer can wait', () => {
    expect(days().parse('90d')).toBe(7_776_000_000);
    expect(days().parse('3650d')).toBe(315_360_000_000);
  });

  it.each(['', '90', '90h', '0d', '-1d', '1.5d', '40000d'])('refuses %p', (text) => {
    expect(days().safeParse(text).success).toBe(false);
  });

  it('may have a lower bound', () => {
    expect(days(62).safeParse('61d').error?.issues[0]?.message).toBe('must be from 62d to 36525d');
  });
});
