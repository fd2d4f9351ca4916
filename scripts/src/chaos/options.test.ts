import { describe, expect, it } from '@jest/globals';
import { parseChaosOptions } from './options.js';

describe('the options of chaos', () => {
  it('are those of a proof by default: 200 faults', () => {
    const options = parseChaosOptions([]);
    expect(options).toMatchObject({ faults: 200, minutes: 15, rate: 40, keep: false });
    expect(options).toMatchObject({ kinds: undefined, directory: undefined, report: undefined });
  });

  it('take a seed, and draw one when there is none', () => {
    expect(parseChaosOptions(['--seed', '17'])).toMatchObject({ seed: 17 });
    expect(parseChaosOptions([])).toMatchObject({ seed: expect.any(Number) });
  });

  it('take kinds by name, in their order', () => {
    const options = parseChaosOptions(['--kinds', 'FLUSHALL, kill gateway']);
    expect(options === 'help' ? [] : options.kinds?.map(({ name }) => name)).toEqual(['FLUSHALL', 'kill gateway']);
  });

  it.each([
    [['--kinds', 'kill everyone'], /kill everyone.*there are: kill gateway/],
    [['--seed=-1'], /--seed must be/],
    [['--seed', '4294967296'], /--seed must be/],
    [['--faults', 'many'], /--faults must be/],
    [['--minutes', '0'], /--minutes must be/],
    [['--rate', ''], /--rate must be/],
    [['--sed', '1'], /--sed/],
  ])('refuse %j', (args, message) => {
    expect(() => parseChaosOptions(args)).toThrow(message);
  });

  it('explain themselves', () => {
    expect(parseChaosOptions(['--help'])).toBe('help');
  });
});
