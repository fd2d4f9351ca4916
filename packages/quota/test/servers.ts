import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';

/** A Redis of its own that a test may kill and start again. */
export interface OwnRedis {
  readonly port: number;
  readonly url: string;
  /** Starts it on its old data; resolves when it answers. */
  start(): Promise<void>;
  /** Ends it; `save` writes its data to disk before. */
  stop(how?: { readonly save: boolean }): Promise<void>;
  /** Runs one command. */
  run(command: string, ...args: (string | number)[]): Promise<unknown>;
}

const READY_WITHIN_MS = 15_000;
const PAUSE_MS = 20;

/** A server with a folder of its own; `close` ends it and removes the folder. */
export async function ownRedis(extra: readonly string[] = []): Promise<OwnRedis & { close(): Promise<void> }> {
  const directory = mkdtempSync(join(tmpdir(), 'sluice-redis-'));
  const port = await freePort();
  let server: ChildProcess | undefined;

  async function run(command: string, ...args: (string | number)[]): Promise<unknown> {
    const client = new Redis({
      ...{ port, host: '127.0.0.1', lazyConnect: true, retryStrategy: () => null },
      // n.b. ioredis waits this long even for a socket that is closed already, which keeps the process alive.
      disconnectTimeout: 0,
    });
    client.on('error', () => undefined);
    try {
      await client.connect();
      return await client.call(command, ...args);
    } finally {
      client.disconnect();
    }
  }
  async function answers(deadlineMs: number): Promise<void> {
    const isUp = await run('PING').then(
      () => true,
      () => false,
    );
    if (isUp) return;
    if (Date.now() > deadlineMs) throw new Error(`Redis on port ${port} did not start`);
    // There is no signal to wait for: a server says nothing when it is ready.
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    await answers(deadlineMs);
  }
  async function stop({ save } = { save: false }): Promise<void> {
    if (!server) return;
    const ended = once(server, 'exit');
    if (save) await run('SAVE');
    server.kill('SIGKILL');
    await ended;
    server = undefined;
  }
  const own: OwnRedis = {
    port,
    url: `redis://127.0.0.1:${port}`,
    async start() {
      const settings = ['--port', String(port), '--bind', '127.0.0.1', '--dir', directory, '--save', ''];
      server = spawn('redis-server', [...settings, '--appendonly', 'no', ...extra], { stdio: 'ignore' });
      await answers(Date.now() + READY_WITHIN_MS);
    },
    stop,
    run,
  };
  return {
    ...own,
    async close() {
      await stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

const SLOTS = 16_384;

/** A Redis Cluster of three primaries without replicas. */
export async function ownCluster() {
  const nodes = await Promise.all(
    [1, 2, 3].map(() => ownRedis(['--cluster-enabled', 'yes', '--cluster-config-file', 'nodes.conf'])),
  );
  await Promise.all(nodes.map((node) => node.start()));
  const share = Math.ceil(SLOTS / nodes.length);
  for (const [i, node] of nodes.entries()) {
    const [first, last] = [i * share, Math.min(SLOTS, (i + 1) * share) - 1];
    await node.run('CLUSTER', 'ADDSLOTSRANGE', first, last);
    await node.run('CLUSTER', 'SET-CONFIG-EPOCH', i + 1);
    for (const { port } of nodes) await node.run('CLUSTER', 'MEET', '127.0.0.1', port);
  }
  await Promise.all(nodes.map((node) => knowsAll(node, nodes.length)));
  return {
    nodes,
    /** Seeds, as `connectRedis` takes them. */
    url: nodes.map(({ url }) => url).join(','),
    close: () => Promise.all(nodes.map((node) => node.close())),
  };
}

async function knowsAll(node: OwnRedis, count: number): Promise<void> {
  const deadlineMs = Date.now() + READY_WITHIN_MS;
  for (;;) {
    const [info, shards] = [String(await node.run('CLUSTER', 'INFO')), await node.run('CLUSTER', 'SLOTS')];
    if (info.includes('cluster_state:ok') && (shards as unknown[]).length === count) return;
    if (Date.now() > deadlineMs) throw new Error(`the cluster did not form: ${info}`);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

/** n.b. a cluster's bus listens 10,000 above, so the port must be low enough. */
async function freePort(): Promise<number> {
  const server = createServer();
  const port = 20_000 + Math.floor(Math.random() * 10_000);
  const listening = await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => resolve(true));
  });
  if (!listening) return freePort();
  const { port: found } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return found;
}
