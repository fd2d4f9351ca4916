import { takeFromSetup } from './jest-state.js';

/** Stops exactly what the setup started and takes back the variables it added. */
export default async function teardown(): Promise<void> {
  const state = takeFromSetup();
  if (!state) return;
  for (const name of state.added) delete process.env[name];
  await state.services.stop();
}
