import { syncBuiltinESMExports } from 'node:module';
import { installChance } from './chance.js';
import { installClocks } from './clocks.js';
import { installSignals } from './signals.js';
import { takeRejection } from './host.js';
import { installTimers } from './timers.js';

let installed = false;

/**
 * Replaces time and chance in this operating-system process, once: clocks, timers, deadlines and random numbers follow
 * the kernel that is attached, and are as before when none is. Call it before the code to be simulated is imported:
 * what a module has copied at import cannot be replaced.
 */
export function installEdges(): void {
  if (installed) return;
  installed = true;
  installClocks();
  installTimers();
  installSignals();
  installChance();
  syncBuiltinESMExports(); // for `import { randomUUID } from 'node:crypto'`
  process.on('unhandledRejection', (error) => {
    if (!takeRejection(error)) throw error;
  });
}
