import { describe, expect, it } from '@jest/globals';
import { parseResidentBytes, readResidentBytes } from './memory.js';

describe('parseResidentBytes', () => {
  it('reads the resident set and nothing else', () => {
    expect(parseResidentBytes('Name:\tnode\nVmHWM:\t  900 kB\nVmRSS:\t  123 kB\nRssAnon:\t 7 kB\n')).toBe(125_952);
  });

  it('knows nothing of a process that is going: a zombie has no such line', () => {
    expect(parseResidentBytes('Name:\tnode\nState:\tZ (zombie)\n')).toBeUndefined();
  });
});

describe('readResidentBytes', () => {
  it('finds this very process where the system has /proc', () => {
    const bytes = readResidentBytes(process.pid);
    if (process.platform === 'linux') expect(bytes).toBeGreaterThan(10 * 2 ** 20);
    else expect(bytes).toBeUndefined();
  });
});
