import { describe, expect, it } from '@jest/globals';
import { BENCHMARKS, parseCommandLine } from './command-line.js';

describe('parseCommandLine', () => {
  it('runs everything when nothing is named', () => {
    expect(parseCommandLine([])).toEqual({
      names: BENCHMARKS,
      quick: false,
      rounds: undefined,
      json: undefined,
      curve: undefined,
    });
  });

  it('takes names and options in any order', () => {
    expect(parseCommandLine(['--quick', 'pipeline', '--rounds', '3', '--json', 'out.json'])).toEqual({
      names: ['pipeline'],
      quick: true,
      rounds: 3,
      json: 'out.json',
      curve: undefined,
    });
  });

  it.each([
    ['a benchmark that does not exist', ['pipelines'], /no benchmark "pipelines"/],
    ['no rounds', ['--rounds', '0'], /whole number/],
    ['half a round', ['--rounds', '1.5'], /whole number/],
    ['endless rounds', ['--rounds', '51'], /whole number/],
    ['an option it does not know', ['--fast'], /--fast/],
  ])('refuses %s', (_what, args, message) => {
    expect(() => parseCommandLine(args)).toThrow(message);
  });

  it('takes the curve to simulate', () => {
    expect(parseCommandLine(['scaling', '--curve', 'curve.json'])).toMatchObject({
      names: ['scaling'],
      curve: 'curve.json',
    });
  });

  it('knows when help is wanted', () => {
    expect(parseCommandLine(['pipeline', '--help'])).toBe('help');
  });
});
