import { fork, type ChildProcess } from 'node:child_process';
import { on, once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Batch } from './batch-cuts.js';
import type { FromBareProcess, ToBareProcess } from './bare-process.js';
import type { TextSet } from './text-set.js';

const ENTRY = fileURLToPath(new URL('./bare-process.js', import.meta.url));
/** Batches that a process has before it: the next one waits there while one runs. */
const AHEAD = 2;

/** Processes that run batches of one set of texts, the same number with the same session options as a worker's. */
export interface BareLoop {
  readonly pids: readonly number[];
  /** Runs all batches on all processes. Resolves with the time that took, in milliseconds. */
  run(batches: readonly Batch[]): Promise<number>;
  /** Runs batches one after the other on one process. Resolves with the time of each in its session, in milliseconds. */
  time(batches: readonly Batch[]): Promise<readonly number[]>;
  stop(): Promise<void>;
}

/** Starts the processes, and lets them load the model and the texts. */
export async function startBareLoop({ model, sequences }: TextSet, processes: number): Promise<BareLoop> {
  const children = Array.from({ length: processes }, startBareProcess);
  await Promise.all(children.map((child) => child.load({ type: 'load', model, sequences })));
  return {
    pids: children.map(({ pid }) => pid),
    async run(batches) {
      let position = 0;
      const startedAt = performance.now();
      await Promise.all(children.map((child) => child.runAll(() => batches[position++], AHEAD)));
      return performance.now() - startedAt;
    },
    async time(batches) {
      let position = 0;
      return (await children[0]?.runAll(() => batches[position++], 1)) ?? [];
    },
    stop: async () => void (await Promise.all(children.map((child) => child.stop()))),
  };
}

function startBareProcess() {
  const child = fork(ENTRY, { serialization: 'advanced', stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  const replies = on(child, 'message', { close: ['exit'] }) as AsyncIterator<[FromBareProcess]>;

  async function nextReply(): Promise<FromBareProcess> {
    const { done, value } = (await replies.next()) as IteratorResult<[FromBareProcess], undefined>;
    if (done) throw new Error('a process that runs batches ended');
    return value[0];
  }

  function send(message: ToBareProcess): void {
    child.send(message);
  }

  return {
    pid: child.pid ?? 0,
    async load(message: ToBareProcess): Promise<void> {
      send(message);
      await nextReply();
    },
    /** Runs what `next` gives until it gives nothing. Resolves with the time of each batch in its session. */
    async runAll(next: () => Batch | undefined, ahead: number): Promise<readonly number[]> {
      const times: number[] = [];
      let sent = 0;
      for (;;) {
        for (let batch = sent - times.length < ahead ? next() : undefined; batch;) {
          send({ type: 'run', batch });
          sent += 1;
          batch = sent - times.length < ahead ? next() : undefined;
        }
        if (sent === times.length) return times;
        const reply = await nextReply();
        if (reply.type === 'done') times.push(reply.computeMs);
      }
    },
    stop: () => end(child),
  };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.disconnect();
  await exited;
}
