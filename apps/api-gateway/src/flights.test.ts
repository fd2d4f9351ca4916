import { expect, it } from '@jest/globals';
import { createFlights } from './flights.js';

it('a drain waits for the flights under way, however they end, and not for later ones', async () => {
  const flights = createFlights();
  const ends: (() => void)[] = [];
  const flight = () => flights.track(() => new Promise<void>((resolve) => ends.push(resolve)));
  const failing = flights.track(() => Promise.reject(new Error('no')));
  failing.catch(() => undefined);
  const first = flight();
  let drained = false;
  const drain = flights.drain().then(() => (drained = true));
  void flight();
  await expect(failing).rejects.toThrow('no');
  expect(drained).toBe(false);
  ends[0]?.();
  await first;
  await drain;
  expect(flights.size).toBe(1);
  ends[1]?.();
});
