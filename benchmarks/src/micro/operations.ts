import type { Metric } from '../harness/comparison.js';

/** What one round of one operation gave. */
export interface OperationRound {
  readonly operations: number;
  readonly perSecond: number;
  /** CPU time of the server that does the work, for each operation. */
  readonly serverMicros: number;
  /** CPU time of this process, for each operation. */
  readonly clientMicros: number;
}

/** One way of doing something, to be compared with another. */
export interface OperationSide {
  readonly name: string;
  /** Makes ready, uncounted, for the operations `from` … `to` (exclusive). */
  prepare?(from: number, to: number): Promise<void>;
  /** Does the operation number `index`; numbers never repeat. */
  run(index: number): Promise<unknown>;
}

export interface OperationLoad {
  readonly count: number;
  /** Operations under way at any moment. */
  readonly inFlight: number;
  /** CPU time the server has used so far, in microseconds. */
  readonly serverMicros: () => Promise<number>;
  readonly signal: AbortSignal;
}

export const OPERATION_METRICS: readonly Metric<OperationRound>[] = [
  { title: 'operations/s', better: 'more', of: ({ perSecond }) => perSecond },
  { title: 'CPU server, µs each', better: 'less', of: ({ serverMicros }) => serverMicros },
  { title: 'CPU client, µs each', better: 'less', of: ({ clientMicros }) => clientMicros },
];

let next = 0;

/** Does an operation `count` times, `inFlight` at once. */
export async function measureOperations(side: OperationSide, load: OperationLoad): Promise<OperationRound> {
  const { count, inFlight, serverMicros, signal } = load;
  const end = next + count;
  await side.prepare?.(next, end);
  const serverBefore = await serverMicros();
  const clientBefore = process.cpuUsage();
  const startedAt = performance.now();
  async function lane(): Promise<void> {
    while (next < end) {
      signal.throwIfAborted();
      await side.run(next++);
    }
  }
  await Promise.all(Array.from({ length: inFlight }, lane));
  const seconds = (performance.now() - startedAt) / 1000;
  const client = process.cpuUsage(clientBefore);
  return {
    operations: count,
    perSecond: count / seconds,
    serverMicros: ((await serverMicros()) - serverBefore) / count,
    clientMicros: (client.user + client.system) / count,
  };
}
