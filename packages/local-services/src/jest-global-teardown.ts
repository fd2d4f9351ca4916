import { takeFromSetup } from './jest-state.js';

/** Stops exactly what the setup started and puts the environment back. */
export default async function teardown(): Promise<void> {
  const state = takeFromSetup();
  if (!state) return;
  for (const [name, value] of Object.entries(state.previous)) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
  await state.services.stop();
}
