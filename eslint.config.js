import { dirname, join, relative, resolve, sep } from 'node:path';
import js from '@eslint/js';
import tseslint from 'typescript-eslint';

/**
 * Imports point one way: contracts ← runtime, telemetry ← broker, quota, store, models ← apps. Neighbours of a row do not import
 * each other, and nothing imports an app. `local-services` starts servers for tests, benchmarks and scripts; nothing
 * that ships may import it. What a workspace's sources may import, by folder:
 */
const layers = {
  'packages/contracts': [],
  'packages/runtime': ['contracts'],
  'packages/telemetry': ['contracts'],
  'packages/broker': ['contracts', 'runtime', 'telemetry'],
  'packages/quota': ['contracts', 'runtime', 'telemetry'],
  'packages/store': ['contracts', 'runtime', 'telemetry'],
  'packages/models': ['contracts', 'runtime', 'telemetry'],
  'packages/local-services': [],
  'apps/api-gateway': ['contracts', 'runtime', 'telemetry', 'broker', 'quota', 'store', 'models'],
  'apps/ml-worker': ['contracts', 'runtime', 'telemetry', 'broker', 'models'],
  'apps/results-collector': ['contracts', 'runtime', 'telemetry', 'broker', 'quota', 'store'],
};

/**
 * Tests may import every package, and so may the tools. The simulation may import apps: it runs their code in one
 * process, on servers that it makes up; and benchmarks the worker, to measure a part of it alone. Nothing imports the simulation.
 */
const packages = ['contracts', 'runtime', 'telemetry', 'broker', 'quota', 'store', 'models', 'local-services'];
const apps = ['api-gateway', 'ml-worker', 'results-collector'];
const tools = {
  scripts: packages,
  benchmarks: [...packages, 'scripts', 'ml-worker'],
  'packages/simulation': [...packages, ...apps],
};

/**
 * Reports static, dynamic and type imports of a workspace that is not `allowed`, of a file behind a workspace's
 * exports, and of paths that leave `folder`. The stock rule sees no dynamic imports and cannot resolve a path.
 */
const importLayers = {
  meta: {
    type: 'problem',
    schema: [{ type: 'object' }],
    messages: {
      layer: 'Imports point one way: see the layers in eslint.config.js.',
      exports: 'Import a package by its exports only.',
      path: 'Import another workspace by its name, not by a path.',
    },
  },
  create(context) {
    const { folder, allowed } = context.options[0];
    const root = join(import.meta.dirname, folder);

    function problemOf(specifier) {
      const [, name, subpath = ''] = /^@sluice\/([^/]+)(\/.*)?$/.exec(specifier) ?? [];
      if (name !== undefined && !allowed.includes(name)) return 'layer';
      if (name !== undefined && /^\/(src|dist|test)(\/|$)/.test(subpath)) return 'exports';
      if (!specifier.startsWith('.')) return undefined;
      const path = relative(root, resolve(dirname(context.filename), specifier));
      return path.split(sep)[0] === '..' ? 'path' : undefined;
    }

    function check({ source }) {
      if (typeof source?.value !== 'string') return;
      const messageId = problemOf(source.value);
      if (messageId) context.report({ node: source, messageId });
    }

    return {
      ImportDeclaration: check,
      ImportExpression: check,
      ExportNamedDeclaration: check,
      ExportAllDeclaration: check,
      TSImportType: check,
    };
  },
};

function enforce(folder, allowed) {
  return { 'sluice/import-layers': ['error', { folder, allowed }] };
}

export default tseslint.config(
  { ignores: ['**/dist/**', '**/.turbo/**', '**/.local/**', '**/coverage/**'] },
  js.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [...tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-non-null-assertion': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/require-await': 'off',
      'no-console': 'error',
    },
  },
  { plugins: { sluice: { rules: { 'import-layers': importLayers } } } },
  ...Object.entries({ ...layers, ...tools }).map(([folder, allowed]) => ({
    files: [`${folder}/**/*.{ts,mjs,js}`],
    ignores: ['**/jest.config.js'], // takes the preset of the root
    rules: enforce(folder, folder in layers ? packages : allowed),
  })),
  ...Object.entries(layers).map(([folder, allowed]) => ({
    files: [`${folder}/src/**/*.ts`],
    ignores: ['**/*.test.ts'],
    rules: enforce(folder, allowed),
  })),
  {
    files: ['apps/*/src/**/*.ts', 'packages/*/src/**/*.ts'],
    ignores: [
      '**/main.ts',
      'apps/*/src/program.ts',
      '**/early-signals.ts',
      '**/config.ts',
      'packages/local-services/**',
      '**/*.test.ts',
    ],
    rules: {
      'no-restricted-properties': [
        'error',
        { object: 'process', property: 'env', message: 'Only config.ts reads the environment.' },
        { object: 'process', property: 'exit', message: 'Only main.ts ends the process.' },
      ],
    },
  },
  { files: ['scripts/**', 'benchmarks/**', 'examples/**'], rules: { 'no-console': 'off' } },
  {
    files: ['**/*.mjs', '**/*.js'],
    languageOptions: { globals: { console: 'readonly', process: 'readonly', URL: 'readonly' } },
  },
);
