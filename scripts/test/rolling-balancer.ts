import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** A pod of a Service, as its readiness probe and its connections reach it. */
export interface Pod {
  readonly name: string;
  readonly port: number;
  readonly opsPort: number;
}

export interface BalancerOptions {
  /** Time between two readiness probes, in milliseconds; a pod is out after two that failed. */
  readonly probeMs: number;
  /** Time until a change of readiness arrives where connections are given out, in milliseconds. */
  readonly lagMs: number;
}

/** What stands between clients and gateways on a cluster: connections, not requests, go to the ready pods in turn. */
export interface Balancer {
  readonly url: string;
  /** Connections that were given to each pod, by name. */
  readonly given: ReadonlyMap<string, number>;
  /** Probes a pod from now on; resolves when it was ready for the first time. */
  add(pod: Pod): Promise<void>;
  stop(): Promise<void>;
}

const FAILURES = 2;
const PROBE_TIMEOUT_MS = 1000;

export async function startBalancer({ probeMs, lagMs }: BalancerOptions): Promise<Balancer> {
  const serving: Pod[] = [];
  const given = new Map<string, number>();
  const sockets = new Set<Socket>();
  const ending = new AbortController();
  const probing: Promise<void>[] = [];
  let turn = 0;

  const server = createServer((client) => {
    const pod = serving[turn++ % Math.max(1, serving.length)];
    if (pod === undefined) return void client.resetAndDestroy();
    given.set(pod.name, (given.get(pod.name) ?? 0) + 1);
    join(client, connect(pod.port, '127.0.0.1'), sockets);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  async function apply(pod: Pod, ready: boolean): Promise<void> {
    await sleep(lagMs);
    if (ready) serving.push(pod);
    else serving.splice(serving.indexOf(pod), 1);
  }

  async function probe(pod: Pod, onReady: () => void): Promise<void> {
    let ready = false;
    let failures = 0;
    while (!ending.signal.aborted) {
      const ok = await isReady(pod);
      failures = ok ? 0 : failures + 1;
      if (ok && !ready) {
        ready = true;
        probing.push(apply(pod, true));
        onReady();
      }
      if (ready && failures >= FAILURES) return apply(pod, false);
      await sleep(probeMs);
    }
  }

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    given,
    add: (pod) => new Promise((resolve) => probing.push(probe(pod, resolve))),
    async stop() {
      ending.abort();
      for (const socket of sockets) socket.destroy();
      server.close();
      await Promise.all(probing);
    },
  };
}

/** n.b. an end of either side goes to the other as it is, so that a client sees what a pod did to its connection. */
function join(client: Socket, pod: Socket, sockets: Set<Socket>): void {
  for (const [socket, other] of [
    [client, pod],
    [pod, client],
  ] as const) {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.on('error', () => other.resetAndDestroy());
    socket.on('close', () => sockets.delete(socket));
  }
  client.pipe(pod).pipe(client);
}

async function isReady({ opsPort }: Pod): Promise<boolean> {
  const signal = AbortSignal.timeout(PROBE_TIMEOUT_MS);
  const answer = await fetch(`http://127.0.0.1:${opsPort}/readyz`, { signal }).catch(() => undefined);
  await answer?.body?.cancel();
  return answer?.ok === true;
}
