import preset from '../../jest.preset.js';

export default {
  ...preset,
  globalSetup: '@sluice/local-services/jest-global-setup',
  globalTeardown: '@sluice/local-services/jest-global-teardown',
};
