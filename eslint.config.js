import js from '@eslint/js';
import tseslint from 'typescript-eslint';

/**
 * Imports point one way: contracts ← runtime ← broker, quota, store, models ← apps. Neighbours of a row do not import
 * each other. `local-services` starts servers for tests, benchmarks and scripts; nothing that ships may import it.
 */
const layers = {
  'packages/contracts': [],
  'packages/runtime': ['contracts'],
  'packages/broker': ['contracts', 'runtime'],
  'packages/quota': ['contracts', 'runtime'],
  'packages/store': ['contracts', 'runtime'],
  'packages/models': ['contracts', 'runtime'],
  'packages/local-services': [],
  'apps/api-gateway': ['contracts', 'runtime', 'broker', 'quota', 'store', 'models'],
  'apps/ml-worker': ['contracts', 'runtime', 'broker', 'models'],
  'apps/results-collector': ['contracts', 'runtime', 'broker', 'quota', 'store'],
};

const every = ['contracts', 'runtime', 'broker', 'quota', 'store', 'models', 'local-services'];

function forbidden(allowed) {
  const banned = every.filter((name) => !allowed.includes(name));
  return {
    patterns: [
      {
        group: banned.flatMap((name) => [`@sluice/${name}`, `@sluice/${name}/*`]),
        message: 'Imports point one way: see the layers in eslint.config.js.',
      },
      { group: ['@sluice/*/src/*', '@sluice/*/dist/*'], message: 'Import a package by its exports only.' },
    ],
  };
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
  ...Object.entries(layers).map(([folder, allowed]) => ({
    files: [`${folder}/src/**/*.ts`],
    ignores: ['**/*.test.ts'],
    rules: { 'no-restricted-imports': ['error', forbidden(allowed)] },
  })),
  {
    files: ['apps/*/src/**/*.ts', 'packages/*/src/**/*.ts'],
    ignores: ['**/main.ts', '**/config.ts', 'packages/local-services/**', '**/*.test.ts'],
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
