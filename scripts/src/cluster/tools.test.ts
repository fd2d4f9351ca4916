import { expect, it } from '@jest/globals';
import { findTools, TOOLS } from './tools.js';

it('names everything that is missing at once, and how it can be had', () => {
  const message = (() => {
    try {
      findTools('/nowhere', '');
      return '';
    } catch (error) {
      return (error as Error).message;
    }
  })();
  for (const [tool, how] of Object.entries(TOOLS)) expect(message).toContain(`${tool}: ${how}`);
  expect(message).toContain('crds');
});
