import { describe, expect, it } from '@jest/globals';
import { parseStartOptions } from './start-options.js';

describe('parseStartOptions', () => {
  it('has one of each app and no fixed port by default', () => {
    expect(parseStartOptions([])).toEqual({
      once: false,
      quiet: false,
      gateways: 1,
      workers: 1,
      collectors: 1,
      port: -1,
    });
  });

  it('reads numbers and switches', () => {
    expect(parseStartOptions(['--once', '--workers', '3', '--port=0', '--quiet'])).toMatchObject({
      once: true,
      workers: 3,
      port: 0,
      quiet: true,
    });
    expect(parseStartOptions(['--help'])).toBe('help');
  });

  it.each([
    ['--workers', '0'],
    ['--gateways', 'many'],
    ['--port', '65536'],
    ['--collectors', '1.5'],
    ['--wrokers', '1'],
  ])('refuses %s %s, naming the option', (name, value) => {
    expect(() => parseStartOptions([name, value])).toThrow(name.slice(2));
  });
});
