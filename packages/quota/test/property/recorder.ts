import { expect } from '@jest/globals';
import { Redis } from 'ioredis';
import type { Quota } from '../../src/index.js';
import type { QuotaModel, Steps } from '../../src/model/index.js';
import { endOf, type Ended } from './ending.js';
import { clockFields, type Client, type ClockedRedis } from './clocked-redis.js';

/** One call of one client, and how it ended on the real Redis. */
interface Call {
  readonly name: string;
  readonly modelled: (model: QuotaModel) => Steps<unknown>;
  readonly ended: Ended<unknown>;
}

/** A command as Redis ran it. */
interface Line {
  readonly client: number;
  readonly command: string;
  readonly args: readonly string[];
}

/** A client that notes its calls; one call at a time. */
export interface RecordedClient {
  call<T>(
    name: string,
    real: (quota: Quota) => Promise<T>,
    modelled: (model: QuotaModel) => Steps<unknown>,
  ): Promise<Ended<T>>;
}

/** Wraps a call that is one command. */
export function* inOne<T>(command: string, run: (nowMs: number) => T): Steps<T> {
  return run(yield command);
}

/**
 * Several clients at once. Redis itself says in which order it ran their commands (MONITOR), and `replay` gives the same
 * commands to the model in that order.
 */
export async function recordClients(redis: ClockedRedis, count: number) {
  const clients: Client[] = [];
  for (let i = 0; i < count; i++) clients.push(await redis.connect());
  const ports = clients.map(({ redis: { stream } }) => String(stream.localPort));
  const control = redis.control().redis;
  const controlPort = String(control.stream.localPort);
  const lines: Line[] = [];
  let marks = 0;
  const calls: Call[][] = clients.map(() => []);
  // n.b. only its copy, which monitors, ever connects; unlike the clients' it may be idle for long.
  const monitor = await new Redis({ port: redis.server.port, lazyConnect: true }).monitor();
  let marked: (marker: string) => void = () => undefined;
  monitor.on('monitor', (_time: string, [command = '', ...args]: string[], source: string) => {
    const port = source.split(':').at(-1) ?? '';
    const client = port === controlPort ? -1 : ports.indexOf(port);
    if (source !== 'lua' && (client >= 0 || port === controlPort)) {
      lines.push({ client, command: command.toLowerCase(), args });
      if (command.toLowerCase() === 'echo') marked(args[0] ?? '');
    }
  });

  /** Resolves when the monitor has told everything that was run so far. */
  async function caughtUp(): Promise<void> {
    const marker = `mark ${marks++}`;
    const seen = new Promise<void>((resolve) => (marked = (text) => text === marker && resolve()));
    await control.echo(marker);
    await seen;
  }

  const recorded = clients.map(({ quota }, i): RecordedClient => ({
    async call(name, real, modelled) {
      const ended = await endOf(() => real(quota));
      calls[i]?.push({ name, modelled, ended });
      return ended;
    },
  }));

  return {
    clients: recorded,
    /** Forgets what was noted. */
    async reset(): Promise<void> {
      await caughtUp();
      lines.length = 0;
      for (const own of calls) own.length = 0;
    },
    /** Moves the clock that the scripts read, between whatever commands it happens to be. */
    moveClock: (toMs: number) => control.hset('clock', ...clockFields(toMs)),

    /** Every call must end on the model as it did. */
    async replay(model: QuotaModel, beginMs: number): Promise<void> {
      await caughtUp();
      let nowMs = beginMs;
      const running = calls.map(
        (): { steps: Steps<unknown>; next: IteratorResult<string>; call: Call } | undefined => undefined,
      );
      for (const { client, command, args } of lines.splice(0)) {
        if (client === -1) {
          if (command === 'hset') nowMs = Number(args[2]) * 1_000 + Number(args[4]) / 1_000;
          continue;
        }
        let current = running[client];
        if (!current) {
          const call = calls[client]?.shift();
          if (!call) throw new Error(`client ${client} ran ${command}, which no call explains`);
          const steps = call.modelled(model);
          current = { steps, call, next: steps.next(0) as IteratorResult<string> };
        }
        // The first use of a script on a connection sends its text.
        const isScript = command === 'evalsha' || command === 'eval';
        if (!isScript)
          expect(`${current.call.name}: ${command}`).toBe(`${current.call.name}: ${String(current.next.value)}`);
        const { steps } = current;
        const at = nowMs;
        const ended = await endOf(() => steps.next(at));
        const isOver = 'error' in ended || ended.value.done === true;
        if (isOver) expect('error' in ended ? ended : { value: ended.value.value }).toEqual(current.call.ended);
        running[client] =
          isOver || 'error' in ended ? undefined : { ...current, next: ended.value as IteratorResult<string> };
      }
      expect(calls.flat().map(({ name }) => name)).toEqual([]);
    },

    async close(): Promise<void> {
      monitor.disconnect();
      for (const { redis: client } of clients) client.disconnect();
    },
  };
}
