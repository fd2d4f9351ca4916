import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { closeClient } from '../client.js';
import { LOCAL, ROOT } from '../paths.js';
import { startCluster } from './cluster.js';
import { checkLifecycle, checkManifests, checkRendered, versionOf } from './installation.js';
import { startNamesProxy } from './names-proxy.js';
import type { Outcome } from './observation.js';
import { checkScaling } from './scaling.js';
import { findTools } from './tools.js';

/** `npm run cluster`: the chart on a real API server, scaled by a real KEDA. Exits with 1 when something is not as said. */
const { values } = parseArgs({
  options: {
    chart: { type: 'string', default: join(ROOT, 'helm', 'sluice') },
    only: { type: 'string', default: 'installation,scaling' },
  },
});
const folder = join(LOCAL, 'cluster');
const parts = values.only.split(',');
let right = true;

function report({ step, right: asSaid, seen }: Outcome): void {
  right &&= asSaid;
  const time = new Date().toISOString().slice(11, 19);
  console.log(`${time}  ${asSaid ? 'right' : 'WRONG'}  ${step}: ${seen}`);
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));

const tools = findTools(process.env['SLUICE_CLUSTER_TOOLS'], process.env['PATH'] ?? '');
const proxy = await startNamesProxy();
const cluster = await startCluster({ tools, folder, proxy: proxy.url });
try {
  report({ step: 'the API server is up', right: true, seen: await versionOf(cluster) });
  if (parts.includes('installation')) {
    for (const outcome of await checkRendered(cluster, values.chart)) report(outcome);
    for (const outcome of await checkManifests(cluster)) report(outcome);
    for (const outcome of await checkLifecycle(cluster, values.chart)) report(outcome);
  }
  if (parts.includes('scaling')) {
    await checkScaling({ cluster, prometheus: tools.programs.prometheus, chart: values.chart, proxy, folder, report });
  }
} finally {
  await cluster.stop();
  await proxy.stop();
  await closeClient();
}
console.log(right ? 'Everything is as said.' : 'Not everything is as said.');
process.exitCode = right ? 0 : 1;
