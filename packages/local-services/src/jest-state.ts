import type { LocalServices } from './server.js';

/** What the setup leaves to the teardown. */
export interface JestState {
  readonly services: LocalServices;
  /** The variables that the setup set, as they were before. */
  readonly previous: Readonly<NodeJS.ProcessEnv>;
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
