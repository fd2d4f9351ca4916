import { readdir } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

export interface TestCount {
  readonly passed: number;
  readonly failed: number;
}

/** Folders of all workspaces that have tests of their own. */
export async function workspaces(root: string): Promise<readonly string[]> {
  const groups = ['packages', 'apps'].map(async (group) =>
    (await readdir(join(root, group))).map((name) => join(root, group, name)),
  );
  const folders = [...(await Promise.all(groups)).flat(), join(root, 'scripts'), join(root, 'benchmarks')];
  return folders.filter((folder) => existsSync(join(folder, 'jest.config.js')));
}

interface JestResults {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numRuntimeErrorTestSuites: number;
  readonly numPendingTests: number;
}

/** Sums the result files of jest. A missing or unreadable one is a failure: its tests did not run. */
export async function countTests(
  folders: readonly string[],
  read: (path: string) => Promise<string>,
): Promise<TestCount> {
  const counts = await Promise.all(
    folders.map(async (folder): Promise<TestCount> => {
      try {
        const results = JSON.parse(await read(join(folder, '.test-results.json'))) as JestResults;
        return {
          passed: results.numPassedTests,
          failed: results.numFailedTests + results.numRuntimeErrorTestSuites + results.numPendingTests,
        };
      } catch {
        return { passed: 0, failed: 1 };
      }
    }),
  );
  return {
    passed: counts.reduce((sum, { passed }) => sum + passed, 0),
    failed: counts.reduce((sum, { failed }) => sum + failed, 0),
  };
}
