import { afterAll, afterEach, beforeAll, beforeEach } from '@jest/globals';
import { openWorkbench, type Bench, type Workbench, type WorkbenchOptions } from './workbench.js';

/**
 * Gives each test of a file a bench of its own, on servers that the file shares, and takes it away after the test.
 * n.b. hooks run in the order in which they are written: what needs the bench in the end is written before this.
 */
export function eachWithBench(give: (bench: Bench) => void, options: () => WorkbenchOptions = () => ({})): void {
  let workbench: Workbench;
  beforeAll(async () => {
    workbench = await openWorkbench(options());
  });
  afterAll(() => workbench.close());
  beforeEach(async () => give(await workbench.begin()));
  afterEach(() => workbench.end());
}
