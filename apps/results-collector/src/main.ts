import { handleEarlySignals } from '@sluice/runtime/early-signals';

handleEarlySignals();
// n.b. only now: what the program imports takes a while to load, and a signal may come meanwhile.
await import('./program.js');
