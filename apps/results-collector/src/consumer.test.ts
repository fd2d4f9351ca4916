import { describe, expect, it } from '@jest/globals';
import { ack, type Delivery } from '@sluice/broker';
import { MESSAGE_TYPES, newJobId, type MarkerMessage } from '@sluice/contracts';
import { createLogger } from '@sluice/runtime';
import type { Fact } from '@sluice/store';
import { acceptedMessage, completedMessage, delivered, onTheWire } from '../test/messages.js';
import { noTracer } from '@sluice/telemetry';
import { createResultsHandler, giveBack } from './consumer.js';
import { StoppedError } from './persistence.js';

interface Servers {
  readonly refused?: ReadonlyMap<string, string>;
  readonly bookError?: Error;
  readonly runningError?: Error;
  /** Fails the first answer to a marker. */
  readonly answerError?: Error;
}

async function handle(deliveries: readonly Delivery[], { refused = new Map(), ...errors }: Servers = {}) {
  const booked: Fact[] = [];
  const running: string[] = [];
  const markers: MarkerMessage[] = [];
  let answers = 0;
  const handler = createResultsHandler({
    tracer: noTracer,
    accounting: {
      async book(facts) {
        if (errors.bookError) throw errors.bookError;
        booked.push(...facts);
        return refused;
      },
    },
    async noteRunning(jobs) {
      if (errors.runningError) throw errors.runningError;
      running.push(...jobs.map(({ jobId }) => jobId));
    },
    async answerMarker(marker) {
      answers += 1;
      if (answers === 1 && errors.answerError) throw errors.answerError;
      markers.push(marker);
    },
    signal: new AbortController().signal,
    logger: createLogger({ app: 'test', level: 'silent' }),
  });
  return { settlements: await handler(deliveries), booked, running, markers };
}

const job = acceptedMessage();
const marker = { fenceId: 'a:1', replyTo: 'inbox.a' };
const started = { jobs: [{ jobId: job.jobId, tenantId: job.tenantId }], startedAtMs: 1 };
const notices = [
  delivered({ type: MESSAGE_TYPES.marker, body: Buffer.from(JSON.stringify(marker)) }),
  delivered({ type: MESSAGE_TYPES.started, body: Buffer.from(JSON.stringify(started)) }),
];

describe('the results handler', () => {
  it('books facts, notes running jobs and answers markers, and settles each delivery by itself', async () => {
    const broken = delivered({ type: MESSAGE_TYPES.completed, body: Buffer.from('{') });
    const strange = delivered({ type: MESSAGE_TYPES.marker, body: Buffer.from('{"fenceId":""}') });
    const { settlements, booked, running, markers } = await handle([
      delivered(onTheWire(job)),
      ...notices,
      broken,
      delivered(onTheWire(completedMessage(job))),
      strange,
    ]);
    expect(booked.map(({ type }) => type)).toEqual(['accepted', 'completed']);
    expect([running, markers]).toEqual([[job.jobId], [marker]]);
    expect(settlements).toEqual([
      ack,
      ack,
      ack,
      { kind: 'dead', reason: 'malformed_message: body: is not valid JSON' },
      ack,
      { kind: 'dead', reason: expect.stringMatching(/^malformed_message: fenceId: /) },
    ]);
  });

  it('moves a fact that can never be recorded to dead, with the reason', async () => {
    const refused = new Map([[`accepted:${job.jobId}`, 'out of range']]);
    const other = acceptedMessage({ jobId: newJobId() });
    const { settlements } = await handle([delivered(onTheWire(job)), delivered(onTheWire(other))], { refused });
    expect(settlements).toEqual([{ kind: 'dead', reason: 'unrecordable: out of range' }, ack]);
  });

  it('books all the same when jobs cannot be shown as running', async () => {
    const deliveries = [...notices, delivered(onTheWire(job))];
    const { settlements, booked } = await handle(deliveries, { runningError: new Error('away') });
    expect([settlements, booked.length]).toEqual([[ack, ack, ack], 1]);
  });

  it('keeps a marker until it is answered', async () => {
    const { settlements, markers } = await handle(notices, { answerError: new Error('not confirmed') });
    expect([settlements, markers]).toEqual([[ack, ack], [marker]]);
  });

  it('gives everything back when it is told to stop', async () => {
    const { settlements } = await handle([delivered(onTheWire(job)), ...notices], {
      bookError: new StoppedError(undefined),
    });
    expect(settlements).toEqual([giveBack, giveBack, giveBack]);
  });
});
