import { randomUUID } from 'node:crypto';
import { connect } from 'amqplib';
import { createKernel } from '../src/kernel/index.js';
import { createSimRabbit } from '../src/rabbitmq/index.js';
import { perform, type Observed, type Step } from './rabbitmq-script.js';

const QUIET_MS = 1_500;
/** How long the real broker may take to show what the simulated one did. */
const PATIENCE_MS = 4_000;

/** Runs a script on the simulated broker, in virtual time. */
export async function performSimulated(steps: readonly Step[], seed = 1): Promise<Observed[]> {
  const kernel = createKernel({ seed, startMs: Date.UTC(2026, 0, 1) });
  const rabbit = createSimRabbit(kernel, { stallChance: 0 }); // a stall would let a message expire before others arrive
  const client = kernel.process('client');
  let result: Observed[] | undefined;
  const stage = {
    prefix: 'p.',
    connect: () => rabbit.connect(client)('amqp://guest@simulated', { clientProperties: { connection_name: 'test' } }),
    quiet: () => new Promise<void>((resolve) => void kernel.schedule(QUIET_MS, client, 'quiet', resolve)),
  };
  kernel.enter(client, 'script', () => {
    perform(stage, steps).then(
      (observed) => (result = observed),
      (error: unknown) => kernel.fail(error),
    );
  });
  await kernel.run({ until: () => result !== undefined, maxMs: (steps.length + 1) * 3 * QUIET_MS });
  if (result === undefined) throw new Error(`The script did not end.`);
  return result;
}

/** Runs a script on a RabbitMQ; after each step waits until it shows what is expected, or has not for long. */
export async function performReal(
  url: string,
  steps: readonly Step[],
  expected: readonly Observed[],
): Promise<Observed[]> {
  const stage = {
    prefix: `${randomUUID().slice(0, 8)}.`,
    connect: () => connect(url),
    async quiet(isDone: () => Promise<boolean>) {
      const endMs = performance.now() + PATIENCE_MS;
      while (!(await isDone()) && performance.now() < endMs) await new Promise((resolve) => setTimeout(resolve, 2));
    },
  };
  return perform(stage, steps, expected);
}
