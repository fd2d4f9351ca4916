import { Cluster, type Redis } from 'ioredis';
import { redisReady, type RedisConnection } from './connection.js';
import { FORMAT } from './scope-state.js';
import { defineScripts, type ScriptCommands } from './scripts.js';
import { slotOf } from './slot.js';

/** One connection to one Redis process. */
export interface Node {
  readonly redis: Redis & ScriptCommands;
  /**
   * What is kept must be of this era to be read: the form in which it is kept, and the `run_id` of the process that this
   * connection leads to. A restarted or another Redis has another one, and so has a version with another form.
   */
  readonly era: string;
}

export interface Nodes {
  /**
   * Runs work on the node that serves a key, and once more when Redis Cluster says that the key has moved. Scripts are
   * told the era of the very connection that they are sent on, so they are never left to be redirected.
   */
  run<T>(key: string, work: (node: Node) => Promise<T>): Promise<T>;
  /**
   * Runs one command for each item in as few pipelines as there are nodes. Replies are in the order of the items;
   * rejects with the first error of any.
   */
  runAll<T, R>(items: readonly T[], keyOf: (item: T) => string, add: PipelineStep<T>): Promise<readonly R[]>;
}

export type NodePipeline = ReturnType<Redis['pipeline']> & ScriptCommands;
type PipelineStep<T> = (pipeline: NodePipeline, item: T, node: Node) => unknown;

const NODE_READY_MS = 2_000;
const RUN_ID = /^run_id:(\w+)/m;
/** By socket: a socket leads to the same process for as long as it lives. */
const runIds = new WeakMap<object, string>();

/** Finds nodes by key. */
export function createNodes(redis: RedisConnection): Nodes {
  const isCluster = redis instanceof Cluster;
  const find = (key: string): Promise<Redis> => (isCluster ? primaryOf(redis, key) : Promise.resolve(redis));

  async function open(key: string): Promise<Node> {
    const found = await find(key);
    return { redis: defineScripts(found), era: eraOf(knownRunId(found) ?? (await askRunId(found))) };
  }

  function nodeOf(key: string): Node | Promise<Node> {
    const runId = isCluster ? undefined : knownRunId(redis);
    return !isCluster && runId !== undefined ? { redis: defineScripts(redis), era: eraOf(runId) } : open(key);
  }

  async function run<T>(key: string, work: (node: Node) => Promise<T>): Promise<T> {
    const node = nodeOf(key);
    try {
      // n.b. no await on the way where none is needed: commands of one turn share a write.
      return await (node instanceof Promise ? work(await node) : work(node));
    } catch (error) {
      if (!isCluster || !hasMoved(error)) throw error;
      await refresh(redis);
      return work(await open(key));
    }
  }

  async function runAll<T, R>(
    items: readonly T[],
    keyOf: (item: T) => string,
    add: PipelineStep<T>,
    mayMove = isCluster,
  ): Promise<readonly R[]> {
    const byNode = new Map<Redis, { readonly node: Node; readonly indices: number[] }>();
    for (const [i, item] of items.entries()) {
      const found = nodeOf(keyOf(item));
      const node = found instanceof Promise ? await found : found;
      const group = byNode.get(node.redis) ?? { node, indices: [] };
      group.indices.push(i);
      byNode.set(node.redis, group);
    }
    const replies = new Array<R>(items.length);
    const moved: number[] = [];
    const work = [...byNode.values()].map(async ({ node, indices }) => {
      const pipeline = node.redis.pipeline() as NodePipeline;
      for (const i of indices) add(pipeline, items[i] as T, node);
      const results = (await pipeline.exec()) ?? [];
      results.forEach(([error, reply], at) => {
        const i = indices[at] ?? 0;
        if (error && mayMove && hasMoved(error)) moved.push(i);
        else if (error) throw error;
        else replies[i] = reply as R;
      });
    });
    await Promise.all(work);
    if (moved.length > 0 && redis instanceof Cluster) {
      await refresh(redis);
      const again = moved.map((i) => items[i] as T);
      const late = await runAll<T, R>(again, keyOf, add, false);
      late.forEach((reply, at) => (replies[moved[at] ?? 0] = reply));
    }
    return replies;
  }

  return { run, runAll: (items, keyOf, add) => runAll(items, keyOf, add) };
}

function eraOf(runId: string): string {
  return `${FORMAT} ${runId}`;
}

function knownRunId(redis: Redis): string | undefined {
  // n.b. there is no socket between two connections.
  return redis.stream ? runIds.get(redis.stream) : undefined;
}

async function askRunId(redis: Redis): Promise<string> {
  const socket = redis.stream;
  const [, runId] = RUN_ID.exec(await redis.info('server')) ?? [];
  if (runId === undefined) throw new Error('Redis does not say its run_id');
  if (redis.stream !== socket) throw new Error('the connection to Redis was replaced');
  runIds.set(socket, runId);
  return runId;
}

function hasMoved(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('MOVED ');
}

/** The connection to the primary that serves a key, ready to be used. */
async function primaryOf(cluster: Cluster, key: string): Promise<Redis> {
  const slot = slotOf(key);
  let primary = primaryOfSlot(cluster, slot);
  if (!primary) {
    await refresh(cluster);
    primary = primaryOfSlot(cluster, slot);
  }
  if (!primary) throw new Error(`no node of the Redis Cluster serves slot ${slot}`);
  if (primary.status !== 'ready') {
    // A node is connected to when it is first needed; when that fails, waiting for it says so.
    if (primary.status === 'wait') primary.connect().catch(() => undefined);
    await redisReady(primary, NODE_READY_MS);
  }
  return primary;
}

function primaryOfSlot(cluster: Cluster, slot: number): Redis | undefined {
  const address = cluster.slots[slot]?.[0];
  return cluster.nodes('master').find(({ options: { host, port } }) => `${host}:${port}` === address);
}

/** Asks the cluster anew which node serves which slot. */
function refresh(cluster: Cluster): Promise<void> {
  return new Promise((resolve, reject) => {
    cluster.refreshSlotsCache((error) => (error ? reject(error) : resolve()));
  });
}
