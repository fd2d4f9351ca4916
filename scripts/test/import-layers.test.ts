import { readFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { ESLint } from 'eslint';
import tseslint from 'typescript-eslint';
import { ROOT } from '../src/paths.js';

// Rules that need types are off: they would read the whole project for each of these made-up files.
const eslint = new ESLint({
  cwd: ROOT,
  overrideConfig: tseslint.configs.disableTypeChecked as ESLint.Options['overrideConfig'],
});

/** What the rule says of a file with this one line. */
async function problems(file: string, line: string): Promise<readonly (string | undefined)[]> {
  const [result] = await eslint.lintText(`${line}\n`, { filePath: join(ROOT, file) });
  const messages = result?.messages ?? [];
  const broken = messages.find(({ fatal, ruleId }) => fatal || ruleId === null);
  if (!result || broken) throw new Error(`${file} was not linted: ${broken?.message ?? 'ignored'}`);
  return messages.filter(({ ruleId }) => ruleId === 'sluice/import-layers').map(({ messageId }) => messageId);
}

describe('the layers of imports', () => {
  it.each([
    ['an app by its path', 'apps/api-gateway/src/x.ts', "import '../../results-collector/src/config.js';", 'path'],
    ['an app by its name', 'apps/api-gateway/src/x.ts', "import '@sluice/results-collector';", 'layer'],
    ['a file of an app', 'apps/api-gateway/src/x.ts', "import '@sluice/ml-worker/dist/config.js';", 'layer'],
    ['the scripts', 'apps/api-gateway/src/x.ts', "import '@sluice/scripts';", 'layer'],
    ['the benchmarks', 'packages/contracts/src/x.ts', "import '@sluice/benchmarks';", 'layer'],
    ['a package above', 'packages/contracts/src/x.ts', "import '@sluice/runtime';", 'layer'],
    ['a neighbour', 'packages/quota/src/x.ts', "import '@sluice/store';", 'layer'],
    ['a workspace nobody listed', 'packages/quota/src/x.ts', "import '@sluice/unheard-of';", 'layer'],
    ['the books', 'apps/ml-worker/src/x.ts', "import '@sluice/store';", 'layer'],
    ['local services in what ships', 'apps/ml-worker/src/x.ts', "import '@sluice/local-services';", 'layer'],
    ['a subpath of them', 'packages/store/src/x.ts', "import '@sluice/local-services/jest-global-setup';", 'layer'],
    ['a type', 'packages/quota/src/x.ts', "export type { Store } from '@sluice/store';", 'layer'],
    ['a type in place', 'packages/quota/src/x.ts', "export type S = import('@sluice/store').Store;", 'layer'],
    ['all that another exports', 'packages/quota/src/x.ts', "export * from '@sluice/store';", 'layer'],
    ['a dynamic import', 'packages/quota/src/x.ts', "await import('@sluice/store');", 'layer'],
    ['what a package does not export', 'apps/ml-worker/src/x.ts', "import '@sluice/broker/src/intake.js';", 'exports'],
    ['the same in a test', 'apps/ml-worker/test/x.test.ts', "import '@sluice/broker/dist/intake.js';", 'exports'],
    ['sources from a deep folder', 'apps/api-gateway/src/a/b/x.ts', "import '../../../../ml-worker/src/x.js';", 'path'],
    ['sources by a detour', 'apps/api-gateway/src/x.ts', "import './../src/../../ml-worker/src/x.js';", 'path'],
    ['sources from a test', 'apps/api-gateway/test/x.test.ts', "import '../../ml-worker/src/config.js';", 'path'],
    ['sources from a unit test', 'packages/quota/src/x.test.ts', "import '../../store/src/index.js';", 'path'],
    ['tests of others', 'packages/quota/test/x.test.ts', "import '../../store/test/support.js';", 'path'],
    ['an app from a test', 'apps/api-gateway/test/x.test.ts', "import '@sluice/ml-worker/src/config.js';", 'layer'],
    ['an app from the scripts', 'scripts/src/x.ts', "import '@sluice/api-gateway';", 'layer'],
    ['the simulation', 'scripts/src/x.ts', "import '@sluice/simulation';", 'layer'],
    [
      'sources of an app from the simulation',
      'packages/simulation/src/x.ts',
      "import '@sluice/ml-worker/src/x.js';",
      'exports',
    ],
    ['sources from the benchmarks', 'benchmarks/src/x.ts', "import '../../scripts/src/suite.js';", 'path'],
  ])('refuse %s', async (_, file, line, problem) => {
    expect(await problems(file, line)).toEqual([problem]);
  });

  it.each([
    ['a package below', 'apps/api-gateway/src/routes/x.ts', "import '@sluice/store';"],
    ['an exported subpath', 'apps/ml-worker/src/x.ts', "import '@sluice/models/session';"],
    ['files of the workspace', 'apps/api-gateway/src/routes/x.ts', "import '../../test/y.js'; import '../server.js';"],
    ['local services in a test', 'packages/store/test/x.test.ts', "import '@sluice/local-services';"],
    ['any package in a unit test', 'apps/ml-worker/src/x.test.ts', "import '@sluice/store';"],
    ['the scripts in the benchmarks', 'benchmarks/src/x.ts', "import '@sluice/scripts';"],
    ['an app in the simulation', 'packages/simulation/src/x.ts', "import '@sluice/api-gateway/composition';"],
    ['libraries', 'packages/contracts/src/x.ts', "import 'zod'; import 'node:path';"],
    ['the preset of the root in jest.config.js', 'packages/quota/jest.config.js', "import '../../jest.preset.js';"],
  ])('allow %s', async (_, file, line) => {
    expect(await problems(file, line)).toEqual([]);
  });

  it('are enforced in every workspace', async () => {
    const groups = ['packages', 'apps'].map(async (group) =>
      (await readdir(join(ROOT, group))).map((name) => `${group}/${name}`),
    );
    const folders = [...(await Promise.all(groups)).flat(), 'scripts', 'benchmarks'];
    const found = folders.map(async (folder) => [folder, await problems(`${folder}/src/x.ts`, "import '@sluice/no';")]);
    expect(await Promise.all(found)).toEqual(folders.map((folder) => [folder, ['layer']]));
  });
});

it('lets every app handle signals before it loads anything else', () => {
  for (const app of ['api-gateway', 'ml-worker', 'results-collector']) {
    const imports = [...readFileSync(join(ROOT, 'apps', app, 'src', 'main.ts'), 'utf8').matchAll(/from '([^']+)'/g)];
    expect([app, ...imports.map(([, name]) => name)]).toEqual([app, '@sluice/runtime/early-signals']);
  }
});
