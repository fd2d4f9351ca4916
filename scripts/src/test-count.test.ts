import { describe, expect, it } from '@jest/globals';
import { countTests } from './test-count.js';

const file = (numPassedTests: number, numFailedTests = 0, numRuntimeErrorTestSuites = 0, numPendingTests = 0): string =>
  JSON.stringify({ numPassedTests, numFailedTests, numRuntimeErrorTestSuites, numPendingTests });

async function count(files: Readonly<Record<string, string>>) {
  return countTests(Object.keys(files), async (path) => files[path.split('/')[0] ?? ''] ?? '');
}

describe('countTests', () => {
  it('sums what passed and failed', async () => {
    expect(await count({ a: file(3), b: file(4, 1) })).toEqual({ passed: 7, failed: 1 });
  });

  it('counts a file that could not run, a skipped test and a missing result as failures', async () => {
    expect(await count({ a: file(3, 0, 1), b: file(1, 0, 0, 1), c: '' })).toEqual({ passed: 4, failed: 3 });
  });
});
