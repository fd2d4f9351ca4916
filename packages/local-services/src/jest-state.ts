import type { LocalServices } from './server.js';

/** What the setup leaves to the teardown. */
export interface JestState {
  readonly services: LocalServices;
  /** Environment variables that the setup set. */
  readonly added: readonly string[];
}

// n.b. on the global object: jest may load setup and teardown as separate instances of this module.
const KEY = Symbol.for('@sluice/local-services/jest');
const holder = globalThis as { [KEY]?: JestState | undefined };

export function keepForTeardown(state: JestState): void {
  holder[KEY] = state;
}

export function takeFromSetup(): JestState | undefined {
  const state = holder[KEY];
  holder[KEY] = undefined;
  return state;
}
