/** Uses up the file descriptors of its own process, and says what comes of an inference process that is started then. */
import { openSync } from 'node:fs';
import { startInferenceChild } from '../dist/inference/inference-child.js';

try {
  for (;;) openSync('/dev/null');
} catch {
  // None is left.
}
const child = startInferenceChild({
  modulePath: 'none.js',
  models: [],
  environment: {},
  threads: 1,
  provider: { name: 'cpu' },
  timeoutMs: 1_000,
});
const error = await child.warm.catch((reason) => reason);
await child.gone;
await child.retire();
process.stdout.write(JSON.stringify({ state: child.state, code: error.code, cause: error.cause }));
