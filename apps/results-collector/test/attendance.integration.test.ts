import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ack, createBatchConsumer, createBrokerConnection, type BrokerConnection, type Consumer } from '@sluice/broker';
import { QUEUES } from '@sluice/contracts';
import { createAttendance } from '../src/attendance.js';
import { giveBack } from '../src/consumer.js';
import { eachWithBench } from './fixture.js';
import { eventually, logger, type Bench } from './workbench.js';

let bench: Bench;
let connection: BrokerConnection;
const consumers: Consumer[] = [];
afterEach(async () => {
  for (const consumer of consumers.splice(0)) await consumer.stop();
  await connection.stop();
});
eachWithBench((fresh) => (bench = fresh));
beforeEach(async () => {
  connection = createBrokerConnection({ url: bench.environment['SLUICE_RABBITMQ_URL'] ?? '', name: 'test', logger });
  await connection.start();
});

/** A consumer of results that is cut off from its servers whenever `server.answers` is false. */
async function attend(server: { answers: boolean; known?: boolean }, patienceMs: number) {
  const handled: string[] = [];
  const consumer = createAttendance({
    open: (signal) =>
      createBatchConsumer({
        ...{ connection, publisher: bench.publisher, queue: QUEUES.results, logger },
        ...{ prefetch: 10, maxBatch: 1, lingerMs: 1 },
        async handler(deliveries) {
          await eventually(
            async () => server.answers || signal.aborted,
            (over) => over,
          );
          if (!server.answers) return deliveries.map(() => giveBack);
          handled.push(...deliveries.map(({ messageId }) => messageId));
          return deliveries.map(() => ack);
        },
      }),
    able: () => server.answers,
    mayBegin: () => server.known ?? true,
    ...{ patienceMs, intervalMs: 10, monotonicMs: () => performance.now(), logger },
  });
  consumers.push(consumer);
  await consumer.start();
  return { consumer, handled };
}

async function publish(count: number): Promise<readonly string[]> {
  const ids = Array.from({ length: count }, (_, index) => `fact-${index}`);
  for (const id of ids) await bench.publishRaw('test', '', id);
  return ids;
}

function until(condition: () => boolean): Promise<boolean> {
  return eventually(
    async () => condition(),
    (holds) => holds,
  );
}

describe('a consumer that is cut off from its servers', () => {
  it('gives back what it holds, so that another one can take it', async () => {
    const cutOff = await attend({ answers: false }, 200);
    const ids = await publish(5);
    expect(await until(() => !cutOff.consumer.attached)).toBe(true);
    const healthy = await attend({ answers: true }, 200);
    expect(await until(() => healthy.handled.length === ids.length)).toBe(true);
    // Deliveries that were given back keep no particular order.
    expect(new Set(healthy.handled)).toEqual(new Set(ids));
    expect([cutOff.consumer.inFlight, cutOff.handled]).toEqual([0, []]);
  });

  it('takes nothing before it may begin', async () => {
    const server = { answers: true, known: false };
    const { consumer, handled } = await attend(server, 0);
    await publish(2);
    expect([consumer.attached, consumer.generation, handled]).toEqual([false, 0, []]);
    await consumer.barrier();
    server.known = true;
    expect(await until(() => handled.length === 2)).toBe(true);
  });

  it('comes back when they answer, any number of times', async () => {
    const server = { answers: true };
    const { consumer, handled } = await attend(server, 0);
    for (let round = 1; round <= 3; round++) {
      const { generation } = consumer;
      server.answers = false;
      expect(await until(() => !consumer.attached)).toBe(true);
      await consumer.barrier();
      await publish(2);
      const waiting = await eventually(
        () => bench.depth(QUEUES.results),
        (depth) => depth === 2,
      );
      expect(waiting).toBe(2);
      server.answers = true;
      expect(await until(() => handled.length === 2 * round)).toBe(true);
      expect(consumer.generation).toBeGreaterThan(generation);
    }
  });

  it('keeps what it holds through a short absence', async () => {
    const server = { answers: false };
    const { consumer, handled } = await attend(server, 3_600_000);
    await publish(2);
    expect(await until(() => consumer.inFlight === 1)).toBe(true);
    expect(consumer.attached).toBe(true);
    server.answers = true;
    expect(await until(() => handled.length === 2)).toBe(true);
  });

  it('can be stopped while it is absent, coming or going, and twice', async () => {
    const server = { answers: false };
    const absent = await attend(server, 0);
    await until(() => !absent.consumer.attached);
    await Promise.all([absent.consumer.stop(), absent.consumer.stop()]);

    const coming = await attend(server, 0);
    await until(() => !coming.consumer.attached);
    server.answers = true;
    await coming.consumer.stop();
    expect(coming.consumer.attached).toBe(false);
  });
});
