import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findFreePorts } from '@sluice/local-services';
import { createProcesses } from './processes.js';

export interface PrometheusOptions {
  readonly program: string;
  /** Made; data, configuration and log are in it. */
  readonly folder: string;
  /** Ops servers on loopback, by port. */
  readonly ports: readonly number[];
  /** What their series bear as `namespace`. */
  readonly namespace: string;
}

export interface Prometheus {
  readonly url: string;
  /** Values of the series that an expression gives now. */
  query(expr: string): Promise<readonly number[]>;
  stop(): Promise<void>;
}

interface QueryAnswer {
  readonly data: { readonly result: readonly { readonly value: readonly [number, string] }[] };
}

const READY_TIMEOUT_MS = 30_000;

/** A Prometheus that scrapes every second, as a PodMonitor would have it do. */
export async function startPrometheus({ program, folder, ports, namespace }: PrometheusOptions): Promise<Prometheus> {
  await mkdir(folder, { recursive: true });
  const [port = 0] = await findFreePorts(1);
  const targets = ports.map((target) => `127.0.0.1:${target}`);
  const jobs = [{ job_name: 'sluice', static_configs: [{ targets, labels: { namespace } }] }];
  const config = { global: { scrape_interval: '1s', scrape_timeout: '1s' }, scrape_configs: jobs };
  await writeFile(join(folder, 'prometheus.json'), JSON.stringify(config));
  const processes = createProcesses(folder);
  processes.start('prometheus', program, [
    ...['--config.file=prometheus.json', '--storage.tsdb.path=data', `--web.listen-address=127.0.0.1:${port}`],
  ]);
  const url = `http://127.0.0.1:${port}`;
  for (const until = Date.now() + READY_TIMEOUT_MS; ;) {
    processes.requireAlive();
    const answer = await fetch(`${url}/-/ready`).catch(() => undefined);
    if (answer?.ok === true) break;
    if (Date.now() > until) throw new Error('Prometheus is not ready.');
    await sleep(100);
  }
  return {
    url,
    async query(expr) {
      const answer = await fetch(`${url}/api/v1/query?query=${encodeURIComponent(expr)}`);
      const { data } = (await answer.json()) as QueryAnswer;
      return data.result.map(({ value }) => Number(value[1]));
    },
    stop: () => processes.stop(),
  };
}
