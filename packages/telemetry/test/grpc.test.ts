import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { openTracing, type Tracing } from '../src/tracing/open-tracing.js';
import { startGrpcReceiver, type GrpcReceiver } from './grpc-receiver.js';

let receiver: GrpcReceiver;
let lines: string[];

beforeEach(async () => {
  receiver = await startGrpcReceiver();
  lines = [];
});
afterEach(() => receiver.close());

const ALL = { sampler: 'always_on', ratio: 1, serviceName: undefined, resource: {} } as const;

function open(url: string): Promise<Tracing> {
  const note = (facts: object, message: string): void => void lines.push(`${message} ${JSON.stringify(facts)}`);
  return openTracing({
    settings: { url, protocol: 'grpc', timeoutMs: 1_000, ...ALL },
    ...{ serviceName: 'tested', instanceId: 'only', begins: true, logger: { info: note, warn: note } },
  });
}

describe('traces over gRPC', () => {
  it('arrive as protobuf', async () => {
    const tracing = await open(receiver.endpoint);
    tracing.tracer.begin('some work', undefined)?.end();
    await tracing.stop();
    const [call] = receiver.calls;
    expect(call).toMatchObject({
      path: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
      contentType: 'application/grpc',
    });
    expect(call?.message.toString('latin1')).toMatch(/tested[^]*some work/);
    expect(receiver.calls).toHaveLength(1);
    expect(lines.filter((line) => line.includes('lost'))).toEqual([]);
  });

  it.each([['is refused', 7]])('are told of as lost when a call %s', async (_how, status) => {
    receiver.status = status;
    const tracing = await open(receiver.endpoint);
    tracing.tracer.begin('some work', undefined)?.end();
    const begunMs = performance.now();
    await tracing.stop();
    expect(performance.now() - begunMs).toBeLessThan(4_000);
    const told = lines.filter((line) => line.includes('spans could not be sent and are lost'));
    expect(told).toHaveLength(1);
    expect(told[0]).toContain('"spans":1');
  });
});
